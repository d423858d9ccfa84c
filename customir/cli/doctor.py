"""`customir doctor`."""

import json
from dataclasses import asdict

import click

from customir.cli.options import Examples, json_option
from customir.cli.output import print_table
from customir.terminal import echo


@click.command(
    cls=Examples,
    examples="""
    customir doctor
    customir doctor --json | jq .kernels
    """,
)
@json_option
def doctor(as_json: bool) -> None:
    """Show what CustomIR finds on this machine, for choosing hardware and for bug reports.

    Processor and its instruction sets, the kernel that each operation uses, GPU, how llama.cpp was
    built, what holds the block of the network, free memory and disk, models, and versions.
    """
    from customir.commands.doctor import diagnose

    found = diagnose()
    if as_json:
        echo(json.dumps(asdict(found)))
        return
    memory = "unknown" if found.free_memory is None else f"{found.free_memory / 1e9:.1f} GB"
    rows = [
        ["what", "on this machine"],
        ["CustomIR", found.customir],
        ["Python, system", f"{found.python}, {found.system}"],
        ["processor", f"{found.processor}, {found.cores} cores"],
        ["instruction sets", ", ".join(found.instruction_sets) or "not listed by the system"],
        *([operation, kernel] for operation, kernel in found.kernels.items()),
        ["GPU", found.gpu or "none that PyTorch can use"],
        ["llama.cpp", found.llama_cpp or "not installed"],
        ["network blocked by", found.network],
        ["free memory, disk", f"{memory}, {found.free_disk / 1e9:.0f} GB"],
        ["models", ", ".join(found.models) or "none; see customir models list"],
        *(
            [f"missing for [{extra}]" if extra else "missing", ", ".join(names)]
            for extra, names in found.missing.items()
        ),
        ["versions", ", ".join(f"{name} {version}" for name, version in found.versions.items())],
    ]
    print_table(rows)
