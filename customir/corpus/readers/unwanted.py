"""Recognises unwanted mail: spam, trash, drafts and deleted messages."""

import base64
import re
import unicodedata
from collections.abc import Mapping
from pathlib import PurePosixPath

SPAM, TRASH, DRAFT, DELETED = "spam", "trash", "a draft", "deleted"
# Folder names and Gmail labels, in the languages of mail programs and providers, in lower case.
FOLDERS: Mapping[str, str] = {
    name: kind
    for kind, names in {
        SPAM: (
            "spam", "junk", "junk mail", "junk email", "junk e-mail", "bulk mail", "[gmail]/spam",
            "junk-e-mail", "spamverdacht", "unerwünscht", "courrier indésirable", "indésirables",
            "pourriel", "correo no deseado", "no deseado", "posta indesiderata",
            "lixo eletrônico", "lixo eletrónico", "ongewenste e-mail", "ongewenste mail",
            "skräppost", "uønsket e-post", "søppelpost", "uønsket mail", "roskaposti",
            "wiadomości-śmieci", "nevyžádaná pošta", "nevyžádané", "levélszemét", "mesaje nesolicitate",
            "ανεπιθύμητα", "спам", "нежелательная почта", "небажана пошта", "gereksiz",
            "önemsiz e-posta", "דואר זבל", "ספאם", "البريد العشوائي", "بريد غير هام",
            "迷惑メール", "スパム", "스팸", "스팸메일", "정크 메일", "垃圾邮件", "垃圾郵件",
        ),
        TRASH: (
            "trash", "bin", "deleted", "deleted items", "deleted_items", "deleted messages",
            "[gmail]/trash", "[gmail]/bin", "wastebasket", "recycle bin", "papierkorb",
            "gelöschte elemente", "gelöschte objekte", "gelöscht", "corbeille",
            "éléments supprimés", "messages supprimés", "papelera", "elementos eliminados",
            "eliminados", "cestino", "posta eliminata", "lixeira", "itens excluídos",
            "itens eliminados", "lixo", "prullenbak", "verwijderde items", "papperskorgen", "papperskorg",
            "borttagna objekt", "papirkurv", "papirkurven", "slettede elementer", "slettet post",
            "roskakori", "poistetut", "kosz", "elementy usunięte", "koš", "odstraněná pošta",
            "kuka", "törölt elemek", "coș de gunoi", "elemente șterse", "κάδος απορριμμάτων",
            "κάδος", "διαγραμμένα στοιχεία", "корзина", "удаленные", "удалённые", "кошик",
            "видалені", "çöp kutusu", "çöp", "silinmiş öğeler", "אשפה", "פריטים שנמחקו",
            "المهملات", "سلة المهملات", "العناصر المحذوفة", "ゴミ箱", "削除済みアイテム",
            "휴지통", "지운 편지함", "삭제된 항목", "已删除", "已删除邮件", "已刪除的郵件", "刪除的郵件",
            "垃圾桶", "垃圾箱", "回收站",
        ),
        DRAFT: (
            "draft", "drafts", "[gmail]/drafts", "unsent messages", "entwurf", "entwürfe",
            "brouillon", "brouillons", "borrador", "borradores", "bozza", "bozze", "rascunho",
            "rascunhos", "concepten", "utkast", "kladder", "kladde", "luonnokset",
            "luonnos", "szkice", "wersje robocze", "robocze", "koncepty", "rozepsané",
            "piszkozatok", "piszkozat", "ciorne", "schițe", "πρόχειρα", "черновики", "чернетки",
            "taslaklar", "taslak", "טיוטות", "المسودات", "مسودات", "下書き", "임시보관함",
            "임시 보관함", "草稿", "草稿箱",
        ),
    }.items()
    for name in names
}  # fmt: skip
# IMAP's encoding of folder names (RFC 3501, 5.1.3), which servers and mbsync keep in a Maildir:
# UTF-16 in base64, with "," for "/". "&-" stands for "&".
ENCODED_NAME = re.compile(r"&([A-Za-z0-9+,]*)-")
MAILDIR_FLAGS = re.compile(r"[:;!_]2,([A-Za-z]*)$")
# MH's rmm renames a removed message: a comma (or "#", depending on its settings) before its number.
MH_REMOVED = re.compile(r"[,#]\d+$")
MOZILLA_EXPUNGED = 0x0008


def cause_by_path(name: str) -> str:
    """Why the mail in a file is unwanted, by its path below the source; empty if it is not."""
    path = PurePosixPath(name)
    flags = MAILDIR_FLAGS.search(path.name)
    if flags and "T" in flags[1]:
        return f"{TRASH}: the Maildir flag T"
    if flags and "D" in flags[1]:
        return f"{DRAFT}: the Maildir flag D"
    if MH_REMOVED.match(path.name):
        return f"{DELETED}: removed in its MH folder"
    for part in path.parts:
        # Maildir++ names a folder ".Trash" or ".INBOX.Trash", and mbox files may have a suffix.
        part = _decoded(part)
        folder = part.lower().removesuffix(".mbox").removesuffix(".mbx").removesuffix(".sbd")
        for each in (folder, folder.rpartition(".")[2] if folder.startswith(".") else folder):
            if kind := FOLDERS.get(each):
                return f"{kind}: the folder {part}"
    return ""


def cause_by_headers(labels: str, mozilla_status: str) -> str:
    """Why a mail is unwanted, by the headers of its mail program; empty if it is not.

    Args:
        labels: The decoded X-Gmail-Labels header.
        mozilla_status: The X-Mozilla-Status header, flags in hexadecimal.
    """
    for label in labels.split(","):
        if kind := FOLDERS.get(label.strip().strip('"').lower()):
            return f"{kind}: the Gmail label {label.strip()}"
    try:
        flags = int(mozilla_status or "0", 16)
    except ValueError:
        return ""
    return f"{DELETED}: marked so in Thunderbird" if flags & MOZILLA_EXPUNGED else ""


def _decoded(name: str) -> str:
    """A folder's name without IMAP's encoding, in NFC: file systems of Macs decompose letters."""
    decoded = ENCODED_NAME.sub(_characters, name) if "&" in name else name
    return unicodedata.normalize("NFC", decoded)


def _characters(encoded: re.Match[str]) -> str:
    text = encoded[1].replace(",", "/")
    if not text or len(text) % 4 == 1:
        return "&" if not text else encoded[0]
    return base64.b64decode(text + "=" * (-len(text) % 4)).decode("utf-16-be", "replace")
