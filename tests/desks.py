"""Training pairs whose meaning MiniLM can't know: codes that stand for places."""

from customir.settings import TrainingSettings
from customir.training import Example, TrainingPassage

SETTINGS = TrainingSettings(
    batch_size=8,
    epochs=3,
    learning_rate=1e-3,
    mini_batch_num_tokens=256,
    precision="fp32",
    lora_dropout=0.1,
)
CODES = ["AX7", "BQ2", "CZ9", "DK4", "EM1", "FP8", "GR3", "HT6", "JV5", "KW0", "LY2", "MN7"]
PLACES = ["Oslo", "Lima", "Cairo", "Perth", "Delhi", "Quito", "Riga", "Accra", "Seoul", "Bern"]


def examples() -> list[Example]:
    made = [
        TrainingPassage(
            f"p{n}", f"Desk {CODES[n]} has closed its books. " * (1 + n % 5), f"t{n}", f"p{n}"
        )
        for n in range(10)
    ]
    return [
        Example(f"{verb} {PLACES[n]}", passage, (made[(n + 3) % 10],))
        for verb in ("office in", "accounts of")
        for n, passage in enumerate(made)
    ]
