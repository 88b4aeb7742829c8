"""A program explained: each statement in a sentence, and each of its rows in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.program import REGISTERS, Condition, Operand, Operation, Request, Row, SampleChannel, Statistic
from reflexarc.contract.registers import WORD_BYTES
from reflexarc.programs.compile import RAMP_STEP_BITS, RAMP_STEP_MAX, Compiled
from reflexarc.programs.kinds import Kind
from reflexarc.programs.names import walk
from reflexarc.programs.sentences import CHANNELS, CONDITIONS, counted, sentence
from reflexarc.programs.source import Source
from reflexarc.programs.tree import Let, Number, Path, Repeat, Sample, Statement, WaitEvent
from reflexarc.programs.values import SCALE_ONE
from reflexarc.safety.units import show as quantity

ROW_FORMAT = "  {:>5}  {:12}  {:70}  {:>11}  {}"
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

    def by_statement(self) -> dict[Path, list[RowText]]:
        """Those of each statement; under the empty path the one that ends the program."""
        found: dict[Path, list[RowText]] = {}
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
