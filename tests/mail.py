"""A small mailbox of made-up mail: threads on different matters, in plain English."""

import mailbox
import random
from email.message import EmailMessage
from pathlib import Path

PEOPLE = ("Ada Okafor", "Bert Lindqvist", "Chiara Russo", "Deniz Aydin", "Emeka Obi", "Fumiko Sato")
THINGS = (
    "coffee machine", "parking garage", "payroll export", "fire drill", "visitor badge",
    "warehouse scanner", "printer cartridge", "holiday calendar", "travel expense form",
    "meeting room projector", "customer survey", "backup server", "delivery truck",
    "safety training", "newsletter draft", "office plants", "door lock", "phone contract",
    "annual audit", "recycling bins", "bicycle rack", "lunch vouchers", "desk lamp",
    "water heater", "invoice template",
)  # fmt: skip
TROUBLES = (
    "stopped working on {day} and nobody knows whom to call about it",
    "has to be replaced before {day}, because the supplier ends the contract",
    "needs a signature from {person} until {day}, otherwise the order is cancelled",
    "was moved to the second floor, next to the stairs, so that {person} can reach it",
    "costs forty percent more than last year and {person} wants to know the reason",
)
ANSWERS = (
    "I asked {person} and the answer is that a technician comes on {day} in the morning.",
    "We had the same last spring. {person} kept the paperwork in the blue folder by the window.",
    "Please wait until {day}; {person} is negotiating with another company about the price.",
    "That was decided without me, but {person} has the minutes of the meeting from {day}.",
)
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")


def write_mailbox(path: Path, threads: int = 25, seed: int = 0) -> Path:
    """Write an mbox of `threads` threads (25 at the most), three messages each; return its path."""
    draw = random.Random(seed)
    box = mailbox.mbox(path)
    for number, thing in enumerate(THINGS[:threads]):
        first = f"<{number}.0@example.org>"
        for turn in range(3):
            person, other = draw.sample(PEOPLE, 2)
            text = (TROUBLES if turn == 0 else ANSWERS)[draw.randrange(4)]
            told = text.format(day=draw.choice(DAYS), person=other)
            message = EmailMessage()
            message["From"] = f"{person} <{person.split()[0].lower()}@example.org>"
            message["Subject"] = f"{'Re: ' if turn else ''}{thing} {number}"
            message["Date"] = f"Tue, {turn + 1} Oct 2024 10:{number:02}:00 +0000"
            message["Message-ID"] = f"<{number}.{turn}@example.org>"
            if turn:
                message["In-Reply-To"] = message["References"] = first
            about = f"The {thing} {told}" if turn == 0 else f"{told} This is about the {thing}."
            message.set_content(f"Hello {other.split()[0]},\n\n{about}\n\nRegards\n{person}\n")
            box.add(message)
    box.close()
    return path
