"""A GGUF model in memory: loading, tokens and text."""

import ctypes
from pathlib import Path

import llama_cpp

from customir.errors import UserError

_log_lines: list[str] = []
LOG_LINES_KEPT = 20
TOKEN_PIECE_BYTES = 256
FRAME_BYTES = 4096
CONTENT = "[the message]"
WITHOUT_AMX = (
    'F="-U__AMX_TILE__ -U__AMX_INT8__ -U__AMX_BF16__"; CFLAGS=$F CXXFLAGS=$F '
    "pip install --no-cache-dir --force-reinstall --no-deps llama-cpp-python"
)


@llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
def _keep_log(level: int, text: bytes, user_data: ctypes.c_void_p) -> None:
    """Keep only the last lines of llama.cpp's verbose log, for error messages."""
    _log_lines.append(text.decode("utf-8", "replace").strip())
    del _log_lines[:-LOG_LINES_KEPT]


def keep_log() -> None:
    """Redirect llama.cpp's log from the terminal to the buffer that `last_log` reads."""
    llama_cpp.llama_log_set(_keep_log, ctypes.c_void_p())


def last_log() -> str:
    """The last lines that llama.cpp logged, for an error message."""
    return " / ".join(line for line in _log_lines[-4:] if line)


class Gguf:
    """A loaded GGUF file.

    Args:
        path: The file.
        use_gpu: Offload every layer; allowed only if `gpu_is_there()`.

    Raises:
        UserError: llama.cpp cannot load the file, or it is a model that does not generate text (an
            embedding model).
    """

    def __init__(self, path: Path, *, use_gpu: bool) -> None:
        keep_log()
        llama_cpp.llama_backend_init()
        if uses_amx():
            raise UserError(
                "this llama-cpp-python was built with AMX, which it cannot share with torch in one "
                f"process. Build it without: {WITHOUT_AMX}"
            )
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = -1 if use_gpu else 0
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        if not self.model:
            raise UserError(
                f"{path}: llama.cpp cannot load it ({last_log()}). "
                "Verify it with `customir models verify`, or fetch it again."
            )
        if not llama_cpp.llama_model_has_decoder(self.model) or self._is_embedder():
            self.close()
            raise UserError(
                f"{path}: an embedding model; it can't write. Give a text LLM as --llm."
            )
        self.vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        self.vocabulary_size = int(llama_cpp.llama_vocab_n_tokens(self.vocabulary))
        self.longest_context = int(llama_cpp.llama_model_n_ctx_train(self.model))

    @property
    def cell_bytes(self) -> int:
        """Bytes of one token's keys and values in float16."""
        heads = int(llama_cpp.llama_model_n_head(self.model))
        width = int(llama_cpp.llama_model_n_embd(self.model)) // max(1, heads)
        layers = int(llama_cpp.llama_model_n_layer(self.model))
        return 2 * 2 * layers * int(llama_cpp.llama_model_n_head_kv(self.model)) * width

    def _is_embedder(self) -> bool:
        """Whether the file says that attention is not causal (BERT and related models)."""
        architecture = self.metadata("general.architecture")
        return self.metadata(f"{architecture}.attention.causal") == "false"

    def metadata(self, name: str) -> str:
        """A metadata value as text; empty if it is missing."""
        buffer = ctypes.create_string_buffer(1024)
        length = llama_cpp.llama_model_meta_val_str(self.model, name.encode(), buffer, 1024)
        return buffer.value.decode("utf-8", "replace") if length >= 0 else ""

    def close(self) -> None:
        """Free the model's memory."""
        if self.model:
            llama_cpp.llama_model_free(self.model)
            self.model = None

    def chat_frame(self) -> tuple[str, str] | None:
        """The chat template's text before and after a user's message.

        The second part ends where the assistant's answer begins. The result is None if the model
        has no chat template or llama.cpp does not know it.
        """
        template = llama_cpp.llama_model_chat_template(self.model, None)
        if not template:
            return None
        message = llama_cpp.llama_chat_message(role=b"user", content=CONTENT.encode())
        buffer = ctypes.create_string_buffer(FRAME_BYTES)
        length = llama_cpp.llama_chat_apply_template(
            template, ctypes.byref(message), 1, True, buffer, FRAME_BYTES
        )
        if not 0 < length < FRAME_BYTES:
            return None
        before, found, after = buffer.raw[:length].decode("utf-8", "replace").partition(CONTENT)
        return (before, after) if found else None

    def tokens(self, text: str, *, first: bool = False, special: bool = False) -> list[int]:
        """The token ids of `text`.

        Args:
            first: Prepend BOS if the model expects it.
            special: Parse "<|im_end|>" and the like as special tokens. This must never be set for
                text from mail, which anybody may have written; there they are plain characters.
        """
        data = text.encode("utf-8", "surrogatepass")
        room = len(data) + 8
        while True:
            buffer = (llama_cpp.llama_token * room)()
            count = llama_cpp.llama_tokenize(
                self.vocabulary, data, len(data), buffer, room, first, special
            )
            if count >= 0:
                return list(buffer[:count])
            # A tokenizer that adds tokens for spaces may need more tokens than the text has bytes.
            room = -count

    def piece(self, token: int) -> bytes:
        """The bytes of a token (a character may span several tokens)."""
        buffer = ctypes.create_string_buffer(TOKEN_PIECE_BYTES)
        length = llama_cpp.llama_token_to_piece(
            self.vocabulary, token, buffer, TOKEN_PIECE_BYTES, 0, False
        )
        return buffer.raw[: max(length, 0)]

    def is_end(self, token: int) -> bool:
        """Whether the model ends its answer with this token."""
        return bool(llama_cpp.llama_vocab_is_eog(self.vocabulary, token))


def uses_amx() -> bool:
    """Whether this llama.cpp was built with AMX.

    llama.cpp configures the AMX tiles of a thread once and relies on that from then on. torch
    configures and releases them in the same thread. After that, llama.cpp's next matrix product is
    wrong or ends the process.
    """
    return b"AMX_INT8 = 1" in llama_cpp.llama_print_system_info()


def gpu_is_there() -> bool:
    """Whether this llama.cpp was built with a GPU backend."""
    return bool(llama_cpp.llama_supports_gpu_offload())
