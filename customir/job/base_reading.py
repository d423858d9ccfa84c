"""Whether the base reads the languages of the corpus, said before hours of work."""

from collections import Counter
from collections.abc import Sequence

from tokenizers import Tokenizer  # type: ignore[import-untyped]

from customir.encoder.readability import is_readable, read_with
from customir.job import Job, StageSummary
from customir.job.base_encoder import base_tokenizer_file
from customir.text.language import language_of

LOOKED_AT = 500  # passages
# Of the passages: from this share on that the base cannot read, another base is advised.
UNREADABLE_SHARE = 0.1
# An English vocabulary has 3 or more characters per token of English, and 2.0 to 2.5 of other
# languages in Latin script (docs/results/languages.md).
FEW_CHARACTERS = 2.6
ADVICE = (
    "Take a multilingual base, for example --embedder multilingual-e5-small, the folder of such a "
    "model: docs/how-to/languages.md."
)


def base_reading(job: Job, texts: Sequence[str]) -> StageSummary:
    """How the base's tokenizer reads a sample of the passages; says what to do if it does not.

    Returns:
        `languages`: the share of the sample in each; empty code: unknown. `unknown`: the share of
        unknown tokens. `characters`: characters per token. `unreadable`: the share of passages that
        the base cannot read. `advice`: a sentence for the user, or "" if the base fits.
    """
    tokenizer = Tokenizer.from_file(str(base_tokenizer_file(job)))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    found = read_with(tokenizer, texts)
    unreadable = [text for text in texts if not is_readable(tokenizer, text)]
    count = max(1, len(texts))
    languages = Counter(map(language_of, texts))
    summary: StageSummary = {
        "languages": {code: number / count for code, number in languages.most_common()},
        "unknown": found.unknown_share,
        "characters": found.characters_per_token,
        "unreadable": len(unreadable) / count,
    }
    advice = _advice(job.settings.embedder, summary, unreadable)
    if advice:
        job.reporter.say(f"  {advice}")
    return {**summary, "advice": advice}


def _advice(base: str, summary: StageSummary, unreadable: Sequence[str]) -> str:
    figures = (
        f"{summary['unknown']:.0%} of the tokens are unknown to it, and a token has "
        f"{summary['characters']:.1f} characters"
    )
    if summary["unreadable"] >= UNREADABLE_SHARE:
        spoken = Counter(filter(None, map(language_of, unreadable))).most_common(3)
        which = f" ({', '.join(code for code, _ in spoken)})" if spoken else ""
        return (
            f"The base {base} cannot read {summary['unreadable']:.0%} of the passages{which}: {figures}. "
            f"Search finds these by their words only. {ADVICE}"
        )
    main = next(iter(summary["languages"]), "")
    if main not in ("", "en") and summary["characters"] < FEW_CHARACTERS:
        return (
            f"The base {base} splits the main language of the corpus ({main}) into short pieces: {figures}. "
            f"It was probably made for another language. {ADVICE}"
        )
    return ""
