"""Each passage is asked for in its own language, and languages are kept apart."""

from customir.queries.generate import Written, _batches, _Work, requests
from customir.queries.languages import prompt_languages
from customir.queries.rejected import rejected_by_text
from customir.queries.styles import PROMPTS
from customir.settings import QuerySettings
from customir.workspace import Unit
from customir.workspace.passages import Passage

TEXTS = {
    "en": "The pump in hall two leaks oil and nobody knows whom to call about it before Monday.",
    "de": "Die Pumpe in Halle zwei verliert Öl, und niemand weiß, wen man deswegen anrufen soll.",
    "ja": "第二ホールのポンプから油が漏れていますが、誰に連絡すればよいのか分かりません。",
    "zh": "昨天二号厅的大油泵又开始漏油了，请尽快通知水管工来修理。",
    "zh-Hant": "昨天二號廳的大油泵又開始漏油了，請儘快通知水電師傅來修理。",
    "sv": "Pumpen i hall två läcker olja och ingen vet vem man ska ringa om det före måndag.",
    "code": "for (int i = 0; i < n; ++i) { x[i] = y[i] * z; } return x; // ok",
}


def passages(*languages: str, title: str = "") -> list[Passage]:
    return [
        Passage(f"{n:032x}", "d", 0, f"{TEXTS[name]} {n}", f"{n:032x}", title, f"t{n}")
        for n, name in enumerate(languages)
    ]


def codes(*languages: str) -> list[str]:
    return [language.code for language in prompt_languages(passages(*languages))]


def test_each_passage_has_the_prompts_of_its_language() -> None:
    every = ["en", "de", "ja", "zh", "zh-Hant"]
    assert codes(*every) == every
    assert all(own is PROMPTS[own.code] for own in prompt_languages(passages(*every)))
    assert codes() == []


def test_what_has_no_language_gets_that_of_most_passages() -> None:
    assert codes("de", "code", "de", "en") == ["de", "de", "de", "en"]
    assert codes("code", "code") == ["en", "en"]


def test_a_rare_language_without_prompts_is_not_believed() -> None:
    assert codes(*["en"] * 19, "sv") == ["en"] * 19 + ["sv"]
    assert codes(*["en"] * 20, "sv") == ["en"] * 21
    # One with prompts is hardly ever a mistake.
    assert codes(*["en"] * 99, "de") == ["en"] * 99 + ["de"]


def test_a_language_without_prompts_is_shown_its_own_subjects() -> None:
    (language,) = set(prompt_languages(passages("sv", "sv", title="Re: Läckande pump")))
    assert (language.code, language.origin) == ("sv", "subjects of the corpus")
    assert language.shown_queries(0) == ["Läckande pump"]
    (language,) = set(prompt_languages(passages("sv", title="Re:")))
    assert language.origin == "none"


def test_a_call_of_the_engine_has_one_language() -> None:
    planned = requests(passages(*["en", "de"] * 20), QuerySettings(queries_per_passage=3), 0)
    units = [
        Unit(str(n), _Work(r, r.language.prompt("x", r.style, r.rotation)))
        for n, r in enumerate(planned)
    ]
    batches = _batches(units)
    assert [unit for batch in batches for unit in batch] == units
    for batch in batches:
        assert len({unit.work.request.language for unit in batch}) == 1
        assert len({unit.work.prompt.shared for unit in batch}) == 1


def test_two_languages_are_kept_apart() -> None:
    planned = requests(passages("en", "de"), QuerySettings(queries_per_passage=1), 0)
    own = {"en": "who repairs the leaking machine", "de": "wer repariert die undichte Maschine"}
    right = [Written("k", request, own[request.language.code]) for request in planned]
    assert rejected_by_text(right) == [None, None]
    swapped = dict(zip(own, reversed(own.values()), strict=True))
    wrong = [Written("k", request, swapped[request.language.code]) for request in planned]
    assert rejected_by_text(wrong) == ["wrong language"] * 2


def test_labels_of_the_prompt_s_language_are_leaks() -> None:
    (request,) = requests(passages("de"), QuerySettings(queries_per_passage=1), 0)
    assert rejected_by_text([Written("k", request, "Gesucht: Mechaniker für Ölpumpe")]) == [
        "leaks the prompt"
    ]
