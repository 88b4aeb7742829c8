"""`reflexarc program`: check, show, explain and run a program."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.program import BANK_ROWS, REGISTERS, Condition, Operand, Operation, Request, Row, SampleChannel, Statistic
from reflexarc.contract.registers import WORD_BYTES
from reflexarc.errors import BadInput, ReflexArcError
from reflexarc.experiments.settings import ScanSettings
from reflexarc.programs.compile import RAMP_STEP_BITS, RAMP_STEP_MAX, TIMED_OUT, Compiled, CompileError, compile_program
from reflexarc.programs.intervals import Interval
from reflexarc.programs.kinds import Kind, parameter
from reflexarc.programs.names import walk
from reflexarc.programs.text import lines_of, parse, statement_line
from reflexarc.programs.timeline import comparison_text, timeline, value_text
from reflexarc.programs.tokens import shown
from reflexarc.programs.tree import (
    Block,
    During,
    Emit,
    Halt,
    Height,
    Hold,
    If,
    Leave,
    Let,
    Line,
    Mark,
    Move,
    Number,
    Pause,
    ProgramTree,
    Pulse,
    Ramp,
    Repeat,
    Return,
    Sample,
    Set,
    StartScan,
    Statement,
    StopScan,
    Wait,
    WaitEvent,
    WaitFor,
    WaitSamples,
    WaitUntil,
)
from reflexarc.programs.tree import Path as Place
from reflexarc.programs.values import SCALE_ONE
from reflexarc.programs.verify import Assumptions, Bounds, Finding, Verdict, verify
from reflexarc.safety.limits import Limits
from reflexarc.safety.units import show as quantity

DEFAULTS = ScanSettings()
SIZE_MAX = 1 << 20  # bytes; a program that fits into a bank has a few thousand
STATEMENT_MAX = 90  # characters of a statement in a finding
CHANNELS = {SampleChannel.CURRENT: "the current", SampleChannel.MONITOR: "the monitor", SampleChannel.Z: "z"}
CONDITIONS = {
    Condition.EVENT: "an event", Condition.NEXT_EVENT: "the next event", Condition.SCAN_IDLE: "the end of the scan",
    Condition.LINE_DONE: "the end of a line of the scan", Condition.AT_REST: "the tip to be there", Condition.CAMERA_READY: "the camera to be ready",
    Condition.PIXEL_CLOCK: "the pixel clock to be high", Condition.LINE_TRIGGER: "the line trigger to be high",
    Condition.EXTERNAL_SCAN: "the column to have handed over", Condition.CAMERA_BUSY: "the camera to be busy",
    Condition.PIXEL_CLOCK_LOW: "the pixel clock to be low", Condition.LINE_TRIGGER_LOW: "the line trigger to be low",
    Condition.EXTERNAL_SCAN_LOW: "the column to have taken back",
}  # fmt: skip
ROW_FORMAT = "  {:>5}  {:12}  {:70}  {:>11}  {}"
DURING = {Line.BEAM: "Unblanks the beam", Line.BLANK: "Blanks the beam", Line.TRIGGER: "Raises the trigger"}
SIGNS = {Operation.LESS: "<", Operation.NOT_LESS: ">=", Operation.EQUAL: "==", Operation.NOT_EQUAL: "!="}
GIVES = (  # have a destination
    Operation.ADD, Operation.SUBTRACT, Operation.LOOP, Operation.SCALE, Operation.READ, Operation.RAMP, Operation.SAMPLE,
)  # fmt: skip
EVENT_FIELDS: Mapping[int, str] = {
    Operand.EVENT_SOURCE: "source", Operand.EVENT_CLASS: "class", Operand.EVENT_SCORE: "score", Operand.EVENT_X: "x", Operand.EVENT_Y: "y",
}  # fmt: skip
REGISTERS_BY_PLACE = {
    block.address(register.name) // WORD_BYTES: (f"{block.name}.{register.name}", register)
    for block in REGISTER_MAP
    for register in block.registers
}


@dataclass(frozen=True)
class Source:
    """A program's file: its tree, the lines that hold more than a comment, each statement and its line."""

    name: str
    tree: ProgramTree
    text: tuple[tuple[int, str], ...]
    statements: Mapping[Place, Statement]
    lines: Mapping[Place, int]

    def said(self, path: Place) -> str:
        """The statement there, as it is printed, without its blocks."""
        return statement_line(self.statements[path], self.tree)

    def place(self, path: Place) -> str:
        """Line and statement, as a finding begins; "" for the program as a whole."""
        if path not in self.lines:
            return ""
        statement = textwrap.shorten(self.said(path).removesuffix(":"), STATEMENT_MAX, placeholder=" ...")
        return f"line {self.lines[path]}: {statement}: "


def read_source(path: Path) -> Source:
    """BadInput with one line for what can't be read or is no program."""
    name = shown(str(path))
    try:
        if path.is_fifo():  # opening it could wait for ever
            raise BadInput(f"program {name}: is a pipe; accepted: an ordinary text file")
        with path.open("rb") as file:
            data = file.read(SIZE_MAX + 1)
    except OSError as error:
        raise BadInput(f"program {name}: {error.strerror or error}") from None
    if len(data) > SIZE_MAX:
        raise BadInput(f"program {name}: longer than {SIZE_MAX} bytes, so it is no program")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise BadInput(f"program {name}, line {line}: not UTF-8") from None
    tree = parse(text, name)
    held = [(number, line.rstrip("\r ")) for number, line in enumerate(text.split("\n"), 1) if line.strip("\r ")]
    held = [(number, line) for number, line in held if not line.lstrip(" ").startswith("#")]
    # The text that is printed of a tree has the same lines in the same order, with one that is empty behind the name and one behind events.
    empty = 2 if tree.events else 1
    lines = {path: held[line - 1 - empty][0] for path, line in lines_of(tree).items()}
    return Source(name, tree, tuple(held), dict(walk(tree)), lines)


def compiled_of(source: Source) -> Compiled:
    """For the default instrument; BadInput with the line of what can't be compiled."""
    try:
        return compile_program(source.tree, Calibration())
    except CompileError as error:
        raise BadInput(f"{source.name}, {source.place(error.path)}{error}") from None


def findings_text(source: Source, verdict: Verdict) -> Iterator[str]:
    """A line each, in the order of the program: what refuses it, then what may be meant."""
    for finding in (*_placed(source, verdict.faults), *_placed(source, verdict.risks)):
        yield f"{'note: ' if finding.risk else ''}{source.place(finding.path)}{finding.text}"


def _placed(source: Source, findings: tuple[Finding, ...]) -> list[Finding]:
    return sorted(findings, key=lambda finding: source.lines.get(finding.path, 0))


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def summary(verdict: Verdict) -> str:
    notes = f", {counted(len(verdict.risks), 'note')}" if verdict.risks else ""
    return f"{counted(len(verdict.faults), 'fault') if verdict.faults else 'no faults'}{notes}"


def _most(value: float, unit: str) -> str:
    return f"up to {quantity(value, unit, 3)}" if math.isfinite(value) else "without bound"


def _range(interval: Interval, unit: str) -> str:
    low, high = (quantity(end, unit, 3) for end in interval)
    return low if low == high else f"{low} to {high}"


def bounds_text(bounds: Bounds, setpoint_A: float) -> Iterator[tuple[str, str]]:
    """What each is, and how much of it at worst."""
    yield "rows", f"{bounds.rows} of {BANK_ROWS}"
    yield "time", _most(bounds.time_s, "s")
    yield "between two waits", _most(bounds.between_waits_s, "s")
    yield "pulses", f"up to {bounds.pulses:g}" if bounds.pulses else "none"
    dose = f", {bounds.dose_e:.3g} electrons" if bounds.dose_e else ""
    yield "exposure", f"{_most(bounds.exposed_s, 's')}{dose}" if bounds.exposed_s else "none"
    yield "tip", f"x {_range(bounds.x, 'm')}, y {_range(bounds.y, 'm')}"
    yield "nearer than held", _most(bounds.nearest_m, "m") if bounds.nearest_m else "never"
    yield "bias", _range(bounds.bias, "V")
    pulses = f", in pulses {_most(bounds.pulse_current_A, 'A')}" if bounds.pulses else ""
    # What the feedback holds flows also where nothing changes it.
    yield "current", f"{_most(max(bounds.current_A, setpoint_A), 'A')}{pulses}"


def bounds_plain(bounds: Bounds) -> dict[str, Any]:
    """For JSON, which has no infinity: null where there is no bound."""

    def plain(value: Any) -> Any:
        if isinstance(value, Interval):
            return [plain(end) for end in value]
        return value if math.isfinite(value) else None

    units = {"x": "x_m", "y": "y_m", "bias": "bias_V"}
    return {units.get(name, name): plain(value) for name, value in vars(bounds).items()}


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

    return {
        "file": source.name,
        "program": source.tree.name,
        "faults": listed(verdict.faults),
        "notes": listed(verdict.risks),
        "bounds": bounds_plain(verdict.bounds) if verdict.bounds is not None else None,
        "assumed": {"setpoint_A": given.setpoint_A, "bias_V": given.bias_V, "bandwidth_Hz": given.bandwidth_Hz},
    }


# What a program does, row by row


def sentence(statement: Statement, tree: ProgramTree) -> str:
    """What a statement does, for someone who does not know the language."""
    match statement:
        case Sample(into, channel, statistic, count):
            return f"{into} becomes the {statistic.name.lower()} of the next {counted(count, 'sample')} of {CHANNELS[channel]}."
        case Let(into, value):
            return f"{into} becomes {value_text(value, tree)}, as it is now."
        case Set(name, value):
            return f"Sets {name} to {value_text(value, tree)} at once."
        case Ramp(name, to, rate):
            rate_text = quantity(rate, f"{parameter(name).unit}/s")
            return f"Ramps {name} from where it stands to {value_text(to, tree)} at {rate_text}; waits until it is there."
        case Wait(seconds):
            return f"Waits for {quantity(seconds, 's')}."
        case WaitSamples(count):
            return f"Waits for {counted(count, 'sample')}."
        case Mark():
            return "Sets the clock to 0, from which 'clock' and 'wait until' count."
        case WaitUntil(seconds):
            return f"Waits until {quantity(seconds, 's')} after the last mark. If it is later already the program ends and the interlock trips."
        case WaitEvent(into, event, conditions, timeout_s, otherwise):
            where = "".join(f" and {comparison_text(condition, tree)}" for condition in conditions).replace(" and ", " with ", 1)
            return f"Waits for the first {event}{where}, which is then {into}. After {quantity(timeout_s, 's')} {_late(otherwise)}."
        case WaitFor(condition, timeout_s, otherwise):
            return f"Waits for {CONDITIONS[condition]}. After {quantity(timeout_s, 's')} {_late(otherwise)}."
        case Move(x, y, speed):
            place = f"({value_text(x, tree)}, {value_text(y, tree)})"
            return f"Pauses the scan and moves the tip to {place}, no axis faster than {quantity(speed, 'm/s')}; waits until it is there."
        case Return():
            return "Moves the tip back to the scan's place, as fast as the last move, and lets the scan go on unless it is paused."
        case Hold(settle_s):
            rest = f", waits for {quantity(settle_s, 's')}" if settle_s else ""
            return f"Holds the feedback{rest} and does what stands below; then the feedback goes on."
        case Height(z, speed):
            where = f"{value_text(z, tree)} away from where the feedback was held (negative: nearer)"
            return f"Moves z to {where} at {quantity(speed, 'm/s')}; waits until it is there."
        case Pause():
            return "Pauses the scan and does what stands below; then the scan goes on."
        case Pulse(to, for_s, rise_s, settle_s):
            rise = f", reached and left within {quantity(rise_s, 's')} each" if rise_s else ""
            settle = f" The limits of a pulse count for {quantity(settle_s, 's')} more." if settle_s else ""
            return f"Gives a pulse of {value_text(to, tree)} for {quantity(for_s, 's')}{rise}; then the bias is as it was.{settle}"
        case During(line, for_s):
            return f"{DURING[line]} for {quantity(for_s, 's')}, counted in cycles."
        case StartScan():
            return "Starts the scan that the scan's registers say."
        case StopScan():
            return "Stops the scan."
        case Repeat(count, _, index):
            turns = "again and again until it is left" if count is None else f"{count} times"
            return f"Does what stands below {turns}{f'; {index} counts the turns from 0' if index is not None else ''}."
        case If(comparison, _, otherwise):
            other = ", else what stands under otherwise" if otherwise else ""
            return f"Does what stands below if {comparison_text(comparison, tree)}{other}."
        case Leave(comparison):
            when = f" if {comparison_text(comparison, tree)}" if comparison is not None else ""
            return f"Leaves the innermost repeat{when}."
        case Emit(tag, values):
            what = f" with {', '.join(value_text(value, tree) for value in values)}" if values else ""
            return f'Sends the record "{tag}"{what} to the host.'
        case Halt(reason):
            return f'Ends the program with the reason "{reason}".'


def _late(otherwise: Block | None) -> str:
    return f'the program ends with the reason "{TIMED_OUT}"' if otherwise is None else "what stands under otherwise is done"


@dataclass(frozen=True)
class RowText:
    """A row in words. ``constant``: raw, "" for a row that has none."""

    number: int
    operation: str
    does: str
    constant: str
    cycles: str


class Rows:
    """The rows of a program in words, with what is in which register as far as the rows above tell."""

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._calibration = compiled.calibration
        self._statements = dict(walk(compiled.tree))
        self._names: dict[int, str] = {}
        self._numbers: list[Number] = []  # of the statement that is being looked at

    def by_statement(self) -> dict[Place, list[RowText]]:
        """Those of each statement; under the empty path the one that ends the program."""
        found: dict[Place, list[RowText]] = {}
        rows, origins = self._compiled.rows, self._compiled.origins
        kept = {path: row.destination for row, path in zip(rows, origins, strict=True) if row.operation in GIVES}  # by its last row
        for index, (row, path) in enumerate(zip(rows, origins, strict=True)):
            self._numbers = list(_numbers(self._statements[path])) if path else []
            name = None
            if row.operation in GIVES:
                name = self._given(row, self._statements[path], row.destination == kept[path])
            does = self._does(row, name or f"r{row.destination}")
            constant = str(row.value) if _has_constant(row) else ""
            found.setdefault(path, []).append(RowText(index, Operation(row.operation).name, does, constant, self._cycles(index)))
            if row.operation in GIVES:
                self._names.pop(row.destination, None)
                if name is not None:
                    self._names[row.destination] = name
        return found

    def _given(self, row: Row, statement: Statement, kept: bool) -> str | None:
        """Name of what a row brings to its destination, None where it has none."""
        match statement:
            case Sample(into):
                return into
            case Let(into):
                return into if kept else None
            case WaitEvent(into) if row.a in EVENT_FIELDS:
                return f"{into}.{EVENT_FIELDS[row.a]}"
            case Repeat(index=index) if row.operation == Operation.ADD:
                return index
        return None

    def _operand(self, row: Row, operand: int) -> str:
        match operand:
            case Operand.ZERO:
                return "0"
            case Operand.VALUE:
                return self._constant(row)
            case _ if operand < REGISTERS:
                return self._names.get(operand, f"r{operand}")
        return f"the event's {EVENT_FIELDS[operand]}" if operand in EVENT_FIELDS else Operand(operand).name.lower()

    def _constant(self, row: Row) -> str:
        """The number of the statement that a row's constant is, in its unit; what is none of them is a count."""
        for number in self._numbers:
            for kind in Kind:
                if kind.unit == number.unit and round(kind.to_raw(self._calibration, number.value)) == row.value:
                    return quantity(number.value, number.unit)
        return str(row.value)

    def _factor(self, row: Row) -> str:
        if row.b != Operand.VALUE:
            return self._operand(row, row.b)
        for number in self._numbers:
            kinds = [kind for kind in Kind if kind.unit == number.unit]
            wholes = [number.value] if number.unit == "" else [kind.to_raw(self._calibration, number.value) for kind in kinds]
            if row.value in [round(whole * SCALE_ONE) for whole in wholes]:
                return quantity(number.value, number.unit)
        return f"{row.value / SCALE_ONE:.6g}"

    def _time(self, row: Row) -> str:
        if row.b != Operand.VALUE:
            return self._operand(row, row.b)
        return quantity(self._calibration.seconds(row.value), "s")

    def _written(self, row: Row) -> tuple[str, str]:
        """Name of the register at a row's place, and what the row's constant means there."""
        name, register = REGISTERS_BY_PLACE[row.place]
        raw = register.decode(row.value & 0xFFFFFFFF)
        value = self._calibration.to_physical(register, raw)
        if register.values is not None and any(raw == known for known in register.values):
            return name, register.values(raw).name or str(raw)
        if name == "feedback.setpoint":
            return name, quantity(self._calibration.code_to_current_A(2.0**value), "A", 4)
        return name, quantity(value, register.unit, 4)

    def _does(self, row: Row, to: str) -> str:
        """What it does, in words; ``to`` is what its destination is called."""
        a, b = self._operand(row, row.a), self._operand(row, row.b)
        operation = Operation(row.operation)
        match operation:
            case Operation.HALT:
                return f'ends with the reason "{self._compiled.reasons[row.value]}"'
            case Operation.JUMP:
                return f"to row {row.place}"
            case Operation.LESS | Operation.NOT_LESS | Operation.EQUAL | Operation.NOT_EQUAL:
                return f"to row {row.place} if {a} {SIGNS[operation]} {b}"
            case Operation.LOOP:
                return f"{to} = {a} - {b}; to row {row.place} while that is above 0"
            case Operation.ADD:
                return f"{to} = {a}" if row.b == Operand.ZERO else f"{to} = {a} + {b}"
            case Operation.SUBTRACT:
                return f"{to} = {a} - {b}"
            case Operation.SCALE:
                return f"{to} = {a} * {self._factor(row)}"
            case Operation.WRITE:
                name, value = self._written(row)
                return f"{name} = {value if row.b == Operand.VALUE else b}"
            case Operation.READ:
                return f"{to} = {REGISTERS_BY_PLACE[row.place][0]}"
            case Operation.RAMP:
                return f"{REGISTERS_BY_PLACE[row.place][0]} from {a} to {b} {self._rate(row)}"
            case Operation.WAIT_CYCLES | Operation.WAIT_UNTIL:
                return f"{'until the clock is at ' if operation is Operation.WAIT_UNTIL else ''}{self._time(row)}"
            case Operation.WAIT_SAMPLES:
                return self._samples(row)
            case Operation.MARK:
                return "clock = 0"
            case Operation.DEADLINE:
                return f"waits below give up {self._time(row)} from now"
            case Operation.WAIT:
                return f"for {CONDITIONS[Condition(row.destination)]}; to row {row.place} at the deadline"
            case Operation.SAMPLE:
                statistic, channel = Statistic(row.place & 3), SampleChannel(row.place >> 2)
                return f"{to} = {statistic.name.lower()} of {CHANNELS[channel]}, {self._samples(row)}"
            case Operation.RAISE | Operation.LOWER:
                names = (one.name.lower().replace("_", " ") for one in Request if one in Request(row.value) and one.name is not None)
                return f"{'asks for' if operation is Operation.RAISE else 'no longer asks for'} {', '.join(names)}"
            case Operation.PULSE:
                return f"bias of the pulse = {b}, under its limits"
            case Operation.MOVE:
                steps = max(kind.to_physical(self._calibration, row.value) for kind in (Kind.X, Kind.Y))
                return f"tip to ({a}, {b}) at {quantity(steps / self._calibration.sample_period_s, 'm/s', 4)}"
            case Operation.RETURN:
                return "tip back to the scan's place"
        tag = list(self._compiled.tags)[row.value & 0xFF]
        used = [name for name, operand in ((a, row.a), (b, row.b)) if operand != Operand.ZERO]
        return f'record "{tag}", part {row.value >> 8}' + (f": {', '.join(used)}" if used else "")

    def _samples(self, row: Row) -> str:
        return counted(row.value, "sample") if row.b == Operand.VALUE else f"{self._operand(row, row.b)} samples"

    def _rate(self, row: Row) -> str:
        word = row.value & 0xFFFFFFFF
        step, period = word & RAMP_STEP_MAX, word >> RAMP_STEP_BITS
        _, register = REGISTERS_BY_PLACE[row.place]
        per_s = self._calibration.to_physical(register, step) / period / self._calibration.sample_period_s
        return f"at {quantity(per_s, f'{register.unit}/s', 4)}: {step} each {counted(period, 'sample')}"

    def _cycles(self, index: int) -> str:
        """As the sequencer's page says."""
        row = self._compiled.rows[index]
        before = self._compiled.rows[index - 1] if index else None
        # A row that uses the result of the one before it waits for it.
        more = int(before is not None and before.operation in GIVES and before.destination in (row.a, row.b))
        match Operation(row.operation):
            case Operation.JUMP:
                return "6"
            case Operation.LESS | Operation.NOT_LESS | Operation.EQUAL | Operation.NOT_EQUAL | Operation.LOOP:
                return f"{1 + more}, {6 + more} if it jumps"
            case Operation.SCALE:
                return str(37 + more)
            case Operation.WRITE | Operation.READ:
                return str(19 + more)
            case Operation.MARK | Operation.EMIT:
                return str(4 + more)
            case Operation.WAIT_CYCLES if row.b == Operand.VALUE:
                return str(max(4, row.value))
            case Operation.WAIT_CYCLES | Operation.WAIT_UNTIL:
                return "as said, at least 4"
            case Operation.WAIT_SAMPLES:
                return "to the last sample, 3"
            case Operation.SAMPLE:
                return f"to the last sample, {40 if row.place & 3 == Statistic.MEAN else 5}"
            case Operation.WAIT:
                return "until it comes, 2; 6 to give up"
            case Operation.RAMP:
                return "until it is there"
        return str(1 + more)


def _has_constant(row: Row) -> bool:
    return Operand.VALUE in (row.a, row.b) or row.operation in (
        Operation.HALT, Operation.RAMP, Operation.RAISE, Operation.LOWER, Operation.MOVE, Operation.EMIT,
    )  # fmt: skip


def _numbers(node: Any) -> Iterator[Number]:
    """Constants of a statement, without those of its blocks."""
    if isinstance(node, Number):
        yield node
    elif isinstance(node, tuple):
        for one in node:
            if not isinstance(one, Statement):
                yield from _numbers(one)
    elif dataclasses.is_dataclass(node):
        for field in dataclasses.fields(node):
            yield from _numbers(getattr(node, field.name))


def explanation(source: Source, compiled: Compiled) -> Iterator[str]:
    rows = Rows(compiled).by_statement()
    yield ROW_FORMAT.format("row", "operation", "what it does", "constant", "cycles")
    for path in [*source.statements, ()]:
        yield ""
        yield f"line {source.lines[path]}: {source.said(path)}" if path else "end of the program"
        if path:
            yield f"  {sentence(source.statements[path], source.tree)}"
        for row in rows.get(path, []):
            yield ROW_FORMAT.format(row.number, row.operation, row.does, row.constant, row.cycles).rstrip()


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
    ]
    for option in reversed(options):
        function = option(function)
    return function


def settings_of(options: dict[str, Any], limits: Limits) -> ScanSettings:
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
    given = Assumptions(Calibration(), limits, settings.setpoint_A, settings.bias_V, settings.bandwidth_Hz)
    verdict = verify(source.tree, given)
    if as_json:
        click.echo(json.dumps(verdict_plain(source, verdict, given), indent=2))
    else:
        for line in findings_text(source, verdict):
            click.echo(line)
        if verdict.bounds is not None:
            click.echo(f"{source.name}: {summary(verdict)}; at worst:")
            for name, value in bounds_text(verdict.bounds, settings.setpoint_A):
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

    A program with faults is refused, and one with notes unless --allow-risks is given. On a trip the black box is saved too.
    """
    from reflexarc.experiments.program import Emission
    from reflexarc.experiments.program_job import end_interrupted, program_job, verify_for_board

    source = read_source(file)
    given = check_limits_file(limits_file)
    settings_of(options, given or Limits()).check(Calibration(), with_limits=False)
    folder = output_folder(out)
    with discard_if_empty(folder), connected(address, board_arguments(options), lockstep=address is None) as board:
        settings = settings_of(options, limits_for(board, limits_file)[0])
        record = record_for(board, record_file)
        verdict = board.run(verify_for_board(board.device, source.tree, settings))
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
            ran = board.run(program_job(board.device, compiled, settings, folder, record, say))
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
