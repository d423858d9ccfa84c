"""What a model's own files say about it: licence, languages, and the longest text."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from customir.encoder.folder import read_model_folder
from customir.errors import UserError
from customir.models.registry import Kind

CARD_NAME = "README.md"


@dataclass(frozen=True)
class About:
    """What a model's files say about it.

    Attributes:
        licence: Empty if they state none.
        languages: Codes, such as "en"; empty if they state none.
        window: The longest text or context in tokens; None if they do not say.
    """

    licence: str = ""
    languages: tuple[str, ...] = ()
    window: int | None = None


def about(path: Path, kind: Kind) -> About:
    """Read the model card and the limits of an embedder's folder, or the metadata of a GGUF file.

    Raises:
        UserError: a GGUF file is damaged.
    """
    return _about_gguf(path) if kind == "llm" else _about_folder(path)


def _about_folder(folder: Path) -> About:
    from huggingface_hub import ModelCard

    try:
        window: int | None = read_model_folder(folder).limits.max_tokens
    except UserError:  # `locate` says what is wrong with the folder
        window = None
    card = folder / CARD_NAME
    if not card.is_file():
        return About(window=window)
    try:
        data: dict[str, Any] = ModelCard.load(card, ignore_metadata_errors=True).data.to_dict()
    except (ValueError, OSError):  # it is prose with a header that need not be valid
        return About(window=window)
    licence = data.get("license_name") if data.get("license") == "other" else data.get("license")
    languages = data.get("language") or ()
    return About(
        licence=licence if isinstance(licence, str) else "",
        languages=(languages,) if isinstance(languages, str) else tuple(map(str, languages)),
        window=window,
    )


def _about_gguf(path: Path) -> About:
    import gguf

    try:
        reader = gguf.GGUFReader(path)
        fields = {
            name.rpartition(".")[2] if name.endswith(".context_length") else name: field
            for name, field in reader.fields.items()
        }
        licence = fields.get("general.license")
        languages = fields.get("general.languages")
        window = fields.get("context_length")
        return About(
            licence=bytes(licence.parts[licence.data[0]]).decode() if licence else "",
            languages=tuple(bytes(languages.parts[at]).decode() for at in languages.data)
            if languages
            else (),
            window=int(window.parts[window.data[0]][0]) if window else None,
        )
    except (ValueError, IndexError, KeyError, OSError) as error:
        raise UserError(f"{path}: a damaged GGUF file ({error}). Copy it again.") from error
