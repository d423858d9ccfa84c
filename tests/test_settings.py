"""Settings: defaults, file, overrides, and errors that name the field."""

from pathlib import Path

import pytest

from customir.errors import UserError
from customir.settings import SETTINGS_NAME, Settings, read_settings, write_settings


def write(folder: Path, text: str) -> None:
    (folder / SETTINGS_NAME).write_text(text, encoding="utf-8")


def test_overrides_beat_the_file_and_the_file_the_defaults(tmp_path: Path) -> None:
    assert read_settings(tmp_path, {}) == Settings()
    write(tmp_path, 'seed = 5\nllm = "a"\n[synthesis]\npassages = 7\ntemperature = 0.1\n')
    settings = read_settings(
        tmp_path, {"llm": "b", "seed": None, "synthesis.passages": 9, "training.epochs": 1}
    )
    assert (settings.seed, settings.llm) == (5, "b")
    assert (settings.synthesis.passages, settings.synthesis.temperature) == (9, 0.1)
    assert settings.training.epochs == 1
    assert settings.mining == Settings().mining


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    settings = read_settings(
        tmp_path,
        {
            "sources": ('mail "of" Ä\\x.mbox', "b"),
            "evaluation.alphas": (0.1, 1),
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
        ("synthesis = 3", "synthesis"),
        ("passages = 3", "passages"),
        ("[synthesis]\npassage = 3", r"synthesis\.passage"),
        ("[synthesis]\npassages = 0", r"synthesis\.passages"),
        ("[synthesis]\npassages = 'many'", r"synthesis\.passages"),
        ("[synthesis]\ntemperature = inf", r"synthesis\.temperature"),
        ("[synthesis]\nmax_tokens = 5000", r"synthesis\.max_tokens"),
        ("[training]\nlearning_rate = nan", r"training\.learning_rate"),
        ("[training]\nprecision = 'fp8'", r"training\.precision"),
        ("[evaluation]\nalphas = [0.5, 1.5]", r"evaluation\.alphas\.1"),
        ("[evaluation]\nalphas = [0]", r"evaluation\.alphas\.0"),
        ("device = 'tpu'", "device"),
        ("seed = -1", "seed"),
        ("threads = -1", "threads"),
    ],
)
def test_a_wrong_name_or_value_is_named(tmp_path: Path, text: str, names: str) -> None:
    write(tmp_path, text)
    with pytest.raises(UserError, match=rf"customir\.toml: {names}: "):
        read_settings(tmp_path, {"synthesis.round_trip_depth": 4})


def test_a_wrong_override_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mining\.skip_top"):
        read_settings(tmp_path, {"mining.skip_top": 2.0})


@pytest.mark.parametrize(
    "content", [b"[synthesis\n", b"seed = \n", b"llm = \xff\n", b"a = 1\na = 2"]
)
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SETTINGS_NAME).write_bytes(content)
    with pytest.raises(UserError, match=r"customir\.toml: .*Mend the line"):
        read_settings(tmp_path, {})


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, "seed = -1\nnose = 2\n[mining]\nnegatives = -3\n")
    with pytest.raises(UserError) as caught:
        read_settings(tmp_path, {})
    for name in ("seed", "nose", "mining.negatives"):
        assert name in str(caught.value)
