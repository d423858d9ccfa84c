"""Topics, periods, boilerplate and the summary, on passages made for it."""

import numpy as np
import pytest

from customir.queries.boilerplate import automatic, boilerplate
from customir.queries.sampling import sample_passages
from customir.queries.summary import render, summarise
from customir.queries.topics import cluster, name_topics, periods
from customir.workspace.passages import Passage

ABOUT = {
    "pump": "The oil pump in the boiler room leaks again and the mechanic ordered a new seal.",
    "leave": "Parental leave must be requested at the personnel office seven weeks in advance.",
    "audit": "The auditors want every invoice of the licences and the corrected tax statement.",
}


def passages(each: int) -> list[Passage]:
    return [
        Passage(f"{name}{n:03}", f"d{name}{n}", 0, f"{text} Number {n}.", f"{name}{n}", "", f"t{name}{n}")
        for name, text in ABOUT.items()
        for n in range(each)
    ]  # fmt: skip


def vectors(each: int, spread: float = 0.1) -> np.ndarray:
    draw = np.random.default_rng(0)
    made = np.repeat(np.eye(3, 16), each, axis=0) + draw.normal(0, spread, (3 * each, 16))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def test_clusters_are_found_again_and_named_by_their_words() -> None:
    topics = cluster(vectors(25), 0)
    assert len(set(topics.tolist())) == 3
    for start in (0, 25, 50):
        assert len(set(topics[start : start + 25].tolist())) == 1
    assert cluster(vectors(25), 0).tolist() == topics.tolist()
    named = name_topics([passage.text for passage in passages(25)], topics)
    assert [topic.size for topic in named] == [25, 25, 25]
    for start, words in ((0, {"pump", "oil", "boiler"}), (25, {"leave", "parental"})):
        terms = named[topics[start]].terms
        assert words & set(ABOUT["pump" if start == 0 else "leave"].lower().split()) & set(terms)


def test_topics_are_numbered_by_size() -> None:
    few = np.concatenate([vectors(40)[:40], vectors(40)[40:60], vectors(40)[80:110]])
    sizes = np.bincount(cluster(few, 1))
    assert sizes.tolist() == sorted(sizes.tolist(), reverse=True)
    assert cluster(vectors(3), 0).tolist() == [0] * 9
    assert cluster(np.empty((0, 16), np.float32), 0).tolist() == []
    assert name_topics(["a", "b"], np.zeros(2, dtype=np.int64))[0].terms == ()


def test_periods_hold_equal_numbers_and_the_undated_are_apart() -> None:
    dates = [f"20{year:02}-01-01T00:00:00+00:00" for year in range(16)]
    spans = periods([*dates, None])
    assert spans.tolist() == [n // 2 for n in range(16)] + [-1]
    assert periods([None, None]).tolist() == [-1, -1]
    assert set(periods([dates[0]] * 5).tolist()) == {7}


def test_a_sample_has_each_stratum_in_proportion_and_grows() -> None:
    corpus = passages(40)
    strata = {passage.key: passage.key[:-3] for passage in corpus}
    whole = sample_passages(corpus, 1000, 0, strata)
    assert len(whole) == 120
    for count in (3, 12, 30):
        sample = sample_passages(corpus, count, 0, strata)
        assert sample == whole[:count]
        assert [sum(strata[p.key] == name for p in sample) for name in ABOUT] == [count // 3] * 3


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Automatic reply: budget", "I am away until Monday, please write to Ann instead of me."),
        ("Re: budget", "I am out of the office until the 7th of May without access to my mail."),
        ("Undeliverable: budget", "The message could not be delivered to these recipients: ann"),
        ("Réponse automatique : budget", "Je suis absent jusqu'à lundi, merci d'écrire à Anne."),
        (
            "自動返信：予算の件",
            "月曜日まで休暇をいただいております。お急ぎの方は田中までご連絡ください。",
        ),
        ("Re: 预算", "自动回复：我在休假，五月七日回来，有急事请联系小王，谢谢。"),
    ],
)
def test_automatic_replies_get_no_queries(title: str, text: str) -> None:
    reply = Passage("a", "d", 0, f"{text} And so on and so on.", "a", title, "t")
    assert automatic(reply)
    assert sample_passages([reply], 5, 0) == []
    late = Passage("a", "d", 0, f"{ABOUT['pump'] * 3} She is out of the office.", "a", "", "t")
    assert not automatic(late)
    missed = Passage(
        "a", "d", 0, "부재중 전화가 두 통 있습니다.", "a", "Autosvaret är trasigt", "t"
    )
    assert not automatic(missed)


def test_what_many_documents_repeat_gets_no_queries() -> None:
    footer = "This message is confidential and meant for the recipient alone, who may not copy it."
    corpus = passages(10)
    forms = [
        Passage(f"f{n}", f"d{p.document}", 1, f"{footer}\nPage {n}", f"f{n}", "", p.thread)
        for n, p in enumerate(corpus)
    ]
    assert boilerplate([*corpus, *forms]) == {form.key for form in forms}
    assert set(sample_passages([*corpus, *forms], 100, 0)) == set(corpus)
    # The same line many times in one document is that document's own.
    verse = [Passage(f"v{n}", "d", n, footer, f"v{n}", "", "t") for n in range(30)]
    assert boilerplate(verse) == set()


def test_the_summary_says_what_is_there() -> None:
    corpus = passages(25)
    german = "Könnten Sie mir bitte sagen, wann die nächste Lieferung bei uns ankommt?"
    corpus += [Passage(f"g{n}", f"g{n}", 0, german, "g", "", "g") for n in range(25)]
    dates = {passage.document: f"200{n % 3}-05-01" for n, passage in enumerate(corpus)}
    dates["g0"] = None
    topics = cluster(np.concatenate([vectors(25), -vectors(25)[:25]]), 0)
    made = summarise(corpus, dates, name_topics([passage.content for passage in corpus], topics))
    assert (made.passages, made.documents, made.threads) == (100, 100, 76)
    assert made.languages["en"] == pytest.approx(0.75, abs=0.02)
    assert made.languages["de"] == pytest.approx(0.25, abs=0.02)
    assert made.styles["asks a question"] == 0.25
    assert made.left_out == {"near-duplicates": 24, "automatic replies": 0, "boilerplate": 25}
    assert sum(made.years.values()) == 100
    assert made.years[""] == 1
    text = render(made)
    for expected in ("100 passages", "en 75%", "de 25%", "2000 to 2002", "4 topics", "parental"):
        assert expected in text


def test_an_empty_corpus_has_a_summary() -> None:
    assert "0 passages" in render(summarise([], {}, []))
