"""Bytes to text when the declared charset is missing, unknown or a lie."""

import codecs

# Declared by mail programs, and what they mean by it: supersets that decode all of the former.
SUPERSETS = {
    "ascii": "cp1252",
    "us-ascii": "cp1252",
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "latin-1": "cp1252",
    "latin1": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
    "shift_jis": "cp932",
    "iso-8859-8-i": "iso-8859-8",
}
# Text in these is ASCII bytes, so that trying UTF-8 first would hand back escape sequences.
SEVEN_BIT = ("iso-2022", "utf-7", "hz")
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode(content: bytes, declared: str | None = None) -> str:
    """`content` as text; never fails.

    Bytes that are valid UTF-8 are UTF-8 whatever was declared: text in another charset is hardly
    ever valid UTF-8 by chance. Then the declared charset is believed, then Windows-1252.
    """
    for mark, name in BYTE_ORDER_MARKS:
        if content.startswith(mark):
            return content.decode(name, "replace")
    charset = (declared or "").strip().strip("'\"").lower()
    charset = SUPERSETS.get(charset, charset)
    seven_bit = charset.startswith((*SEVEN_BIT, "utf-16", "utf-32"))
    for candidate in (charset, "utf-8") if seven_bit else ("utf-8", charset):
        try:
            return content.decode(candidate) if candidate else content.decode("utf-8")
        except (UnicodeError, LookupError, ValueError):
            continue
    try:
        return content.decode("cp1252")
    except UnicodeDecodeError:
        return content.decode("latin-1")
