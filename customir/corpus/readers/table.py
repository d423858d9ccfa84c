"""CSV and TSV with named columns: one document per row. Enron's `file,message` is read as mail."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from customir.corpus.charsets import decode
from customir.corpus.document import RawDocument, RawMail, Unreadable
from customir.corpus.readers import eml
from customir.corpus.readers.dates import iso_date, iso_date_of_number
from customir.corpus.readers.files import ReadError, SourceFile

# The column names of each field in exports of mail programs, trackers and shops, likeliest first.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "text": (
        "text", "body", "content", "message", "description", "comment", "notes", "note", "details",
        "message body", "inhalt", "nachricht", "nachrichtentext", "beschreibung", "kommentar",
        "textkörper", "mailtext", "bemerkung", "corps", "corps du message", "contenu", "texte",
        "commentaire", "cuerpo", "contenido", "mensaje", "texto", "descripción", "comentario",
        "corpo", "testo", "contenuto", "messaggio", "descrizione", "mensagem", "conteúdo",
        "descrição", "bericht", "inhoud", "omschrijving", "beschrijving", "tekst", "beskrivelse",
        "innehåll", "beskrivning", "treść", "opis", "text zprávy", "popis", "текст", "сообщение",
        "описание", "本文", "内容", "正文", "描述", "내용", "본문",
    ),
    "identifier": (
        "_id", "id", "message-id", "message_id", "messageid", "key", "issue key", "file", "url",
        "nummer", "nr", "nr.", "ticketnummer", "numéro", "número", "numero", "номер",
    ),
    "title": (
        "title", "subject", "name", "summary", "betreff", "titel", "überschrift",
        "zusammenfassung", "objet", "titre", "sujet", "résumé", "asunto", "título", "oggetto",
        "titolo", "assunto", "onderwerp", "emne", "ämne", "temat", "tytuł", "předmět", "тема",
        "件名", "主题", "主題", "标题", "제목",
    ),
    "sender": (
        "sender", "from", "author", "user", "username", "reporter", "from: (name)",
        "from: (address)", "absender", "von", "von: (name)", "von: (adresse)", "autor",
        "verfasser", "ersteller", "expéditeur", "auteur", "de", "de: (nom)", "remitente",
        "mittente", "autore", "remetente", "afzender", "van", "avsändare", "avsender", "nadawca",
        "odesílatel", "отправитель", "автор", "差出人", "发件人", "보낸 사람",
    ),
    "recipients": (
        "to", "recipients", "to: (name)", "to: (address)", "an", "an: (name)", "an: (adresse)",
        "empfänger", "à", "à: (nom)", "destinataire", "destinatario", "para", "aan",
    ),
    "date": (
        "date", "sent", "created", "created_at", "created at", "timestamp", "time", "datum",
        "gesendet", "gesendet am", "erstellt", "erstellt am", "erstelldatum",
        "erstellungsdatum", "date d'envoi", "date de création", "créé le", "fecha",
        "fecha de creación", "data", "data di creazione", "data de criação", "envoyé", "dato",
        "aangemaakt", "utworzono", "дата", "日付", "日期", "时间", "날짜",
    ),
    "thread": ("thread", "thread_id", "threadid", "conversation_id", "conversation", "ticket"),
}  # fmt: skip
DELIMITERS = ",;\t|"
MAXIMUM_HEADER = 4096
MAXIMUM_FIELD = 16 << 20
# After this many rows with broken quotes, such a row is only named.
MAXIMUM_BROKEN_QUOTES = 1000
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
        layout = layout_of(file.head.splitlines()[:2], file.options.columns, file.format_name)
    except LayoutError as error:
        raise ReadError(str(error)) from error

    def lines() -> Iterator[str]:
        for number, line in file.lines():
            if isinstance(line, ReadError):
                where = f"{file.name}: line {number}"
                broken.append(Unreadable(where, f"not a row: {line}"))
            elif number > layout.skipped:
                yield decode(line).replace("\0", "")

    for number, row in enumerate(_rows(lines(), layout.delimiter), start=1):
        where = f"{file.name}: row {number}"
        if isinstance(row, csv.Error):
            yield Unreadable(where, f"not a row: {row}")
        elif row and number > 1:
            yield _document(row, layout.columns, where)
    yield from broken


def _rows(lines: Iterator[str], delimiter: str) -> Iterator[list[str] | csv.Error]:
    """The rows of a table; an error in place of one that cannot be read.

    A quotation mark that is never closed would make all following rows one field. Its line is then
    read as it is, and the rows below are read again.
    """
    csv.field_size_limit(MAXIMUM_FIELD)
    broken = 0
    read: list[str] = []  # the lines of the current row
    rows = csv.reader(_remembered(lines, read), delimiter=delimiter)
    while True:
        row: list[str] | csv.Error
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            row = error
        is_broken = isinstance(row, csv.Error) or _is_broken(read, delimiter)
        if is_broken and broken < MAXIMUM_BROKEN_QUOTES and read:
            broken += 1
            row = next(csv.reader(read[:1], delimiter=delimiter, quoting=csv.QUOTE_NONE))
            lines = chain(read[1:], lines)
            read = []
            rows = csv.reader(_remembered(lines, read), delimiter=delimiter)
        yield row
        read.clear()


def _is_broken(lines: Sequence[str], delimiter: str) -> bool:
    """Whether a row of several lines ends inside a quoted field, or has text behind one."""
    try:
        return len(lines) > 1 and not list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error:
        return True


def _remembered(lines: Iterator[str], read: list[str]) -> Iterator[str]:
    for line in lines:
        read.append(line)
        yield line


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
