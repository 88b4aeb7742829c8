"""Values and comparisons as rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from reflexarc.calibration import Calibration
from reflexarc.contract.program import SCALE_FRACTION_BITS, Operand, Operation
from reflexarc.programs.assembler import Assembler, Label
from reflexarc.programs.kinds import Kind, KindError, kind_of
from reflexarc.programs.tree import (
    Clamped,
    Comparator,
    Comparison,
    Difference,
    Number,
    Read,
    Reading,
    Scaled,
    Sum,
    Value,
    Variable,
)

WORD_MAX, WORD_MIN = (1 << 31) - 1, -(1 << 31)
SCALE_ONE = 1 << SCALE_FRACTION_BITS
SCALE_MAX = (WORD_MAX + 1) // SCALE_ONE  # a factor is less
LARGE = 1 << 14  # a count is multiplied by this first where its factor is too large: up to 131,071 times 29 bits
READINGS = {
    Reading.CURRENT: Operand.CURRENT, Reading.MONITOR: Operand.MONITOR, Reading.X: Operand.X, Reading.Y: Operand.Y, Reading.Z: Operand.Z,
    Reading.BIAS: Operand.BIAS, Reading.CLOCK: Operand.CLOCK, Reading.LINE: Operand.LINE, Reading.EVENTS: Operand.EVENTS,
}  # fmt: skip
OPPOSITE = {
    Comparator.LESS: Comparator.AT_LEAST, Comparator.AT_LEAST: Comparator.LESS, Comparator.GREATER: Comparator.AT_MOST,
    Comparator.AT_MOST: Comparator.GREATER, Comparator.EQUAL: Comparator.NOT_EQUAL, Comparator.NOT_EQUAL: Comparator.EQUAL,
}  # fmt: skip
JUMPS = {
    Comparator.LESS: Operation.LESS, Comparator.GREATER: Operation.LESS, Comparator.AT_LEAST: Operation.NOT_LESS,
    Comparator.AT_MOST: Operation.NOT_LESS, Comparator.EQUAL: Operation.EQUAL, Comparator.NOT_EQUAL: Operation.NOT_EQUAL,
}  # fmt: skip
SWAPPED = (Comparator.GREATER, Comparator.AT_MOST)


def raw_constant(number: Number, kind: Kind, calibration: Calibration) -> int:
    """KindError for what the sequencer's words can't hold."""
    value = kind.to_raw(calibration, number.value)
    if not WORD_MIN - 0.5 < value < WORD_MAX + 0.5:  # false for NaN too
        low, high = (kind.to_physical(calibration, end) for end in (WORD_MIN, WORD_MAX))
        raise KindError(f"{number.value:g} {number.unit} is outside {low:g} to {high:g} {number.unit}")
    return round(value)


@dataclass
class Values:
    """What a program's names are, and rows for what is computed from them."""

    calibration: Calibration
    out: Assembler
    kinds: dict[str, Kind] = field(default_factory=dict)
    registers: dict[str, int] = field(default_factory=dict)
    fields: dict[str, int] = field(default_factory=dict)  # operands of the event that is being looked at, by their names

    @contextmanager
    def operand(self, value: Value, kind: Kind, constant: bool = True) -> Iterator[tuple[int, int]]:
        """Operand and row constant of ``value``; where ``constant`` says that the row's is not free for it, a register is."""
        match value:
            case Variable(name):
                yield self.fields[name] if name in self.fields else self.registers[name], 0
            case Read(what):
                yield READINGS[what], 0
            case Number() if constant:
                yield Operand.VALUE, raw_constant(value, kind, self.calibration)
            case _:
                with self.out.temporary() as register:
                    self.into(register, value, kind)
                    yield register, 0

    @contextmanager
    def pair(self, a: Value, b: Value, kind: Kind) -> Iterator[tuple[int, int, int]]:
        """Two operands and the row's constant, which is free for one of them."""
        with self.operand(a, kind, constant=not isinstance(b, Number)) as (left, one), self.operand(b, kind) as (right, other):
            yield left, right, one or other

    def into(self, register: int, value: Value, kind: Kind) -> None:
        """Rows that bring ``value`` to ``register``, which it must not use itself."""
        add = self.out.add
        match value:
            case Sum(a, b) | Difference(a, b):
                operation = Operation.ADD if isinstance(value, Sum) else Operation.SUBTRACT
                if isinstance(a, Sum | Difference | Scaled | Clamped):  # a sum of many takes one register
                    self.into(register, a, kind)
                    with self.operand(b, kind) as (right, constant):
                        add(operation, destination=register, a=register, b=right, value=constant)
                else:
                    with self.pair(a, b, kind) as (left, right, constant):
                        add(operation, destination=register, a=left, b=right, value=constant)
            case Scaled(factor, of):
                self._scale(register, factor, of, kind)
            case Clamped(of, low, high):
                self.into(register, of, kind)
                for end, stays in ((low, Operation.NOT_LESS), (high, Operation.LESS)):
                    raw, over = raw_constant(end, kind, self.calibration), Label()
                    add(stays, a=register, b=Operand.VALUE, place=over, value=raw)
                    add(Operation.ADD, destination=register, a=Operand.VALUE, value=raw)
                    self.out.place(over)
            case _:
                with self.operand(value, kind) as (operand, constant):
                    add(Operation.ADD, destination=register, a=operand, value=constant)

    def _scale(self, register: int, factor: Number, of: Value, kind: Kind) -> None:
        plain = factor.unit == ""
        times = factor.value if plain else kind.to_raw(self.calibration, factor.value)
        large = abs(times) >= SCALE_MAX
        if not abs(times) < (SCALE_MAX if plain else SCALE_MAX * LARGE):  # true for NaN too
            raise KindError(f"a factor of {f'{factor.value:g} {factor.unit}'.rstrip()} is too large")
        with self.operand(of, kind if plain else Kind.COUNT, constant=False) as (operand, _):
            if large:
                self.out.add(Operation.SCALE, destination=register, a=operand, b=Operand.VALUE, value=LARGE * SCALE_ONE)
                operand, times = register, times / LARGE
            raw = max(WORD_MIN, min(WORD_MAX, round(times * SCALE_ONE)))
            self.out.add(Operation.SCALE, destination=register, a=operand, b=Operand.VALUE, value=raw)

    def jump_where(self, comparison: Comparison, target: Label) -> None:
        """To ``target`` where ``comparison`` holds. KindError where its sides are of different kinds."""
        a, b = comparison.a, comparison.b
        kind = kind_of(Difference(a, b), self.kinds)
        if comparison.comparator in SWAPPED:
            a, b = b, a
        with self.pair(a, b, kind) as (left, right, constant):
            self.out.add(JUMPS[comparison.comparator], a=left, b=right, place=target, value=constant)

    def jump_unless(self, comparison: Comparison, target: Label) -> None:
        self.jump_where(Comparison(comparison.a, OPPOSITE[comparison.comparator], comparison.b), target)
