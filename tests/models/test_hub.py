"""Models by their name on the hub: the hub's real client against a server on loopback."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gguf_files
import pytest
from encoder.folders import tiny_folder
from models.hub_server import Hub, running, sha256

from customir import models
from customir.encoder.folder import Prompts, read_model_folder
from customir.errors import UserError
from customir.models import registry
from customir.progress import Silent

NAME = "hf:maker/tiny"
CARD = b"---\nlicense: mit\nlanguage:\n- en\n- de\n---\n# A tiny model\n"
UNWANTED = {
    "pytorch_model.bin": b"a pickle",
    "modeling_tiny.py": b"raise SystemExit",
    "onnx/model.onnx": b"onnx",
    "onnx/config.json": b"{}",
    ".gitattributes": b"",
    "../outside.json": b"{}",
    "rust_model.ot": b"",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A repository with a whole embedder."""
    folder = tiny_folder(tmp_path_factory.mktemp("source") / "tiny")
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    return {**found, "README.md": CARD}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on loopback that the client is told to use, and an empty folder of models."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("CUSTOMIR_MODELS", str(tmp_path / "models"))
    with running(Hub()) as served:
        monkeypatch.setenv("HF_ENDPOINT", served.address)
        yield served


def installed(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "customir.lock"
    }


def lock_of(folder: Path) -> dict[str, object]:
    lock: dict[str, object] = json.loads((folder / "customir.lock").read_text())
    return lock


def gguf_bytes(folder: Path) -> bytes:
    gguf_files.write_babbler(folder / "made.gguf")
    return (folder / "made.gguf").read_bytes()


def test_an_embedder_comes_without_code_and_pickles_and_is_locked(
    hub: Hub, files: dict[str, bytes]
) -> None:
    commit = hub.publish("maker/tiny", {**files, **UNWANTED})
    folder = models.fetch(NAME, Silent())

    assert folder == models.locate(NAME, "embedder") == models.verify(NAME)
    assert installed(folder) == files
    lock = lock_of(folder)
    assert (lock["revision"], lock["hub_repository"]) == (commit, "maker/tiny")
    assert lock["files"] == [
        {"path": path, "size": len(files[path]), "sha256": sha256(files[path])}
        for path in {**files, **UNWANTED}
        if path in files
    ]
    model = models.find(NAME)
    assert model is not None
    assert (model.licence, model.languages, model.window) == ("mit", ("en", "de"), 64)
    for path in (folder, *folder.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)
    assert models.absolute(NAME) == NAME

    hub.requests.clear()
    assert models.fetch(NAME, Silent()) == folder
    assert hub.requests == []


def test_a_revision_is_taken_and_kept(hub: Hub, files: dict[str, bytes]) -> None:
    old = {**files, "README.md": b"old"}
    commit = hub.publish("maker/tiny", old, "v1")
    hub.publish("maker/tiny", files)
    folder = models.fetch(f"{NAME}@v1", Silent())
    assert installed(folder) == old
    assert lock_of(folder)["revision"] == commit
    assert installed(models.fetch(NAME, Silent())) == files


def test_one_gguf_file_is_an_llm(hub: Hub, tmp_path: Path) -> None:
    content = gguf_bytes(tmp_path)
    hub.publish("maker/LLM-GGUF", {"q4/llm.gguf": content, "q8/llm.gguf": b"GGUF", "a.json": b"{}"})
    name = "hf:maker/LLM-GGUF/q4/llm.gguf"
    path = models.fetch(name, Silent(), sha256(content).upper())
    assert path == models.locate(name, "llm")
    assert path.read_bytes() == content
    assert [file for file, _ in hub.downloads()] == ["llm.gguf"]
    model = models.find(name)
    assert model is not None
    assert model.window == gguf_files.CONTEXT
    with pytest.raises(UserError, match=r"is an LLM; an embedder is needed"):
        models.locate(name, "embedder")


def test_a_locked_model_is_mended_from_its_commit_though_main_has_moved_on(
    hub: Hub, files: dict[str, bytes]
) -> None:
    hub.publish("maker/tiny", files)
    folder = models.fetch(NAME, Silent())
    hub.publish("maker/tiny", {**files, "README.md": b"newer"})
    weights = folder / "model.safetensors"
    weights.write_bytes(bytes(len(files["model.safetensors"])))
    with pytest.raises(UserError, match=r"damaged: the SHA-256 of .*model\.safetensors"):
        models.locate(NAME)
    assert installed(models.fetch(NAME, Silent())) == files


def test_other_files_at_the_locked_commit_are_refused(hub: Hub, files: dict[str, bytes]) -> None:
    commit = hub.publish("maker/tiny", files)
    folder = models.fetch(NAME, Silent())
    (folder / "config.json").unlink()
    changed = {**files, "config.json": files["config.json"] + b" "}
    hub.repositories["maker/tiny"][commit] = (commit, changed)
    with pytest.raises(UserError, match=r"config\.json: its SHA-256 is .* It was deleted"):
        models.fetch(NAME, Silent())
    with pytest.raises(UserError, match=r"not on this machine \(.*config\.json"):
        models.locate(NAME)


def test_a_file_that_is_not_what_the_hub_states_is_refused(
    hub: Hub, files: dict[str, bytes]
) -> None:
    hub.publish("maker/tiny", files)
    hub.stated_sha256["model.safetensors"] = "0" * 64
    with pytest.raises(UserError, match=r"SHA-256 of model\.safetensors is .* the hub states 000"):
        models.fetch(NAME, Silent())
    with pytest.raises(UserError, match="not on this machine"):
        models.locate(NAME)


def test_the_checksum_that_the_user_knows(hub: Hub, files: dict[str, bytes]) -> None:
    hub.publish("maker/tiny", files)
    with pytest.raises(UserError, match=r"SHA-256 of model\.safetensors is .*, not 0000"):
        models.fetch(NAME, Silent(), "0" * 64)
    with pytest.raises(UserError, match="not on this machine"):
        models.locate(NAME)
    right = sha256(files["model.safetensors"])
    models.fetch(NAME, Silent(), right)
    models.fetch(NAME, Silent(), right)
    with pytest.raises(UserError, match="not 1111"):
        models.fetch(NAME, Silent(), "1" * 64)


def test_a_download_continues_in_the_middle_of_a_file(hub: Hub, tmp_path: Path) -> None:
    chunk = 10 * 2**20  # the client writes this much at once
    content = gguf_bytes(tmp_path) + bytes(chunk + 2**20)
    hub.publish("maker/LLM-GGUF", {"llm.gguf": content})
    hub.cut_after = chunk + 2**19
    name = "hf:maker/LLM-GGUF/llm.gguf"
    with pytest.raises(UserError, match="the model hub at"):
        models.fetch(name, Silent())
    hub.cut_after = None
    hub.requests.clear()
    assert models.fetch(name, Silent()).read_bytes() == content
    assert hub.downloads() == [("llm.gguf", f"bytes={chunk}-")]


def test_a_proxy_of_the_environment_is_used(
    hub: Hub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.publish("maker/tiny", files)
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    monkeypatch.setenv("http_proxy", hub.address)
    assert installed(models.fetch(NAME, Silent())) == files


def test_without_a_hub_it_says_what_to_copy_where(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    folder = tmp_path / "models" / "hf--maker--tiny"
    with pytest.raises(UserError) as raised:
        models.fetch(NAME, Silent())
    said = str(raised.value)
    assert "the model hub at http://127.0.0.1:9 cannot be reached (ConnectionRefused" in said
    assert not (tmp_path / "models" / ".hf--maker--tiny.fetching").exists()
    assert f"run `customir models fetch {NAME}` and copy the folder {folder} to the same" in said
    assert "customir models add PATH --name tiny" in said


def test_a_copied_folder_is_the_model(
    hub: Hub, files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.publish("maker/tiny", files)
    folder = models.fetch(NAME, Silent())
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    copied = folder.rename(elsewhere / folder.name)
    monkeypatch.setenv("CUSTOMIR_MODELS", str(elsewhere))
    assert models.locate(NAME) == copied


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hf:maker/absent", "RepositoryNotFound|Repository Not Found|Repo"),
        ("hf:maker/tiny@v9", "Revision"),
        ("hf:maker/tiny/other.gguf", r"has no other\.gguf. GGUF files there: none"),
        ("hf:maker/pickles", "no weights in safetensors"),
        ("hf:maker/gated", "licence has to be accepted .* HF_TOKEN"),
        ("hf:tiny", "no name of the model hub"),
        ("hf:maker/tiny/model.safetensors", "only a GGUF file is fetched alone"),
        ("hf:maker/tiny/../../x.gguf", "only a GGUF file is fetched alone"),
        ("unknown", "no model has this name"),
    ],
)
def test_what_cannot_be_fetched(
    name: str, said: str, hub: Hub, files: dict[str, bytes], tmp_path: Path
) -> None:
    hub.publish("maker/tiny", files)
    hub.publish("maker/pickles", {"config.json": b"{}", "pytorch_model.bin": b""})
    hub.gated.add("maker/gated")
    with pytest.raises(UserError, match=said):
        models.fetch(name, Silent())
    assert not list((tmp_path / "models").glob("*/customir.lock"))


def test_a_model_that_needs_a_conversion_stays_and_the_error_says_how(
    hub: Hub, files: dict[str, bytes]
) -> None:
    plain = {path: data for path, data in files.items() if path != "modules.json"}
    hub.publish("maker/plain", plain)
    with pytest.raises(UserError, match=r"customir models convert .*hf--maker--plain NEW"):
        models.fetch("hf:maker/plain", Silent())
    assert installed(registry.models_folder() / "hf--maker--plain") == plain


def test_an_alias_of_the_registry_is_locked_on_first_use(
    hub: Hub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    alias = registry.Model("small", "embedder", "of a maker", "", hub_repository="maker/tiny")
    monkeypatch.setattr(registry, "_read_registry", lambda: (alias,))
    hub.publish("maker/tiny", files)
    with pytest.raises(UserError, match="Run: customir models fetch small"):
        models.locate("small")
    assert models.fetch("small", Silent()) == registry.models_folder() / "small"
    (model,) = models.known()
    assert (model.description, model.licence, model.is_pinned) == ("of a maker", "mit", False)
    assert len(model.files) == len(files)


def test_prompts_that_the_repository_does_not_state_are_written(
    hub: Hub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    alias = registry.Model(
        "e5", "embedder", "", "", hub_repository="maker/tiny",
        query_prompt="query: ", passage_prompt="passage: ",
    )  # fmt: skip
    monkeypatch.setattr(registry, "_read_registry", lambda: (alias,))
    hub.publish("maker/tiny", files)
    folder = models.fetch("e5", Silent())
    assert read_model_folder(folder).prompts == Prompts("query: ", "passage: ")
    (folder / "config_sentence_transformers.json").unlink()
    assert models.fetch("e5", Silent()) == folder
    assert read_model_folder(folder).prompts == Prompts("query: ", "passage: ")


@pytest.mark.slow
def test_the_commands(hub: Hub, files: dict[str, bytes], tmp_path: Path) -> None:
    hub.publish("maker/tiny", files)

    def customir(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "customir", *arguments], capture_output=True, text=True
        )

    fetched = customir("models", "fetch", NAME)
    assert fetched.returncode == 0, fetched.stderr
    folder = tmp_path / "models" / "hf--maker--tiny"
    assert fetched.stdout.strip() == str(folder)
    (tmp_path / "note.txt").write_text("The mill turns all night.")
    # Every command but `fetch` has no network, and finds the model all the same.
    added = customir("models", "add", str(folder), "--name", "mine")
    assert added.returncode == 0, added.stderr
    rows = {row["name"]: row for row in json.loads(customir("models", "list", "--json").stdout)}
    assert rows[NAME]["checksums"] == rows["mine"]["checksums"] == "locked"
    assert rows[NAME]["path"] == rows["mine"]["path"] == str(folder)
    assert rows["minilm"]["checksums"] == "pinned"
    ingested = customir(
        "ingest", f"{tmp_path}/note.txt", "--out", f"{tmp_path}/out", "--embedder", NAME
    )
    assert ingested.returncode == 0, ingested.stderr
    assert f'embedder = "{NAME}"' in (tmp_path / "out/customir.toml").read_text()


def test_a_model_of_the_users_own_has_a_name_until_it_is_removed(hub: Hub, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "own")
    (folder / "README.md").write_bytes(CARD)
    model = models.add(folder, "own-1.0")
    assert models.locate("own-1.0", "embedder") == folder == models.verify("own-1.0")
    assert (model.licence, model.window) == ("mit", 64)
    assert models.fetch("own-1.0", Silent()) == folder
    with pytest.raises(UserError, match="has this name already"):
        models.add(folder, "own-1.0")
    with pytest.raises(UserError, match="has this name already"):
        models.add(folder, "minilm")
    for bad in ("hf:a/b", "a/b", "..", ""):
        with pytest.raises(UserError, match="use letters"):
            models.add(folder, bad)
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config + " ")
    with pytest.raises(UserError, match="damaged"):
        models.locate("own-1.0")
    with pytest.raises(UserError, match="has changed since it was added"):
        models.verify("own-1.0")
    assert (folder / "config.json").exists()
    assert "left alone" in models.remove("own-1.0")
    assert (folder / "model.safetensors").exists()
    with pytest.raises(UserError, match="no model has this name"):
        models.verify("own-1.0")
    path = tmp_path / "own.gguf"
    gguf_files.write_babbler(path)
    models.add(path, "llm")
    assert models.locate("llm", "llm") == path
    with pytest.raises(UserError, match="neither a file"):
        models.locate("own-1.0")


def test_what_was_fetched_is_deleted_when_it_is_removed(hub: Hub, files: dict[str, bytes]) -> None:
    hub.publish("maker/tiny", files)
    folder = models.fetch(NAME, Silent())
    assert "deleted" in models.remove(NAME)
    assert not folder.exists()
    assert models.find(NAME) is None


def test_a_damaged_lock_file_is_named(hub: Hub, files: dict[str, bytes]) -> None:
    hub.publish("maker/tiny", files)
    folder = models.fetch(NAME, Silent())
    (folder / "customir.lock").write_text("{torn")
    with pytest.raises(
        UserError, match=r"customir\.lock: a damaged lock file .* Delete the folder"
    ):
        models.known()
