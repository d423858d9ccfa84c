"""bench/recipe.py: its arms are valid settings, and its table has what was measured."""

from pathlib import Path
from types import ModuleType

import pytest

from customir.settings import read_settings

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    import recipe

    return recipe


def test_every_arm_has_valid_settings(recipe: ModuleType, tmp_path: Path) -> None:
    from quality import overrides_of

    start = read_settings(tmp_path, overrides_of(recipe.START))
    for arm, assigned in recipe.ARMS.items():
        settings = read_settings(tmp_path, overrides_of([*recipe.START, *assigned]))
        assert (settings == start) == (arm in ("start", recipe.CHOSEN_WEIGHT)), arm


def measured(label: str, base: float, adapted: list[float]) -> dict[str, object]:
    mean = sum(adapted) / len(adapted)
    return {
        "set": label, "arm": "arm", "queries": len(adapted),
        "query_keys": [str(n) for n in range(len(adapted))],
        "clusters": [str(n) for n in range(len(adapted))],
        "values": {"adapted": {"Recall@10": adapted, "nDCG@10": adapted}},
        "table": [
            {"system": "base", "Recall@10": base},
            {"system": "adapted", "Recall@10": mean,
             "Recall@10 difference": [mean - base, mean - base - 0.1, mean - base + 0.1, 0.01]},
        ],
    }  # fmt: skip


def test_the_table_has_gains_means_and_differences(recipe: ModuleType) -> None:
    found = {
        ("start", "a"): [measured("a", 0.5, [1.0, 0.5, 0.0, 1.0])],
        ("start", "b"): [measured("b", 0.5, [0.5] * 4)],
        ("hot", "a"): [measured("a", 0.5, [1.0, 1.0, 0.5, 1.0])],
        ("hot", "b"): [],
    }
    header, _, start, hot = recipe.table(found).splitlines()
    assert header.startswith("| arm | a | b | mean |")
    assert start.startswith("| start | +12.5 (+2.5 to +22.5) | +0.0 (-10.0 to +10.0) | +6.2 |")
    assert hot.startswith("| hot | +37.5 (+27.5 to +47.5) |  | +37.5 | +0.250 (")
