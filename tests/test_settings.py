"""Settings: defaults, file, overrides, and errors that name the field."""

from pathlib import Path

import pytest

from customir.errors import UserError
from customir.settings import RENAMED, SETTINGS_NAME, Settings, read_settings, write_settings


def write(folder: Path, text: str) -> None:
    (folder / SETTINGS_NAME).write_text(text, encoding="utf-8")


def test_overrides_beat_the_file_and_the_file_the_defaults(tmp_path: Path) -> None:
    assert read_settings(tmp_path, {}) == Settings()
    write(tmp_path, 'seed = 5\nllm = "a"\n[queries]\npassages = 7\ntemperature = 0.1\n')
    settings = read_settings(
        tmp_path, {"llm": "b", "seed": None, "queries.passages": 9, "training.epochs": 1}
    )
    assert (settings.seed, settings.llm) == (5, "b")
    assert (settings.queries.passages, settings.queries.temperature) == (9, 0.1)
    assert settings.training.epochs == 1
    assert settings.negatives == Settings().negatives


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    settings = read_settings(
        tmp_path,
        {
            "sources": ('mail "of" Ä\\x.mbox', "b"),
            "evaluation.interpolation_weights": (0.1, 1),
            "training.learning_rate": 1e-5,
            "seed": 2**62,
        },
    )
    write_settings(tmp_path, settings)
    assert read_settings(tmp_path, {}) == settings
    assert (tmp_path / SETTINGS_NAME).stat().st_mode & 0o777 == 0o600
    before = (tmp_path / SETTINGS_NAME).read_bytes()
    write_settings(tmp_path, settings)
    assert (tmp_path / SETTINGS_NAME).read_bytes() == before


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("queries = 3", "queries"),
        ("passages = 3", "passages"),
        ("[queries]\npassage = 3", r"queries\.passage"),
        ("[queries]\npassages = 0", r"queries\.passages"),
        ("[queries]\npassages = 'many'", r"queries\.passages"),
        ("[queries]\ntemperature = inf", r"queries\.temperature"),
        ("[queries]\nmax_tokens = 5000", r"queries\.max_tokens"),
        ("[training]\nlearning_rate = nan", r"training\.learning_rate"),
        ("[training]\nprecision = 'fp8'", r"training\.precision"),
        (
            "[evaluation]\ninterpolation_weights = [0.5, 1.5]",
            r"evaluation\.interpolation_weights\.1",
        ),
        ("[evaluation]\ninterpolation_weights = [0]", r"evaluation\.interpolation_weights\.0"),
        ("device = 'tpu'", "device"),
        ("seed = -1", "seed"),
        ("threads = -1", "threads"),
    ],
)
def test_a_wrong_name_or_value_is_named(tmp_path: Path, text: str, names: str) -> None:
    write(tmp_path, text)
    with pytest.raises(UserError, match=rf"customir\.toml: {names}: "):
        read_settings(tmp_path, {"queries.round_trip_depth": 4})


def test_a_wrong_override_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"negatives\.relative_margin"):
        read_settings(tmp_path, {"negatives.relative_margin": 2.0})


@pytest.mark.parametrize("content", [b"[queries\n", b"seed = \n", b"llm = \xff\n", b"a = 1\na = 2"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SETTINGS_NAME).write_bytes(content)
    with pytest.raises(UserError, match=r"customir\.toml: .*Correct the line"):
        read_settings(tmp_path, {})


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, "seed = -1\nnose = 2\n[negatives]\nnegatives_per_query = -3\n")
    with pytest.raises(UserError) as caught:
        read_settings(tmp_path, {})
    for name in ("seed", "nose", "negatives.negatives_per_query"):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[synthesis]\npassages = 5", "synthesis: is now called queries"),
        ("[training]\nrank = 8", r"training\.rank: is now called training\.lora_r"),
        ("[evaluation]\nalphas = [1.0]", r"evaluation\.alphas: is now called evaluation\.inter"),
        ("[training]\nteacher = 'judge'", r"training\.teacher: was removed, because .* Delete"),
        ("[queries]\nsearchers = true", r"queries\.searchers: was removed, because .* Delete"),
    ],
)
def test_an_old_name_is_an_error_that_says_the_new_one(
    tmp_path: Path, text: str, said: str
) -> None:
    write(tmp_path, text)
    with pytest.raises(UserError, match=said):
        read_settings(tmp_path, {})


def test_every_renamed_setting_has_a_new_name() -> None:
    fields = {
        name: type(section).model_fields
        for name, section in Settings()
        if hasattr(section, "model_fields")
    }
    for old, new in RENAMED.items():
        section, _, field = new.split(" ")[0].rpartition(".")
        assert field in (fields[section] if section else fields), old
