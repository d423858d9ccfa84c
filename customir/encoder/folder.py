"""The only parser of sentence-transformers folders: modules, pooling, prompts, limits.

It reads JSON with only the standard library, so that the runtime can use it too. It also decides
what may be loaded. Python code that a folder names is never run, and weights in pickles are never
opened.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, cast, get_args

from customir.errors import UserError

Kind = Literal["query", "passage"]
PoolingMode = Literal["cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
HeadKind = Literal["Dense", "LayerNorm", "Normalize"]

MODULES_NAME = "modules.json"
CONFIG_NAME = "config.json"
PROMPTS_NAME = "config_sentence_transformers.json"
LIMITS_NAME = "sentence_bert_config.json"
TOKENIZER_NAME = "tokenizer.json"
TOKENIZER_CONFIG_NAME = "tokenizer_config.json"
WEIGHTS_NAME = "model.safetensors"
WEIGHTS_INDEX_NAME = "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")

# `weights_only` reads tensors and nothing else from a pickle.
CONVERT_PICKLE = (
    "python -c 'import torch; from safetensors.torch import save_file; "
    'weights = torch.load("pytorch_model.bin", weights_only=True, map_location="cpu"); '
    'save_file({name: weight.clone() for name, weight in weights.items()}, "model.safetensors", '
    """{"format": "pt"})'"""
)

# The classes that sentence-transformers 2 to 6 write for each module. No others are allowed,
# because modules.json can name any code, including the folder's own.
_MODULES = "sentence_transformers.sentence_transformer.modules"
_BASE_MODULES = "sentence_transformers.base.modules"
CLASSES: Mapping[str, str] = {
    path: name
    for name, paths in {
        "Transformer": (f"{_BASE_MODULES}.transformer", f"{_MODULES}.transformer"),
        "Pooling": (f"{_MODULES}.pooling",),
        "Dense": (f"{_BASE_MODULES}.dense", f"{_MODULES}.dense"),
        "LayerNorm": (f"{_MODULES}.layer_norm",),
        "Normalize": (f"{_MODULES}.normalize", f"{_BASE_MODULES}.normalize"),
        "Dropout": (f"{_MODULES}.dropout",),
        "StaticEmbedding": (f"{_MODULES}.static_embedding",),
    }.items()
    for path in (
        f"sentence_transformers.models.{name}",
        f"sentence_transformers.models.{name}.{name}",
        *(f"{module}.{name}" for module in paths),
    )
}
# In the order in which sentence-transformers concatenates the results.
POOLING_FLAGS: Mapping[str, PoolingMode] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
# Activations of a Dense module: classes of torch.nn without arguments.
ACTIVATIONS = ("ELU", "GELU", "Identity", "LeakyReLU", "ReLU", "SiLU", "Sigmoid", "Tanh")
# Files whose `auto_map` names code that comes with the weights.
CODE_MAPS = (
    CONFIG_NAME,
    TOKENIZER_CONFIG_NAME,
    "preprocessor_config.json",
    "processor_config.json",
)
# Alternatives to the best-known models that need custom code.
NATIVE_ALTERNATIVES: Mapping[str, str] = {
    "nomic_bert": "nomic-ai/modernbert-embed-base is a model of that maker without custom code",
    "new": "Alibaba-NLP/gte-modernbert-base is a GTE without custom code",
    "qwen2": "Qwen/Qwen3-Embedding-0.6B is a successor without custom code",
}
JINA_HINT = "of Jina's models there is none without custom code that can be loaded here"
# Families whose positions start after the padding index.
OFFSET_POSITIONS = ("mpnet", "roberta", "xlm-roberta", "camembert")
# Keyword arguments in sentence_bert_config.json that do not change the vectors.
HARMLESS_ARGUMENTS = (
    "add_pooling_layer", "attn_implementation", "dtype", "model_max_length", "torch_dtype",
    "trust_remote_code",
)  # fmt: skip
ARGUMENT_KEYS = (
    "model_args", "model_kwargs", "tokenizer_args", "processor_kwargs", "config_args",
    "config_kwargs", "processing_kwargs",
)  # fmt: skip
NO_LIMIT = 10**9  # transformers writes 1e30 if a tokenizer has no limit
STATIC = "StaticEmbedding"
DEFAULT_POSITIONS = 512


@dataclass(frozen=True)
class Pooling:
    """How token vectors become one text vector.

    Attributes:
        modes: One or more modes, whose results are concatenated in this order.
    """

    modes: tuple[PoolingMode, ...]


@dataclass(frozen=True)
class HeadModule:
    """A module after pooling.

    Attributes:
        kind: Dense (a matrix and an activation), LayerNorm, or Normalize (to length 1).
        path: Its folder; empty for Normalize.
        activation: The activation of a Dense: the name of a class in torch.nn.
        in_features: Length of the input vector; 0 for Normalize.
        out_features: Length of the output vector; 0 for Normalize.
        bias: Whether a Dense has a bias.
    """

    kind: HeadKind
    path: Path
    activation: str = "Identity"
    in_features: int = 0
    out_features: int = 0
    bias: bool = True


@dataclass(frozen=True)
class Prompts:
    """The prefixes that `encode_query` and `encode_document` add to a text; may be empty."""

    query: str = ""
    passage: str = ""

    def of(self, kind: Kind) -> str:
        """The prompt for texts of this kind."""
        return self.query if kind == "query" else self.passage


@dataclass(frozen=True)
class Limits:
    """How a text is truncated.

    Attributes:
        max_tokens: A text is truncated to this many tokens, including special tokens.
        positions: The number of positions of the model; None if it has no such limit.
        truncation_side: The side that is truncated: "right" drops the end of the text.
    """

    max_tokens: int
    positions: int | None
    truncation_side: Literal["right", "left"] = "right"


@dataclass(frozen=True)
class ModelFolder:
    """The contents of the JSON files of a sentence-transformers folder.

    Attributes:
        root: The folder.
        transformer: The folder of its transformer: `root`, or a folder in it.
        config: The transformer's config.json.
        head: The modules after pooling, in order.
        lower_case: Whether texts are lower-cased before they are tokenised.
        pad_id: Token id for padding.
        truncate_dim: Only this many of the first dimensions are used (Matryoshka). None: all of
            them are used.
        is_static: Whether, instead of a transformer, it has a table of token vectors, whose mean is
            a text's vector (StaticEmbedding, model2vec). `transformer` is then the table's folder,
            and special tokens are not added.
    """

    root: Path
    transformer: Path
    config: Mapping[str, Any]
    pooling: Pooling
    head: tuple[HeadModule, ...]
    prompts: Prompts
    limits: Limits
    lower_case: bool
    pad_id: int
    truncate_dim: int | None
    is_static: bool = False

    @property
    def model_type(self) -> str:
        """The name of the family in transformers: bert, xlm-roberta, qwen3, ..."""
        return str(self.config.get("model_type", ""))

    @property
    def has_dense(self) -> bool:
        """Whether vectors are not just pooled and normalised token vectors."""
        return any(module.kind != "Normalize" for module in self.head)

    @property
    def is_normalized(self) -> bool:
        """Whether sentence-transformers returns vectors of length 1."""
        return bool(self.head) and self.head[-1].kind == "Normalize" and self.truncate_dim is None


def read_model_folder(root: Path) -> ModelFolder:
    """Parse a sentence-transformers folder that was saved by version 2 to 6 of that library.

    Weights are not checked, because a server needs none except the ONNX file. See `weight_files`.

    Raises:
        UserError: it is not such a folder, is damaged, needs custom code, or needs a feature that
            is not supported. The message says which file is affected and what to do.
    """
    modules = _modules(root)
    if modules[0][0] == STATIC:
        return _static_folder(root, modules)
    transformer = _inside(root, modules[0][1], root / MODULES_NAME)
    config = read_json(transformer / CONFIG_NAME)
    refuse_code(root, transformer)
    if config.get("is_encoder_decoder"):
        raise UserError(
            f"{transformer / CONFIG_NAME}: {config.get('model_type')} is an encoder with a decoder; "
            "only encoders and decoders alone are supported. Choose another model."
        )
    limits = _about_transformer(transformer)
    prompts, truncate_dim = _about_sentences(root / PROMPTS_NAME)
    return ModelFolder(
        root=root,
        transformer=transformer,
        config=config,
        pooling=_pooling(_inside(root, modules[1][1], root / MODULES_NAME) / CONFIG_NAME),
        head=tuple(
            _head_module(kind, _inside(root, path, root / MODULES_NAME))
            for kind, path in modules[2:]
            if kind != "Dropout"  # has no effect outside training
        ),
        prompts=prompts,
        limits=_limits(config, limits, read_json(transformer / TOKENIZER_CONFIG_NAME, {})),
        lower_case=bool(limits.get("do_lower_case", False)),
        pad_id=int(config.get("pad_token_id") or 0),
        truncate_dim=truncate_dim,
    )


def weight_files(folder: ModelFolder) -> tuple[Path, ...]:
    """The safetensors files of the transformer: one file or several shards.

    Raises:
        UserError: the weights of the transformer or of a module after pooling are missing, or
            exist only as pickles.
    """
    for module in folder.head:
        if module.kind != "Normalize":
            _weights(module.path)
    return _weights(folder.transformer)


def refuse_code(*folders: Path) -> None:
    """Refuse folders whose JSON files name Python code to be run.

    Raises:
        UserError: a file names code. The message says which file it is, that code is never run,
            and which alternatives exist.
    """
    for folder in folders:
        for name in CODE_MAPS:
            if _names_code(about := read_json(folder / name, {})):
                family = str(read_json(folder / CONFIG_NAME, {}).get("model_type", ""))
                hint = NATIVE_ALTERNATIVES.get(family, "")
                if not hint and "jina" in json.dumps(about).lower():
                    hint = JINA_HINT
                raise UserError(
                    f"{folder / name}: `auto_map` names Python code that comes with the model. "
                    "Custom code is never run. Choose a model whose family transformers knows"
                    f"{f'; {hint}' if hint else ''}."
                )


def read_json(path: Path, default: dict[str, Any] | None = None) -> dict[str, Any]:
    """The JSON object in a file; `default`, if given, when the file does not exist.

    Raises:
        UserError: the file is missing or damaged, or does not contain an object.
    """
    if default is not None and not path.is_file():
        return default
    content = _read(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a JSON object. Copy the model folder again.")
    return content


def _read(path: Path) -> Any:
    if not path.is_file():
        raise UserError(
            f"{path}: missing. Is {path.parent} (part of) a whole sentence-transformers folder?"
        )
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: damaged ({error}). Copy the model folder again.") from error


def _names_code(content: Any) -> bool:
    """Whether the content has an `auto_map` at any depth."""
    if isinstance(content, dict):
        return bool(content.get("auto_map")) or any(map(_names_code, content.values()))
    return isinstance(content, list) and any(map(_names_code, content))


def read_modules(root: Path) -> list[dict[str, Any]]:
    """The entries of modules.json. All their classes are in `CLASSES`.

    Raises:
        UserError: the file is missing or damaged, or names another class.
    """
    path = root / MODULES_NAME
    if not path.is_file():
        raise UserError(
            f"{root}: no {MODULES_NAME}, so no sentence-transformers model. A folder of "
            "transformers lacks only the pooling, which its authors state: mean, cls or lasttoken. "
            f"Add it with: customir models convert {root} NEW --pooling mean"
        )
    entries = _read(path)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(f"{path}: not a list of modules. Copy the model folder again.")
    for entry in entries:
        named = str(entry.get("type"))
        if not named.startswith("sentence_transformers."):
            raise UserError(
                f"{path}: names the class {named}, which is not part of sentence-transformers. "
                "Custom code is never run. Choose a model without it."
            )
        if named not in CLASSES:
            raise UserError(
                f"{path}: the module {named} is not supported; Transformer, Pooling, Dense, "
                "LayerNorm, Normalize and StaticEmbedding are. Choose another model."
            )
    return entries


def _modules(root: Path) -> list[tuple[str, str]]:
    """Kind and subfolder of each module: a Transformer, a Pooling, and the modules after them."""
    found = [(CLASSES[entry["type"]], str(entry.get("path", ""))) for entry in read_modules(root)]
    kinds = [kind for kind, _ in found]
    if kinds[:1] == [STATIC] and set(kinds[1:]) <= {"Normalize", "Dropout"}:
        return found
    if kinds[:2] != ["Transformer", "Pooling"] or {"Transformer", "Pooling"} & set(kinds[2:]):
        raise UserError(
            f"{root / MODULES_NAME}: its modules are {', '.join(kinds) or 'none'}; needed are a "
            "Transformer, a Pooling, and after them Dense, LayerNorm or Normalize; or a "
            "StaticEmbedding and a Normalize. Choose another model."
        )
    return found


def _static_folder(root: Path, modules: list[tuple[str, str]]) -> ModelFolder:
    """A folder whose first module is a StaticEmbedding, as model2vec writes it, too."""
    table = _inside(root, modules[0][1], root / MODULES_NAME)
    refuse_code(root, table)
    cutting = read_json(table / TOKENIZER_NAME).get("truncation") or {}
    prompts, truncate_dim = _about_sentences(root / PROMPTS_NAME)
    return ModelFolder(
        root=root,
        transformer=table,
        config={},
        pooling=Pooling(("mean",)),
        head=tuple(
            HeadModule("Normalize", root / path) for kind, path in modules if kind == "Normalize"
        ),
        prompts=prompts,
        limits=Limits(
            max_tokens=int(cutting.get("max_length", NO_LIMIT)),
            positions=None,
            truncation_side="left" if cutting.get("direction") == "Left" else "right",
        ),
        lower_case=False,
        pad_id=0,
        truncate_dim=truncate_dim,
        is_static=True,
    )


def refuse_static(folder: ModelFolder) -> None:
    """Refuse to adapt a model that has no layers.

    Raises:
        UserError: the folder has a table of token vectors. The message says how to search with it.
    """
    if folder.is_static:
        raise UserError(
            f"{folder.root}: a StaticEmbedding is a table of token vectors and has no layers that "
            "could be adapted. Choose a transformer, or search with this model as it is: "
            f"customir index SOURCE --out DIR --embedder {folder.root}"
        )


def _inside(root: Path, path: str, stated_in: Path) -> Path:
    """A module's folder, which must be inside the model's folder."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts:
        raise UserError(f"{stated_in}: the path {path!r} leads out of the model folder.")
    return root / path


def _weights(folder: Path) -> tuple[Path, ...]:
    if (folder / WEIGHTS_NAME).is_file():
        return (folder / WEIGHTS_NAME,)
    index = folder / WEIGHTS_INDEX_NAME
    if index.is_file():
        named = read_json(index).get("weight_map")
        if not isinstance(named, dict) or not named:
            raise UserError(f"{index}: damaged (no weight_map). Copy the model folder again.")
        shards = tuple(_inside(folder, str(name), index) for name in sorted(set(named.values())))
        for shard in shards:
            if not shard.is_file() or shard.suffix != ".safetensors":
                raise UserError(f"{shard}: missing, but {index} names it. Copy the folder again.")
        return shards
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if pickles:
        raise UserError(
            f"{folder}: its weights are only in {pickles[0]}, a pickle, which can run code when it "
            f"is loaded. Convert it in that folder, which runs no code: {CONVERT_PICKLE}"
        )
    raise UserError(
        f"{folder}: no weights in it ({WEIGHTS_NAME} is missing). Copy the folder again."
    )


def _pooling(path: Path) -> Pooling:
    about = read_json(path)
    if not about.get("include_prompt", True):
        raise UserError(f"{path}: include_prompt = false is not supported. Choose another model.")
    stated = about.get("pooling_mode")
    if stated is None:
        stated = [mode for flag, mode in POOLING_FLAGS.items() if about.get(flag)] or ["mean"]
    modes = [stated] if isinstance(stated, str) else list(stated)
    if unknown := [mode for mode in modes if mode not in get_args(PoolingMode)]:
        raise UserError(
            f"{path}: unknown pooling mode {unknown[0]!r}. Known: "
            f"{', '.join(get_args(PoolingMode))}. Choose another model."
        )
    return Pooling(tuple(cast(PoolingMode, mode) for mode in modes))


def _head_module(kind: str, path: Path) -> HeadModule:
    if kind == "Normalize":
        return HeadModule("Normalize", path)
    about = read_json(path / CONFIG_NAME)
    try:
        if kind == "LayerNorm":
            width = int(about["dimension"])
            return HeadModule("LayerNorm", path, in_features=width, out_features=width)
        return _dense(about, path)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path / CONFIG_NAME}: damaged ({error!r}). Copy it again.") from error


def _dense(about: Mapping[str, Any], path: Path) -> HeadModule:
    stated = str(about.get("activation_function", "torch.nn.modules.activation.Tanh"))
    module, _, activation = stated.rpartition(".")
    is_torch = module == "torch.nn" or module.startswith("torch.nn.modules.")
    if not is_torch or activation not in ACTIVATIONS:
        raise UserError(
            f"{path / CONFIG_NAME}: the activation {stated} is not supported; "
            f"{', '.join(ACTIVATIONS)} of torch.nn are. Choose another model."
        )
    names = {about.get("module_input_name") or "sentence_embedding"}
    names.add(about.get("module_output_name") or "sentence_embedding")
    if names != {"sentence_embedding"} or about.get("use_residual"):
        raise UserError(
            f"{path / CONFIG_NAME}: a Dense that works on tokens or adds its input is not "
            "supported. Choose another model."
        )
    return HeadModule(
        "Dense",
        path,
        activation,
        int(about["in_features"]),
        int(about["out_features"]),
        bool(about.get("bias", True)),
    )


def _about_transformer(folder: Path) -> dict[str, Any]:
    """sentence_bert_config.json, or the file that older versions named after the family."""
    named = [folder / LIMITS_NAME, *sorted(folder.glob("sentence_*_config.json"))]
    path = next((path for path in named if path.is_file()), folder / LIMITS_NAME)
    about = read_json(path, {})
    for key in ARGUMENT_KEYS:
        if unknown := set(about.get(key) or {}) - set(HARMLESS_ARGUMENTS):
            raise UserError(
                f"{path}: {key} gives {', '.join(sorted(unknown))}, which is not supported. "
                "Choose another model."
            )
    task = about.get("transformer_task") or "feature-extraction"
    output = about.get("module_output_name") or "token_embeddings"
    if task != "feature-extraction" or output != "token_embeddings":
        raise UserError(f"{path}: the task {task} giving {output} is not supported.")
    return about


def _about_sentences(path: Path) -> tuple[Prompts, int | None]:
    """The prompts, and the number of dimensions that are used.

    In sentence-transformers, `encode_query` uses the prompt named "query", and `encode_document`
    uses the one named "document". Since version 5 both names always exist and are empty if the
    folder does not set them. Therefore "passage", "corpus" and the default prompt are not used.
    """
    about = read_json(path, {})
    kind = about.get("model_type") or "SentenceTransformer"
    if kind != "SentenceTransformer":
        raise UserError(f"{path}: a {kind}, which gives no dense vectors. Choose another model.")
    prompts = about.get("prompts") or {}
    truncate_dim = about.get("truncate_dim")
    return (
        Prompts(str(prompts.get("query") or ""), str(prompts.get("document") or "")),
        None if truncate_dim is None else int(truncate_dim),
    )


def _limits(
    config: Mapping[str, Any], about: Mapping[str, Any], tokenizer: Mapping[str, Any]
) -> Limits:
    """The longest text in tokens: the folder's limit, but at most the number of positions."""
    stated = config.get("max_position_embeddings", config.get("n_positions"))
    positions = int(stated) if isinstance(stated, int) and stated > 0 else None
    if positions is not None and config.get("model_type") in OFFSET_POSITIONS:
        positions -= 2
    found: list[int] = [] if positions is None else [positions]
    arguments = {**(about.get("tokenizer_args") or {}), **(about.get("processor_kwargs") or {})}
    wanted = about.get("max_seq_length") or arguments.get("model_max_length")
    if not wanted:
        wanted = tokenizer.get("model_max_length") or NO_LIMIT
    if wanted < NO_LIMIT:
        found.append(int(wanted))
    side = tokenizer.get("truncation_side", "right")
    return Limits(
        max_tokens=min(found, default=DEFAULT_POSITIONS),
        positions=positions,
        truncation_side="left" if side == "left" else "right",
    )
