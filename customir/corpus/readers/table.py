"""CSV and TSV with named columns: one document per row. Enron's `file,message` is read as mail."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from customir.corpus.charsets import decode
from customir.corpus.document import RawDocument, RawMail, Unreadable
from customir.corpus.readers import eml
from customir.corpus.readers.dates import iso_date, iso_date_of_number
from customir.corpus.readers.files import UTF16_MARKS, ReadError, SourceFile

# The column names of each field in exports of mail programs, trackers and shops, likeliest first.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "text": (
        "text", "body", "content", "message", "description", "comment", "notes", "inhalt",
        "nachricht", "beschreibung", "kommentar", "textkörper", "corps", "contenu", "texte",
        "cuerpo", "contenido", "mensaje", "texto", "corpo", "testo", "contenuto", "messaggio",
        "mensagem", "conteúdo", "bericht", "inhoud", "tekst", "treść", "текст", "сообщение",
        "本文", "内容", "正文", "내용",
    ),
    "identifier": (
        "_id", "id", "message-id", "message_id", "messageid", "key", "file", "url", "nummer",
        "nr", "nr.", "numéro", "número", "numero", "номер",
    ),
    "title": (
        "title", "subject", "name", "summary", "betreff", "titel", "überschrift", "objet",
        "titre", "sujet", "asunto", "título", "oggetto", "titolo", "assunto", "onderwerp", "emne",
        "ämne", "temat", "tytuł", "тема", "件名", "主题", "主題", "제목",
    ),
    "sender": (
        "sender", "from", "author", "user", "username", "from: (name)", "from: (address)",
        "absender", "von", "von: (name)", "von: (adresse)", "autor", "verfasser", "expéditeur",
        "auteur", "de", "de: (nom)", "remitente", "mittente", "remetente", "afzender", "van",
        "avsändare", "nadawca", "отправитель", "автор", "差出人", "发件人", "보낸 사람",
    ),
    "recipients": ("to", "recipients", "to: (name)", "to: (address)", "an", "empfänger", "à"),
    "date": (
        "date", "sent", "created", "created_at", "timestamp", "time", "datum", "gesendet",
        "erstellt", "erstellt am", "fecha", "data", "envoyé", "дата", "日付", "日期", "날짜",
    ),
    "thread": ("thread", "thread_id", "threadid", "conversation_id", "conversation", "ticket"),
}  # fmt: skip
DELIMITERS = ",;\t|"
MAXIMUM_HEADER = 4096
MAXIMUM_FIELD = 16 << 20
SUFFIXES = (".csv", ".tsv")


@dataclass(frozen=True)
class Layout:
    """The layout of a table.

    Attributes:
        columns: The column of each field, from 0.
        skipped: The number of lines above the column names.
    """

    delimiter: str
    columns: Mapping[str, int]
    skipped: int


class LayoutError(Exception):
    """Why the columns of a table are unclear. The message says what to do."""


def matches(head: bytes, name: str) -> bool:
    """Whether the first line names columns, including one for the text; or the suffix says so."""
    head = _as_utf8(head)
    if b"\0" in head[:MAXIMUM_HEADER]:
        return False
    if name.endswith(SUFFIXES):
        return bool(head.strip())
    try:
        layout = layout_of(head.splitlines()[:2], {}, name)
    except LayoutError:
        return False
    return len(layout.columns) > 1


def read(file: SourceFile) -> Iterator[RawDocument | RawMail | Unreadable]:
    """Every row, in order.

    Raises:
        ReadError: it is unclear which column holds the text.
    """
    broken: list[Unreadable] = []
    try:
        layout = layout_of(
            _as_utf8(file.head).splitlines()[:2], file.options.columns, file.format_name
        )
    except LayoutError as error:
        raise ReadError(str(error)) from error

    def lines() -> Iterator[str]:
        for number, line in file.lines():
            if isinstance(line, ReadError):
                where = f"{file.name}: line {number}"
                broken.append(Unreadable(where, f"not a row: {line}"))
            elif number > layout.skipped:
                yield decode(line).replace("\0", "")

    csv.field_size_limit(MAXIMUM_FIELD)
    rows = csv.reader(lines(), delimiter=layout.delimiter)
    number = 0
    while True:
        number += 1
        where = f"{file.name}: row {number}"
        try:
            row = next(rows)
        except StopIteration:
            break
        except csv.Error as error:
            yield Unreadable(where, f"not a row: {error}")
            continue
        if row and number > 1:
            yield _document(row, layout.columns, where)
    yield from broken


def layout_of(lines: Sequence[bytes], named: Mapping[str, str], name: str) -> Layout:
    """The layout of a table, from its first two lines.

    Args:
        named: The user's column names by field.
        name: The file's name in lower case.

    Raises:
        LayoutError: no column is known to hold the text, a column that the user names does not
            exist, or two columns have the name of one field.
    """
    skipped = 0
    delimiter = "\t" if name.endswith(".tsv") else ""
    first = decode(lines[0]).strip("\r\n\ufeff ") if lines else ""
    if first.lower().startswith("sep=") and len(first) <= 6:  # for Excel
        delimiter, skipped = first[4:5] or "\t", 1
        first = decode(lines[1]).strip("\r\n") if len(lines) > 1 else ""
    if not first or len(first) > MAXIMUM_HEADER:
        raise LayoutError("its first line does not name columns")
    delimiter = delimiter or max(DELIMITERS, key=first.count)
    try:
        names = [each.strip().casefold() for each in next(csv.reader([first], delimiter=delimiter))]
    except csv.Error as error:
        raise LayoutError(f"its first line does not name columns: {error}") from error
    # Prose may begin with "Message, ...", but column names are short.
    if any(len(each) > 40 for each in names):
        raise LayoutError("its first line does not name columns")
    shown = ", ".join(names[:20])
    columns: dict[str, int] = {}
    for field, aliases in COLUMNS.items():
        wanted = (named[field].strip().casefold(),) if field in named else aliases
        found = next((alias for alias in wanted if alias in names), None)
        if found is None:
            if field in named:
                raise LayoutError(f"no column is called {named[field]!r}; there are: {shown}")
            continue
        if names.count(found) > 1:
            raise LayoutError(
                f"two columns are called {found!r}, so that its {field} cannot be told: rename one, "
                f"or name another column: --columns {field}=NAME"
            )
        columns[field] = names.index(found)
    if "text" not in columns:
        raise LayoutError(
            f"no column is known to hold the text; name it: --columns text=NAME; there are: {shown}"
        )
    return Layout(delimiter, columns, skipped)


def _as_utf8(head: bytes) -> bytes:
    return decode(head).encode("utf-8", "replace") if head.startswith(UTF16_MARKS) else head


def _document(
    row: Sequence[str], columns: Mapping[str, int], where: str
) -> RawDocument | RawMail | Unreadable:
    def value(field: str) -> str:
        at = columns.get(field, len(row))
        return row[at] if at < len(row) else ""

    text, identifier = value("text"), value("identifier").strip() or where
    if not text.strip():
        return Unreadable(where, "no text: its column is empty")
    if eml.matches(text.encode("utf-8", "surrogatepass")[: 1 << 16], ""):
        return RawMail(text.encode("utf-8", "surrogatepass"), identifier)
    when = value("date").strip()
    return RawDocument(
        identifier=identifier,
        title=value("title"),
        sender=value("sender"),
        date=iso_date_of_number(float(when)) if _is_unix_time(when) else iso_date(when),
        text=text,
        thread=value("thread"),
        recipients=value("recipients"),
    )


def _is_unix_time(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) in (9, 10, 12, 13)
