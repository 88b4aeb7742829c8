"""`reflexarc program`: check, show, explain and run a program."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from reflexarc.calibration import Calibration
from reflexarc.cli.common import (
    check_limits_file,
    connected,
    discard_if_empty,
    limits_for,
    limits_option,
    output_folder,
    record_for,
    record_option,
)
from reflexarc.cli.own_twin import board_arguments, twin_options
from reflexarc.contract.program import BANK_ROWS
from reflexarc.errors import BadInput, ReflexArcError
from reflexarc.experiments.settings import ScanSettings
from reflexarc.programs.compile import Compiled, CompileError, compile_program
from reflexarc.programs.explain import explanation
from reflexarc.programs.intervals import Interval
from reflexarc.programs.sentences import counted
from reflexarc.programs.source import Source, read_source
from reflexarc.programs.timeline import timeline
from reflexarc.programs.verify import Assumptions, Bounds, Finding, Verdict, verify
from reflexarc.safety.limits import Limits
from reflexarc.safety.units import show as quantity

DEFAULTS = ScanSettings()
OF_A_TIP = ("nearest_m", "bias", "current_A", "pulse_current_A")  # bounds of which nothing is said for a beam


def compiled_of(source: Source) -> Compiled:
    """For the default instrument; BadInput with the line of what can't be compiled."""
    try:
        return compile_program(source.tree, Calibration())
    except CompileError as error:
        file = f"{source.name}, " if error.path in source.lines else ""
        raise BadInput(f"{file}{source.place(error.path)}{error}") from None


def findings_text(source: Source, verdict: Verdict) -> Iterator[str]:
    """A line each, in the order of the program: what refuses it, then what may be meant."""
    for finding in (*_placed(source, verdict.faults), *_placed(source, verdict.risks)):
        yield f"{'note: ' if finding.risk else ''}{source.place(finding.path)}{finding.text}"


def _placed(source: Source, findings: tuple[Finding, ...]) -> list[Finding]:
    return sorted(findings, key=lambda finding: source.lines.get(finding.path, 0))


def summary(verdict: Verdict) -> str:
    notes = f", {counted(len(verdict.risks), 'note')}" if verdict.risks else ""
    return f"{counted(len(verdict.faults), 'fault') if verdict.faults else 'no faults'}{notes}"


def _most(value: float, unit: str) -> str:
    return f"up to {quantity(value, unit, 3)}" if math.isfinite(value) else "without bound"


def bounds_text(bounds: Bounds, given: Assumptions) -> Iterator[tuple[str, str]]:
    """What each is, and how much of it at worst."""
    yield "rows", f"{bounds.rows} of {BANK_ROWS}"
    yield "time", _most(bounds.time_s, "s")
    yield "between two waits", _most(bounds.between_waits_s, "s")
    yield "pulses", f"up to {bounds.pulses:g}" if bounds.pulses else "none"
    dose = f", {bounds.dose_e:.3g} electrons" if bounds.dose_e else ""
    yield "exposure", f"{_most(bounds.exposed_s, 's')}{dose}" if bounds.exposed_s else "none"
    yield "tip" if given.tip else "beam", f"x {bounds.x.shown('m')}, y {bounds.y.shown('m')}"
    if not given.tip:
        return
    yield "nearer than held", _most(bounds.nearest_m, "m") if bounds.nearest_m else "never"
    yield "bias", bounds.bias.shown("V")
    pulses = f", in pulses {_most(bounds.pulse_current_A, 'A')}" if bounds.pulses else ""
    # What the feedback holds flows also where nothing changes it.
    yield "current", f"{_most(max(bounds.current_A, given.setpoint_A), 'A')}{pulses}"


def bounds_plain(bounds: Bounds, given: Assumptions) -> dict[str, Any]:
    """For JSON, which has no infinity: null where there is no bound, or nothing is said of it."""

    def plain(value: Any) -> Any:
        if isinstance(value, Interval):
            return [plain(end) for end in value]
        return value if math.isfinite(value) else None

    units = {"x": "x_m", "y": "y_m", "bias": "bias_V"}
    silent = () if given.tip else OF_A_TIP
    return {units.get(name, name): plain(value) if name not in silent else None for name, value in vars(bounds).items()}


def verdict_plain(source: Source, verdict: Verdict, given: Assumptions) -> dict[str, Any]:
    def listed(findings: tuple[Finding, ...]) -> list[dict[str, Any]]:
        return [
            {
                "line": source.lines.get(finding.path),
                "statement": source.said(finding.path) if finding.path in source.statements else None,
                "text": finding.text,
            }
            for finding in _placed(source, findings)
        ]

    assumed = {"setpoint_A": given.setpoint_A, "bias_V": given.bias_V, "bandwidth_Hz": given.bandwidth_Hz}
    return {
        "file": source.name,
        "program": source.tree.name,
        "faults": listed(verdict.faults),
        "notes": listed(verdict.risks),
        "bounds": bounds_plain(verdict.bounds, given) if verdict.bounds is not None else None,
        "assumed": assumed if given.tip else {"tip": False},
    }


# The commands


@click.group()
def program() -> None:
    """Programs that the gateware runs by itself: check, show, explain, run."""


file_argument = click.argument("file", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="As JSON.")


def settings_options(function: Any) -> Any:
    """How the instrument stands when the program begins."""
    options = [
        click.option("--setpoint", type=float, metavar="A", default=DEFAULTS.setpoint_A, show_default=True, help="Current that is held."),
        click.option("--bias", type=float, metavar="V", default=DEFAULTS.bias_V, show_default=True, help="Bias in volts."),
        click.option(
            "--bandwidth", type=float, metavar="HZ", default=DEFAULTS.bandwidth_Hz, show_default=True, help="Unity gain of the feedback."
        ),
        click.option("--beam", is_flag=True, help="A beam and no tip: nothing is said of current, bias and feedback."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def settings_of(options: dict[str, Any], limits: Limits) -> ScanSettings:
    """With a beam the others count for nothing, so they stay at what can be."""
    if options["beam"]:
        return ScanSettings(limits=limits)
    return ScanSettings(setpoint_A=options["setpoint"], bias_V=options["bias"], bandwidth_Hz=options["bandwidth"], limits=limits)


@program.command()
@file_argument
@click.option("--limits", "limits_file", type=click.Path(path_type=Path), help="Limits file. [default: the default limits]")
@settings_options
@json_option
def check(file: Path, limits_file: Path | None, as_json: bool, **options: Any) -> None:
    """What a program can do at worst on the default instrument, and whether the limits allow it. Nothing is run.

    A fault refuses the program; a note is something that may be meant but can't be shown to be safe.
    """
    source = read_source(file)
    limits = check_limits_file(limits_file) or Limits()
    settings = settings_of(options, limits)
    settings.check(Calibration(), with_limits=False)
    given = Assumptions(Calibration(), limits, settings.setpoint_A, settings.bias_V, settings.bandwidth_Hz, tip=not options["beam"])
    verdict = verify(source.tree, given)
    if as_json:
        click.echo(json.dumps(verdict_plain(source, verdict, given), indent=2))
    else:
        for line in findings_text(source, verdict):
            click.echo(line)
        if verdict.bounds is not None:
            click.echo(f"{source.name}: {summary(verdict)}; at worst:")
            for name, value in bounds_text(verdict.bounds, given):
                click.echo(f"  {name:18} {value}")
    if verdict.faults:
        raise BadInput(f"{source.name}: {summary(verdict)}")


@program.command("show")
@file_argument
@click.option("--out", type=click.Path(path_type=Path), metavar="PICTURE.png", help="The picture. [default: FILE.png, beside the program]")
def show_program(file: Path, out: Path | None) -> None:
    """Draw what a program does when, as a picture: outputs, waits, decisions, each repeat for one turn."""
    from reflexarc.report.program import draw_program

    source = read_source(file)
    out = file.with_suffix(".png") if out is None else out
    if out.exists() and out.samefile(file):
        raise BadInput(f"{source.name}: is the program itself; give the picture another name with --out")
    chart = timeline(compiled_of(source), DEFAULTS.bias_V)
    try:
        draw_program(out, chart, source.lines, source.text)
    except ValueError as error:
        raise BadInput(f"{source.name}: {error}") from None
    click.echo(f"written  {out}")


@program.command()
@file_argument
def explain(file: Path) -> None:
    """Each statement in words, with its rows: number, operation, what it does, raw constant, cycles."""
    source = read_source(file)
    for line in explanation(source, compiled_of(source)):
        click.echo(line)


def tell_written(folder: Path) -> None:
    if names := sorted(path.name for path in folder.iterdir()):
        click.echo(f"written      {folder}/{', '.join(names)}")


@program.command()
@file_argument
@click.option("--board", "address", help="Socket of a running board. [default: a twin of its own]")
@settings_options
@limits_option
@record_option
@click.option("--out", type=click.Path(path_type=Path), default=Path("out"), show_default=True, help="Folder for the results.")
@click.option("--allow-risks", is_flag=True, help="Run it although something about it can't be shown to be safe.")
@twin_options
def run(
    file: Path, address: str | None, limits_file: Path | None, record_file: Path | None, out: Path, allow_risks: bool, **options: Any
) -> None:
    """Verify, approach, run a program, withdraw. What it emits is printed and written to OUT/<time>/emissions.csv.

    A program with faults is refused, and one with notes unless --allow-risks is given. On a trip the black box is saved too. With --beam
    nothing is approached.
    """
    from reflexarc.experiments.program import Emission
    from reflexarc.experiments.program_job import end_interrupted, program_job, verify_for_board

    source, tip = read_source(file), not options["beam"]
    given = check_limits_file(limits_file)
    settings_of(options, given or Limits()).check(Calibration(), with_limits=False)
    folder = output_folder(out)
    with discard_if_empty(folder), connected(address, board_arguments(options), lockstep=address is None) as board:
        settings = settings_of(options, limits_for(board, limits_file)[0])
        record = record_for(board, record_file)
        verdict = board.run(verify_for_board(board.device, source.tree, settings, tip))
        for line in findings_text(source, verdict):
            click.echo(line)
        if verdict.faults or (verdict.risks and not allow_risks):
            advice = "" if verdict.faults else "; --allow-risks runs it all the same"
            raise BadInput(f"{source.name}: {summary(verdict)}{advice}")
        compiled = verdict.compiled
        assert compiled is not None

        def say(emission: Emission) -> None:
            kinds = compiled.tags[emission.tag]
            values = (quantity(value, kind.unit, 3 if kind.unit else 10) for value, kind in zip(emission.values, kinds, strict=True))
            click.echo("  ".join([f"{emission.time_s:.4f} s", emission.tag, *values]))

        try:
            ran = board.run(program_job(board.device, compiled, settings, folder, record, say, tip))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                board.run(end_interrupted(board.device))
            tell_written(folder)  # what came until then
            raise
    click.echo(f"ended        {ran.reason}; {quantity(ran.time_s, 's', 3)}, {counted(ran.instructions, 'instruction')}")
    if ran.missed_events:
        click.echo(f"missed       {counted(ran.missed_events, 'event')} that came while one was still to be taken")
    tell_written(folder)
    with contextlib.suppress(OSError):  # a program that emitted nothing leaves no folder
        folder.rmdir()
    if ran.lost:
        raise ReflexArcError(f"{counted(ran.lost, 'record')} were lost: the board had no room for them")
