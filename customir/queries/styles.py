"""The styles of the LLM's queries, and the examples in its prompt."""

from dataclasses import dataclass

from customir.llm import Prompt


@dataclass(frozen=True)
class Style:
    """A kind of query. Its prompt ends with `cue`."""

    name: str
    cue: str


STYLES = (
    Style("keywords", "Keywords:"),
    Style("question", "Question:"),
    Style("need", "Looking for:"),
    Style("summary", "Summary:"),
    Style("attribute", "Who, when, which:"),
)


@dataclass(frozen=True)
class Example:
    """A passage and, for each style, a query that somebody might type to find it."""

    passage: str
    keywords: str
    question: str
    need: str
    summary: str
    attribute: str


EXAMPLES = (
    Example(
        "Supplier audit Rotterdam\nHi Marta, the auditors moved the visit to the 14th because "
        "the cold store is being defrosted that week. Please tell the forwarder that pallets "
        "from the late shift wait until Monday, and book two rooms at the hotel near the port.",
        "auditor visit rescheduled cold store",
        "Why was the supplier inspection put off?",
        "arrangements for the postponed inspection in the harbour town",
        "Audit moved to the 14th, late pallets held back",
        "which mail has Marta reserve rooms for the inspectors",
    ),
    Example(
        "Re: nightly backup fails\nThe job dies after about six hours with a broken pipe. I "
        "raised ServerAliveInterval on the client and split the archive into 2 GB parts; since "
        "then three runs went through. The old script is still in cron on the test box.",
        "ssh keepalive long running backup",
        "How do I stop the nightly backup from being cut off?",
        "a fix for a backup job that loses its connection",
        "Backup works again after keepalive and smaller archives",
        "who made the archive smaller so that runs finish",
    ),
    Example(
        "Anyone going to the reading group on Thursday? We do the chapter about queues. I can "
        "bring the projector but somebody else has to get the key for the seminar room, since "
        "Paul is on holiday until the end of the month.",
        "reading group room key projector",
        "Who takes care of the seminar room while Paul is away?",
        "plans for this week's study meeting",
        "Thursday reading group on queues needs a key holder",
        "when Paul is back from his holiday",
    ),
    Example(
        "Parental leave, part two\nYou may split the leave into at most three parts, and the last "
        "must begin before the child's eighth birthday. HR needs the form seven weeks ahead. "
        "Part-time work of up to 32 hours a week is possible while you are on leave.",
        "splitting parental leave deadline form",
        "How long before should I hand in the request for time off with my child?",
        "whether one may work some hours during family leave",
        "Rules for dividing parental leave and working part-time",
        "the page that says when HR has to have the form",
    ),
    Example(
        "Invoice 4471\nDear Mr Osei, we were charged twice for the March licences, once by card "
        "and once by transfer. Could you refund the second payment and send a corrected invoice "
        "with our new VAT number? Our bookkeeping closes on Friday.",
        "double charge March licence refund",
        "Which payment does the customer want back?",
        "the complaint from a customer who was billed two times",
        "Customer asks for a refund and a corrected invoice",
        "the letter to Mr Osei about the VAT number",
    ),
    Example(
        "The sensor drifts when the housing warms up: 0.4 bar over two hours in the oven test. "
        "Potting the board changed nothing. Replacing the reference resistor with a low-tempco "
        "part brought it down to 0.05 bar, so that goes into revision C.",
        "pressure sensor temperature drift resistor",
        "What cured the drift of the gauge when it gets hot?",
        "how the engineers made the reading stable in the heat",
        "Low-tempco resistor fixes pressure drift for revision C",
        "which revision has the new resistor",
    ),
)

INSTRUCTION = (
    "People search a private archive. For each passage, write what somebody who needs it but does "
    "not remember its words would type.\n\n"
)
EXAMPLES_PER_PROMPT = 3
# They rotate, so that no example influences all queries.
ROTATIONS = tuple(
    tuple(EXAMPLES[(start + step) % len(EXAMPLES)] for step in range(EXAMPLES_PER_PROMPT))
    for start in range(len(EXAMPLES))
)


def query_prompt(passage: str, style: Style, rotation: int) -> Prompt:
    """The prompt for one query in `style`.

    Args:
        passage: Title and text; must fit the context.
        rotation: Selects the examples that precede it, 0 <= rotation < len(ROTATIONS).
    """
    return Prompt(
        shared=INSTRUCTION + "".join(map(_example_text, ROTATIONS[rotation])),
        branch=f"Passage: {passage}\n",
        leaf=style.cue,
    )


def _example_text(example: Example) -> str:
    lines = [f"Passage: {example.passage}"]
    lines += [f"{style.cue} {getattr(example, style.name)}" for style in STYLES]
    return "\n".join(lines) + "\n\n"


def shown_queries(rotation: int) -> list[str]:
    """The example queries in prompts of this rotation."""
    return [getattr(example, style.name) for example in ROTATIONS[rotation] for style in STYLES]
