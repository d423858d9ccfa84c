"""DIR/report.html: the report to look at. One file, without a script or anything from elsewhere."""

from collections.abc import Sequence
from dataclasses import astuple
from html import escape
from pathlib import Path
from typing import Any

from customir.evaluation.metrics import CURVE_DEPTHS, METRICS
from customir.evaluation.significance import Difference
from customir.files import write_atomically
from customir.report.markdown import (
    COMPARED,
    chosen_by,
    difference_text,
    pairs_line,
    sampled_from,
    stage_detail,
    verdict_line,
)
from customir.report.plots import (
    Interval,
    Series,
    bars,
    colour_class,
    intervals,
    lines,
    scatter,
)
from customir.settings import Settings
from customir.workspace import Workspace
from customir.workspace.documents import count_skipped, read_skipped

PAGE_NAME = "report.html"
# Of each system's line; hybrids are dashed in the colour of their half.
COLOUR = {"adapted": 0, "base": 7, "BM25": 1, "adapted INT8": 2, "base INT8": 2}
OTHER_COLOUR = 4
SKIPPED_SHOWN = 200

StageSummary = dict[str, Any]


def write_page(workspace: Workspace, settings: Settings) -> Path:
    """Write DIR/report.html from the workspace's rows; return its path."""
    path = workspace.folder / PAGE_NAME
    write_atomically(path, page_text(workspace, settings).encode())
    return path


def page_text(workspace: Workspace, settings: Settings) -> str:
    """The report as HTML. Stages that have not run are left out. All text of the corpus is escaped."""
    detail = {
        name: stage_detail(workspace, name)
        for name in ("ingest", "generate", "mine", "train", "evaluate", "export", "index")
    }
    evaluated, exported = detail["evaluate"], detail["export"]
    body = "".join(
        [
            _head(evaluated),
            _systems(evaluated, exported, settings),
            _gains(evaluated),
            _examples(evaluated),
            _corpus(detail["ingest"], detail["generate"], settings),
            _queries(detail["generate"]),
            _judge(detail["mine"]),
            _training(detail["train"]),
            _costs(workspace, exported, detail["index"]),
            _skipped(workspace),
        ]
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>CustomIR report</title><style>{CSS}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _head(evaluated: StageSummary) -> str:
    if not evaluated:
        return "<header><h1>CustomIR report</h1><p>Not evaluated yet.</p></header>"
    css = "ships" if evaluated["weight"] else "stays"
    verdict = verdict_line(evaluated)
    what, _, why = verdict.partition(". ")
    rows = {row["system"]: row for row in evaluated["table"]}
    tiles = ""
    if "adapted" in rows:
        tiles = "".join(
            f"<li><b>{_points(rows['base'][name])} → {_points(rows['adapted'][name])}</b>"
            f"<span>{escape(name)}, base → adapted</span></li>"
            for name in METRICS
        )
        tiles = f'<ul class="tiles">{tiles}</ul>'
    return (
        f'<header class="{css}"><h1>{escape(what)}</h1><p>{escape(why)}</p>{tiles}'
        f"<p class=note>On {evaluated['queries']} test queries that the LLM wrote, about "
        f"{evaluated['threads']} threads that were never trained on.</p>"
        "</header>"
    )


def _systems(evaluated: StageSummary, exported: StageSummary, settings: Settings) -> str:
    rows = [*evaluated.get("table", []), *exported.get("table", [])]
    if not rows:
        return ""
    percent = round(100 * settings.evaluation.confidence)
    pairs = evaluated["self_supervised"]["table"] if evaluated else []
    differences = [
        Interval(row["system"], *row[f"{COMPARED[0]} difference"][:3])
        for row in rows
        if f"{COMPARED[0]} difference" in row
    ]
    series = [
        Series(
            row["system"],
            [(float(k), row["curve"][k]) for k in map(str, CURVE_DEPTHS) if k in row["curve"]],
            _colour(row["system"]),
            dashed=row["system"].startswith("hybrid"),
        )
        for row in rows
        if row.get("curve") and not row["system"].startswith("RRF")
    ]
    curve = lines(
        "Recall@k", series, "k", "Recall@k", log_x=True, x_ticks=CURVE_DEPTHS
    )  # fmt: skip
    return _section(
        "Every system",
        _card("", _metrics(rows), f"Below each figure: the difference to the base with its {percent}% interval "
              "(paired bootstrap over threads), and p of a randomisation test.", wide=True)
        + (_card("", _metrics(pairs), f"{pairs_line(evaluated)}.", wide=True) if pairs else "")
        + _card(f"{COMPARED[0]} against base", intervals(f"{COMPARED[0]} against base", differences))
        + _card("Recall@k", curve),
    )  # fmt: skip


def _metrics(rows: Sequence[StageSummary]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in METRICS)
    body = "".join(
        f"<tr><th>{escape(row['system'])}</th>"
        + "".join(f"<td>{_value(row, name)}</td>" for name in METRICS)
        + "</tr>"
        for row in rows
    )
    return (
        f"<table class=systems><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _gains(evaluated: StageSummary) -> str:
    styles = [
        Interval(f"{row['style']}, {row['queries']} queries", *row["difference"][:3])
        for row in evaluated.get("by_style", [])
    ]  # fmt: skip
    weights = "".join(
        lines(
            f"Interpolation weight, on {title}",
            [
                Series(name, [(row["weight"], row[name]) for row in dev], number)
                for number, name in enumerate(COMPARED)
            ],
            "interpolation weight of the adapter (0: the base)",
            f"on {title}",
        )
        for title, dev in (chosen_by(evaluated) if evaluated else [])
    )
    found = _card(
        "Gain by query style", intervals("Gain by query style", styles), f"{COMPARED[0]} of the adapted model minus that of the base."
    ) + _card(
        "Interpolation weight",
        weights,
        "The weight is chosen on dev queries; the test queries above took no part in the choice.",
    )  # fmt: skip
    return _section("Where the gain comes from", found)


def _examples(evaluated: StageSummary) -> str:
    found = evaluated.get("examples", {})
    parts = []
    for kind, title in (("won", "Largest gains"), ("lost", "Largest losses")):
        items = "".join(_example(example) for example in found.get(kind, []))
        parts.append(_card(title, items, wide=True) if items else "")
    return _section("Single queries", "".join(parts))


def _example(example: StageSummary) -> str:
    def hits(name: str, rank: int | None) -> str:
        items = "".join(
            f"<li{' class=answer' if right else ''}>{escape(text)}</li>"
            for text, right in example[f"hits_{name}"]
        )
        place = f"answer at {rank}" if rank else "answer not in the first 100"
        return f"<div><h4>{'base' if name == 'before' else 'adapted'}: {place}</h4><ol>{items}</ol></div>"

    before, after = (str(rank or "–") for rank in (example["before"], example["after"]))
    return (
        f"<details><summary><q>{escape(example['query'])}</q> "
        f"<span class=note>{escape(example['style'])}, rank {before} → {after}</span></summary>"
        f"<p class=note>Its passage: {escape(example['answer'])}</p>"
        f"<div class=pair>{hits('before', example['before'])}{hits('after', example['after'])}</div>"
        "</details>"
    )


def _corpus(read: StageSummary, generated: StageSummary, settings: Settings) -> str:
    if not read:
        return ""
    figures = _figures(
        {
            "Sources": ", ".join(settings.sources),
            "read": read["read"],
            "kept": read["kept"],
            "skipped": read["skipped"],
            "threads": read["threads"],
            "passages": read["passages"],
            "near-duplicate groups": read["duplicate_groups"],
        }
    )
    drawn = generated.get("map", {})
    topics = [", ".join(topic) for topic in drawn.get("topics", [])]
    points = [(x, y, int(topic)) for x, y, topic in drawn.get("points", [])]
    legend = "".join(
        f'<li><svg class="key" viewBox="0 0 8 8"><circle class="point {colour_class(number)}" '
        f'cx="4" cy="4" r="4"/></svg>{escape(topic)}</li>'
        for number, topic in enumerate(topics)
        if colour_class(number) != "rest"
    )
    names = [topic.split(", ")[0] for topic in topics] if len(topics) > 1 else []
    return _section(
        "The corpus",
        _card("Figures", figures)
        + _card(
            "Map",
            scatter("Passages by topic", points, names)
            + (f'<ul class="legend">{legend}</ul>' if names else "") if points else "",
            f"{len(points)} passages by their base embeddings, in the plane of the two principal "
            "components; passages near each other are about similar things. The largest topics are coloured.",
        ),
    )  # fmt: skip


def _queries(generated: StageSummary) -> str:
    if not generated:
        return ""
    figures = {
        sampled_from(generated): generated["sampled_passages"],
        "queries written": generated["written"],
        **{f"rejected: {name}": n for name, n in sorted(generated["rejected"].items())},
        **{f"kept: {name}": n for name, n in sorted(generated["kept_by_style"].items())},
        **{f"for {name}": n for name, n in sorted(generated["kept_by_split"].items())},
    }
    samples = "".join(
        f"<tr><th>{escape(row['style'])}</th><td>{escape(row['text'])}</td></tr>"
        for row in generated["samples"]
    )
    return _section(
        "Queries",
        _card("Figures", _figures(figures)) + _card("Samples", f"<table>{samples}</table>"),
    )


def _judge(mined: StageSummary) -> str:
    calibration = mined.get("calibration")
    if not calibration:
        return ""
    roc = calibration.get("roc") or []
    curve = lines(
        "Judge", [Series("judge", [tuple(point) for point in roc], 0)],
        "false positive rate", "true positive rate",
        dots=False, x_ticks=(0, 0.25, 0.5, 0.75, 1), y_range=(0, 1), diagonal=True,
    )  # fmt: skip
    figures = {
        "area under the curve": f"{calibration['auc']:.3f}",
        "known positives, and as many random passages": calibration["pairs"],
        "true positive rate at the threshold": f"{calibration['true_positive_rate']:.2f}",
        "false positive rate at the threshold": f"{calibration['false_positive_rate']:.2f}",
        "candidates for hard negatives": mined["candidates"],
        **{f"called {name}": count for name, count in mined["verdicts"].items()},
    }
    if calibration.get("near_auc") is not None:
        figures["area against the hardest candidates"] = f"{calibration['near_auc']:.3f}"
    said = "" if calibration["used"] else "Too low to be trusted: the candidates were not judged."
    return _section(
        "The judge", _card("Figures", _figures(figures), said) + _card("ROC curve", curve)
    )


def _training(trained: StageSummary) -> str:
    losses = trained.get("losses")
    if not losses:
        return ""
    curve = lines(
        "Training", [Series("loss", [(n, loss) for n, loss in enumerate(losses, start=1)], 0)],
        "step", "loss", dots=len(losses) < 40,
    )  # fmt: skip
    figures = {
        "pairs": trained["examples"],
        "hard negatives": trained["negatives"],
        "steps": trained["steps"],
        "padding": f"{100 * trained['padding']:.1f}%",
    }
    return _section("Training", _card("Figures", _figures(figures)) + _card("Loss", curve))


def _costs(workspace: Workspace, exported: StageSummary, indexed: StageSummary) -> str:
    rows = workspace.stage_seconds()
    times = bars("Time by stage", [(name, seconds, _duration(seconds)) for name, seconds in rows])
    sizes = bars(
        "Sizes",
        [
            (name, size, f"{size / 1e6:.1f} MB")
            for name, size in [
                *exported.get("sizes", {}).items(), *_sizes(workspace.folder).items(),
            ]
        ],
    )  # fmt: skip
    total = f"All: {_duration(sum(seconds for _, seconds in rows))}."
    passages = f"{indexed['total']} passages in the index." if indexed else ""
    return _section(
        "Time and space", _card("Stages", times, total) + _card("Files", sizes, passages)
    )


def _sizes(folder: Path) -> dict[str, int]:
    return {
        name: (folder / name).stat().st_size
        for name in ("index.db", "workspace.db")
        if (folder / name).exists()
    }


def _skipped(workspace: Workspace) -> str:
    reasons = count_skipped(workspace)
    if not reasons:
        return ""
    rows = read_skipped(workspace, SKIPPED_SHOWN)
    table = "".join(
        f"<tr>{''.join(f'<td>{escape(value)}</td>' for value in astuple(row))}</tr>" for row in rows
    )
    total = sum(count for _, count in reasons)
    more = f" (the first {SKIPPED_SHOWN}; report.md has all)" if total > SKIPPED_SHOWN else ""
    return _section(
        "Skipped",
        _card(
            "", f"<details><summary>{total} were read, but not used{more}</summary>"
            f"<table>{table}</table></details>", wide=True,
        ),
    )  # fmt: skip


def _section(title: str, cards: str) -> str:
    return (
        f"<section><h2>{escape(title)}</h2><div class=cards>{cards}</div></section>"
        if cards
        else ""
    )


def _card(title: str, content: str, note: str = "", *, wide: bool = False) -> str:
    """Nothing, where there is no content."""
    if not content:
        return ""
    head = f"<h3>{escape(title)}</h3>" if title else ""
    foot = f"<p class=note>{escape(note)}</p>" if note else ""
    css = "card wide" if wide else "card"
    return f'<div class="{css}">{head}<div class=scroll>{content}</div>{foot}</div>'


def _figures(figures: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
        for name, value in figures.items()
    )
    return f"<table class=figures>{rows}</table>"


def _value(row: StageSummary, name: str) -> str:
    if row[name] is None:
        return ""
    found = row.get(f"{name} difference")
    if not found:
        return f"{row[name]:.3f}"
    difference = Difference(*found)
    css = (
        "sure"
        if difference.significantly_better
        else "worse"
        if difference.significantly_worse
        else "unsure"
    )
    return f"{row[name]:.3f}<small class={css}>{difference_text(difference)}, p {difference.p:.2g}</small>"


def _points(value: float | None) -> str:
    """A metric in points; a dash where no query measured it."""
    return "–" if value is None else f"{100 * value:.1f}"


def _colour(system: str) -> int:
    return COLOUR.get(system.removeprefix("hybrid of BM25 and "), OTHER_COLOUR)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


CSS = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#16191d;--soft:#5b6470;
--rule:#e1e5ea;--good:#0a7d4f;--bad:#b3261e;--c0:#1f6fd6;--c1:#c26a00;--c2:#00838a;
--c3:#8a3ffc;--c4:#b5367a;--c5:#4d7c0f;--c6:#8d5524;--c7:#6b7480;--rest:#b9c0c9}
@media (prefers-color-scheme:dark){:root{--page:#111417;--card:#1b1f24;--ink:#e8ebee;
--soft:#9aa4b0;--rule:#30363d;--good:#4cc38a;--bad:#ff8a80;--c0:#6cb0ff;--c1:#ffb054;
--c2:#45cbd2;--c3:#bd93ff;--c4:#ff85bd;--c5:#a3d65c;--c6:#d9a371;--c7:#a3adb8;--rest:#4a525c}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere}
main{max-width:1120px;margin:0 auto;padding:16px}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .3em}h2{font-size:1.2rem;margin:2em 0 .6em}
h3{font-size:1rem;margin:0 0 .6em}h4{font-size:.85rem;margin:.4em 0;color:var(--soft)}
p{margin:.3em 0}.note{color:var(--soft);font-size:.85rem}
header{background:var(--card);border-radius:10px;padding:20px;border-left:6px solid var(--c7)}
header.ships{border-color:var(--good)}
.tiles{display:flex;flex-wrap:wrap;gap:12px 32px;list-style:none;margin:1em 0;padding:0}
.tiles b{display:block;font-size:1.35rem;font-variant-numeric:tabular-nums}
.tiles span{color:var(--soft);font-size:.85rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:16px;
align-items:start}
.card{background:var(--card);border-radius:10px;padding:16px;min-width:0}
.wide{grid-column:1/-1}.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:6px 8px 6px 0;border-bottom:1px solid var(--rule);
vertical-align:top;font-weight:400}thead th,.systems tbody th{font-weight:600}
thead th{white-space:nowrap;font-size:.8rem}
.figures td{text-align:right;padding-right:0}.figures th{color:var(--soft)}
@media (max-width:640px){.systems tr{display:grid;grid-template-columns:repeat(3,1fr);
border-bottom:1px solid var(--rule)}.systems th,.systems td{border:0}
.systems thead th:first-child{display:none}.systems tbody th{grid-column:1/-1;padding-bottom:0}}
small{display:block;font-size:.78rem}.sure{color:var(--good)}.worse{color:var(--bad)}
.unsure{color:var(--soft)}
svg{display:block;width:100%;height:auto;max-width:560px;margin:0 auto}
svg text{font-size:12px;fill:var(--soft);stroke:var(--card);stroke-width:3px;
paint-order:stroke}svg text.name{fill:var(--ink)}
svg text.place{font-weight:600;fill:var(--ink)}
.axis{font-size:.8rem;color:var(--soft);margin:0}
.grid{stroke:var(--rule);fill:none}.zero{stroke:var(--soft);fill:none}
.line{fill:none;stroke-width:2;stroke:var(--own,var(--rest));stroke-linejoin:round}
.dot,.bar,.point{fill:var(--own,var(--rest))}.point{opacity:.75}
.dashed{stroke-dasharray:5 4}.faint{stroke:var(--rest);fill:none}
path.sure,circle.sure{--own:var(--good)}path.worse,circle.worse{--own:var(--bad)}
path.unsure,circle.unsure{--own:var(--c7)}
.c0{--own:var(--c0)}.c1{--own:var(--c1)}.c2{--own:var(--c2)}.c3{--own:var(--c3)}
.c4{--own:var(--c4)}.c5{--own:var(--c5)}.c6{--own:var(--c6)}.c7{--own:var(--c7)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 14px;margin:8px 0 0;padding:0;
font-size:.8rem}.legend li{display:flex;align-items:center;gap:6px}
svg.key{width:22px;height:8px;margin:0;flex:none}
details{border-top:1px solid var(--rule);padding:8px 0}details:first-child{border-top:0}
summary{cursor:pointer}q{font-weight:600}.pair{display:grid;gap:0 24px;
grid-template-columns:repeat(auto-fit,minmax(min(100%,260px),1fr))}
ol{margin:0;padding-left:1.4em;font-size:.85rem}li.answer{color:var(--good);font-weight:600}
"""
