"""Words are found in every script, with FTS5 alone and through the whole search."""

import shutil
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from customir.progress import Silent
from customir.runtime.embedder import Embedder
from customir.runtime.fts_tokenizer import any_of, fold, is_compound, register, words_in
from customir.runtime.index import IndexedPassage, build_index
from customir.runtime.search import Searcher

NOTES = {
    "zh": "会议改到星期五下午三点，请大家带上合同的最新版本。悬空引用已经清零。",
    "zh other": "今天讨论了部署方案，服务器下周搬到新机房。",
    "ja": "サンドボックスの修正テストは金曜日に終わりました。打合せは東京です。",
    "ja other": "来週の天気は雨でしょう。傘を持ってきてください。",
    "ko": "회의는 금요일 오후 세 시입니다. 계약서를 가져오세요.",
    "th": "การประชุมเลื่อนไปเป็นวันศุกร์เวลาบ่ายสาม",
    "de": "Die Kündigung der Straßenreinigung muss bis Ende März in München sein.",
    "de ascii": "Der Mietvertrag fuer die Bueroraeume laeuft aus.",
    "tr": "İstanbul ofisinin kira sözleşmesi ılık bir haziranda bitiyor.",
    "fr": "L’événement à l’école commence à neuf heures; apportez vos œuvres.",
    "ru": "Совещание переносится на пятницу; ещё нужен счёт.",
    "he": "הפגישה נדחתה לְיוֹם שישי בשעה שלוש.",
    "hi": "बैठक शुक्रवार को तीन बजे होगी, कृपया अनुबंध लाएँ।",
    "ligature": "The oﬃce is closed.",
    "version": "Upgrade to version 2.21.0 of the library; version 2.20 leaks memory.",
    "numbers": "Item 0: 2 chairs, 21 desks, 0 lamps and 20 boxes were counted in room 0.",
    "address": "Write to ada.lovelace@example.org about the key.",
    "words": "The example of the org chart shows ada and org units, lovelace street.",
    "identifier": "The function parse_http_header fails with ERR_CONN_RESET in foo::bar.",
    "parts": "The parser of the http library reads a header.",
    "languages": "We moved the C++ code to F# and Rust.",
    "c": "The C code stays as it is; vitamin c and sharp c are other things.",
}


@pytest.fixture(scope="module")
def words() -> Iterator[apsw.Connection]:
    with closing(apsw.Connection(":memory:")) as database:
        register(database)
        database.execute(
            "CREATE VIRTUAL TABLE words USING fts5(name UNINDEXED, text, tokenize=customir)"
        )
        database.executemany("INSERT INTO words VALUES (?, ?)", NOTES.items())
        yield database


def found(words: apsw.Connection, query: str) -> list[str]:
    expression = any_of(words_in(query))
    rows = words.execute("SELECT name FROM words WHERE words MATCH ? ORDER BY rank", (expression,))
    return [name for (name,) in rows]


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("合同", "zh"), ("悬空引用", "zh"), ("机房", "zh other"), ("服务器搬到哪里", "zh other"),
        ("修正テスト", "ja"), ("天気", "ja other"), ("傘", "ja other"), ("회의", "ko"), ("계약", "ko"),
        ("วันศุกร์", "th"), ("Kündigung", "de"), ("kuendigung", "de"), ("KUNDIGUNG", "de"),
        ("Strassenreinigung", "de"), ("STRAẞENREINIGUNG", "de"), ("Büroräume", "de ascii"),
        ("istanbul", "tr"), ("İSTANBUL", "tr"), ("ISTANBUL", "tr"), ("ilik", "tr"),
        ("ÉVÉNEMENT", "fr"), ("evenement", "fr"), ("oeuvres", "fr"), ("Œuvres", "fr"),
        ("СЧЕТ", "ru"), ("еще", "ru"), ("הפגישה", "he"), ("ליום", "he"), ("अनुबंध", "hi"),
        ("office", "ligature"), ("2.21.0", "version"), ("version 2.20", "version"),
        ("ada.lovelace@example.org", "address"), ("parse_http_header", "identifier"),
        ("err_conn_reset", "identifier"), ("FOO::BAR", "identifier"), ("C++", "languages"),
        ("f#", "languages"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_each_word_finds_its_note_first(
    words: apsw.Connection, query: str, name: str, form: str
) -> None:
    assert found(words, unicodedata.normalize(form, query))[:1] == [name]  # type: ignore[arg-type]


def test_a_version_number_is_not_its_digits(words: apsw.Connection) -> None:
    assert found(words, "2.21.0") == ["version"]
    assert found(words, "C++") == ["languages"]
    assert set(found(words, "parse_http_header")) == {"identifier", "parts"}


def test_marks_stand_where_the_words_are(words: apsw.Connection) -> None:
    statement = "SELECT highlight(words, 1, '[', ']') FROM words WHERE words MATCH ?"
    for query, marked in (
        ("合同的", "请大家带上[合同的]最新版本"),
        ("Kuendigung", "Die [Kündigung] der"),
        ("istanbul", "[İstanbul] ofisinin"),
        ("2.21.0", "version [2.21.0] of"),
    ):
        rows = list(words.execute(statement, (any_of(words_in(query)),)))
        assert any(marked in text for (text,) in rows), rows


def test_ascii_text_is_split_as_fts5_does(words: apsw.Connection) -> None:
    own = words.fts5_tokenizer("customir")
    plain = words.fts5_tokenizer("porter", ["unicode61"])
    text = b"Running e-mail servers, don't re_start x86-64 v2.1 twice (http://a.b/c?d=1)!"
    assert own(text, apsw.FTS5_TOKENIZE_DOCUMENT, None) == plain(
        text, apsw.FTS5_TOKENIZE_DOCUMENT, None
    )
    mixed = own(text + " Zürich".encode(), apsw.FTS5_TOKENIZE_DOCUMENT, None)
    assert mixed[:-1] == plain(text, apsw.FTS5_TOKENIZE_DOCUMENT, None)


def test_terms_of_a_query() -> None:
    assert words_in("Which e-mail on 2025-01-07?") == ["which", "e", "mail", "on", "2025-01-07"]
    assert words_in("foo.bar foo") == ["foo.bar", "foo", "bar"]
    assert words_in("会议 改") == ["会议", "改"]
    assert any_of(["会议", "改", "a"]) == '"会议" OR "改"* OR "a"'
    assert is_compound("2.21.0")
    assert not is_compound("c++")
    assert fold("ΣΊΣΥΦΟΣ") == fold("σίσυφος") == "σισυφοσ"
    assert fold("мой") == "мой"


WORDS = ["合同", "发票", "预算", "机房", "服务器", "键盘", "显示器", "打印机", "会议室", "电梯", "停车场", "食堂", "咖啡", "茶叶", "报销", "签证", "护照", "机票", "酒店", "火车", "地铁", "自行车", "雨伞", "钥匙", "门禁", "监控", "防火墙", "路由器", "交换机", "光纤", "硬盘", "内存", "备份", "日志", "密码", "证书", "邮箱", "域名", "网站", "数据库", "索引", "缓存", "队列", "接口", "文档", "翻译", "培训", "面试", "简历", "工资", "奖金", "保险", "体检", "疫苗", "口罩", "灭火器", "窗帘", "沙发", "地毯", "花盆"]  # fmt: skip
TEXTS = (
    "请大家注意，{}的事情已经交给小王处理，下周之前会有结果，有问题请直接联系他。",
    "昨天下午我们讨论了{}，大家都同意先试用一个月，然后再决定下一步怎么做。",
    "关于{}，领导的意见是暂时不变，等到明年春天再看情况，谢谢各位的配合。",
)


def test_of_sixty_chinese_notes_each_is_found_by_the_word_that_tells_it_apart(
    model: Path, tmp_path: Path, make_passage: Callable[..., IndexedPassage]
) -> None:
    passages = [
        make_passage(word, TEXTS[number % 3].format(word)) for number, word in enumerate(WORDS)
    ]
    assert len(passages) == 60
    shutil.copytree(model, tmp_path / "model")
    build_index(tmp_path / "index.db", passages, Embedder(model), Silent())
    with Searcher(tmp_path) as searcher:
        first = [searcher.search(word, k=1, mode="text")[0].key for word in WORDS]
        ten = [{hit.key for hit in searcher.search(word, k=10)} for word in WORDS]
    assert sum(key == f"key-{word}" for key, word in zip(first, WORDS, strict=True)) >= 58
    assert sum(f"key-{word}" in keys for keys, word in zip(ten, WORDS, strict=True)) >= 58
