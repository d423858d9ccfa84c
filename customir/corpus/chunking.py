"""Cuts a document's text into passages that fit the embedder."""

import bisect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import sub
from pathlib import Path

from tokenizers import Encoding, Tokenizer

from customir.errors import UserError

# Text is tokenized in slabs of this size, so that memory is limited for a huge document.
SLAB_CHARACTERS = 1 << 16
SLABS_AT_ONCE = 256
# A token that covers more characters counts as several. A WordPiece tokenizer turns a long word
# into one [UNK], so a passage could otherwise hold a megabyte.
TOKEN_CHARACTERS = 32

# Where to cut, best first. Each pattern matches the separator between two passages.
BREAKS = (
    re.compile(r"\n\s*\n"),  # paragraphs
    re.compile(r"(?<=[.!?…。！？])[\"')\]]*\s+"),  # sentences
    re.compile(r"\n"),  # lines
    re.compile(r"\s+"),  # words
)
Breaks = tuple[re.Pattern[str], ...]
# A piece cut at white space has at most this many tokens more than it has within its text.
SPARE_TOKENS = 4


@dataclass(frozen=True)
class _Piece:
    """A passage, and whether its tokens must be counted to check that it is short enough."""

    text: str
    doubtful: bool


class Chunker:
    """Cuts texts at paragraphs, else at sentences, lines or words, else anywhere.

    Args:
        tokenizer_file: The embedder's tokenizer.json.
        passage_tokens: The maximum length of a passage in tokens, without special tokens.
        overlap_tokens: At most this many tokens of a passage are repeated in the next, in whole
            words.

    Raises:
        UserError: the file is not a tokenizer, or the overlap is more than half a passage.
    """

    def __init__(self, tokenizer_file: Path, passage_tokens: int, overlap_tokens: int) -> None:
        if overlap_tokens * 2 > passage_tokens:
            raise UserError(
                f"corpus.overlap_tokens is {overlap_tokens}: at most half of "
                f"corpus.passage_tokens ({passage_tokens}) may be repeated. Lower it."
            )
        try:
            self._tokenizer = Tokenizer.from_file(str(tokenizer_file))
        except Exception as error:  # the library raises a bare Exception
            raise UserError(
                f"{tokenizer_file}: not a tokenizer.json ({error}). Give a sentence-transformers "
                "folder that holds one."
            ) from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._passage_tokens = passage_tokens
        self._overlap_tokens = overlap_tokens

    def cut(self, texts: Sequence[str], turns: Sequence[bool] = ()) -> list[list[str]]:
        """The passages of each text, in order; none for a blank text.

        Args:
            turns: For each text, whether its paragraphs are turns of a chat. In a chat, a passage
                repeats only whole paragraphs of the previous one, so that it begins with a name.

        Every character that is not white space is in at least one passage. Each passage, tokenized
        alone, has at most `passage_tokens` tokens.
        """
        texts = [text.strip() for text in texts]
        starts = self._token_starts(texts)
        breaks = [BREAKS[:1] if turn else BREAKS for turn in turns or [False] * len(texts)]
        cuts = [
            self._pieces(*each, exact=False) for each in zip(texts, starts, breaks, strict=True)
        ]
        # Without its context, a text can have more tokens: "##ing" becomes "ing". That is so rare
        # that all pieces are checked afterwards, at once.
        doubtful = [
            (at, piece.text) for at, pieces in enumerate(cuts) for piece in pieces if piece.doubtful
        ]
        sizes = self._encoded(text for _, text in doubtful)
        long = {
            at
            for (at, _), encoded in zip(doubtful, sizes, strict=True)
            if len(encoded.ids) > self._passage_tokens
        }
        for at in long:
            cuts[at] = self._pieces(texts[at], starts[at], breaks[at], exact=True)
        return [[piece.text for piece in pieces] for pieces in cuts]

    def _encoded(self, texts: Iterator[str]) -> Iterator[Encoding]:
        while batch := list(islice(texts, SLABS_AT_ONCE)):
            yield from self._tokenizer.encode_batch(batch, add_special_tokens=False)

    def _pieces(self, text: str, starts: list[int], breaks: Breaks, *, exact: bool) -> list[_Piece]:
        if len(starts) <= self._passage_tokens:
            return [_Piece(text, doubtful=False)] if text else []
        pieces: list[_Piece] = []
        begin = done = 0
        while done < len(text):
            end = self._end(text, starts, begin, exact=exact)
            if end <= done:  # the overlap left no room for anything new
                begin = done
                continue
            if piece := text[begin:end].strip():
                tokens = bisect.bisect_left(starts, end) - bisect.bisect_left(starts, begin)
                full = tokens > self._passage_tokens - SPARE_TOKENS
                inside_word = not (_is_gap(text, begin) and _is_gap(text, end))
                pieces.append(_Piece(piece, doubtful=full or inside_word))
            done = end
            begin = self._next_begin(text, starts, begin, end, breaks)
        return pieces

    def _token_starts(self, texts: Sequence[str]) -> list[list[int]]:
        """The position of every token's first character. Long tokens and gaps count as several."""
        slabs = [(at, *ends) for at, text in enumerate(texts) for ends in _slabs(text)]
        encoded = self._encoded(texts[at][begin:end] for at, begin, end in slabs)
        starts: list[list[int]] = [[] for _ in texts]
        for (at, begin, _), encoding in zip(slabs, encoded, strict=True):
            own = [start for start, _ in encoding.offsets]
            starts[at] += [begin + start for start in own] if begin else own
        return [_filled(own, len(text)) for own, text in zip(starts, texts, strict=True)]

    def _end(self, text: str, starts: list[int], begin: int, *, exact: bool) -> int:
        """The end of the passage that begins at `begin`. If `exact`, its tokens are counted."""
        first = bisect.bisect_left(starts, begin)
        budget = self._passage_tokens
        while True:
            last = first + budget
            if last >= len(starts):
                end = len(text)
            else:
                middle = max(starts[first + budget // 2], begin + 1)
                end = _best_break(text, middle, starts[last])
            if not exact or budget == 1:
                return max(end, begin + 1)
            piece = self._tokenizer.encode(text[begin:end].strip(), add_special_tokens=False)
            excess = len(piece.ids) - self._passage_tokens
            if excess <= 0:
                return max(end, begin + 1)
            budget = max(budget - excess, 1)

    def _next_begin(
        self, text: str, starts: list[int], begin: int, end: int, breaks: Breaks
    ) -> int:
        """The start of the next passage: at a break, up to `overlap_tokens` before `end`."""
        if not self._overlap_tokens:
            return end
        at = bisect.bisect_left(starts, end) - self._overlap_tokens
        earliest = max(starts[max(at, 0)], begin + 1)
        for pattern in breaks:
            found = pattern.search(text, earliest, end)
            if found and found.end() < end:
                return found.end()
        return end


def _is_gap(text: str, at: int) -> bool:
    """Whether no word crosses position `at`."""
    return at == 0 or at >= len(text) or text[at].isspace() or text[at - 1].isspace()


def _slabs(text: str) -> Iterator[tuple[int, int]]:
    """Begin and end of pieces of at most SLAB_CHARACTERS, cut at white space if possible."""
    at = 0
    while at < len(text):
        end = min(at + SLAB_CHARACTERS, len(text))
        if end < len(text):
            gap = max(text.rfind(" ", at, end), text.rfind("\n", at, end))
            end = gap + 1 if gap > at else end
        yield at, end
        at = end


def _filled(starts: list[int], length: int) -> list[int]:
    """`starts` with the first set to 0, and with more starts where two are far apart."""
    begins, ends = [0, *starts[1:]], [*starts[1:], length]
    if max(map(sub, ends, begins)) <= TOKEN_CHARACTERS:  # as in nearly every text
        return begins
    filled: list[int] = []
    for start, following in zip(begins, ends, strict=True):
        filled.append(start)
        if following - start > TOKEN_CHARACTERS:
            filled.extend(range(start + TOKEN_CHARACTERS, following, TOKEN_CHARACTERS))
    return filled


def _best_break(text: str, earliest: int, limit: int) -> int:
    """The end of the last break of the best kind in `earliest`..`limit`; `limit` if none."""
    for pattern in BREAKS:
        ends = [found.end() for found in pattern.finditer(text, earliest, limit)]
        if ends:
            return ends[-1]
    return limit
