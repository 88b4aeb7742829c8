"""Which values are in sight at a place of a program, and how a symbol counts back to them.

Decoder and encoder walk through a program with the same `Scope`, so that what one writes the other finds.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from reflexarc.programs.canonical.symbols import BACK
from reflexarc.programs.kinds import READING_KINDS, Kind
from reflexarc.programs.tree import Clamped, Difference, Number, Read, Scaled, Sum, Value, Variable

EVENT_FIELDS = ("x", "y", "score", "class")  # in the order in which they come into sight
_ALL = frozenset(Kind)
_BY_UNIT = {unit: frozenset(kind for kind in Kind if kind.unit == unit) for unit in ("", "A", "V", "m", "s")}
_COUNT = frozenset({Kind.COUNT})
_NOT_SCALED = {Kind.CURRENT_SCORE, Kind.TIME}  # no number in their unit times a count
_Turn: TypeAlias = Callable[[str, frozenset[Kind]], tuple[str, Kind]]  # a name among values of these kinds, LookupError if there is none


class Blocks(enum.Enum):
    """How a block passes on what was given within it."""

    ONCE = enum.auto()  # hold, pause: it is done once, and all of it
    LOOP = enum.auto()  # once at least, up to where it is left
    BRANCH = enum.auto()  # perhaps not at all


@dataclass
class _Open:
    kind: Blocks
    start: int  # values that were in sight where it began
    index: bool = False  # the first value is the loop's own
    kept: int | None = None  # values that were in sight wherever the loop was left
    dead: bool = False  # nobody gets to what follows


class Scope:
    """``values``: names with their kinds, the oldest first."""

    def __init__(self) -> None:
        self.values: list[tuple[str, Kind]] = []
        self._open = [_Open(Blocks.ONCE, 0)]

    @property
    def dead(self) -> bool:
        return self._open[-1].dead

    def give(self, name: str, kind: Kind) -> None:
        self.values.append((name, kind))

    def begin(self, kind: Blocks, index: str | None = None) -> None:
        self._open.append(_Open(kind, len(self.values), index is not None))
        if index is not None:
            self.give(index, Kind.COUNT)

    def leave(self, always: bool) -> None:
        """The innermost loop is left from here."""
        kept = len(self.values)
        for block in reversed(self._open):
            if block.kind is Blocks.LOOP:
                block.kept = kept if block.kept is None else min(block.kept, kept)
                break
            if block.kind is Blocks.BRANCH:
                kept = block.start
        self._open[-1].dead |= always

    def halt(self) -> None:
        """Nobody gets to what follows in this block."""
        self._open[-1].dead = True

    def end(self) -> bool:
        """Whether nobody gets to the block's end. What follows a branch can be reached in spite of that; `halt` if not."""
        block = self._open.pop()
        if block.kind is Blocks.BRANCH:
            del self.values[block.start :]
        elif block.kind is Blocks.LOOP:
            left = block.kept is not None
            if left:
                del self.values[block.kept :]
            if block.index:
                del self.values[block.start]
            self._open[-1].dead |= block.dead and not left
        else:
            self._open[-1].dead |= block.dead
        return block.dead

    # Counting back

    def resolved(self, due: Kind | None, *values: Value) -> tuple[Kind, tuple[Value, ...]] | None:
        """``values`` of a symbol with names for what is counted back, and the kind of all of them; None if there is no sense in them.

        Counts that go beyond the oldest value begin again with the latest. Without a ``due`` kind the first count is among values of all
        kinds that fit, and makes the kind of the others.
        """
        return self._turned(due, values, self._name)

    def counted(self, due: Kind | None, *values: Value) -> tuple[Kind, tuple[Value, ...]] | None:
        """The other way round: for `resolved` to find the names that are in ``values``."""
        return self._turned(due, values, self._count)

    def _name(self, name: str, kinds: frozenset[Kind]) -> tuple[str, Kind]:
        found = [value for value in reversed(self.values) if value[1] in kinds]
        if not found:
            raise LookupError(name)
        return found[(int(name.removeprefix(BACK)) - 1) % len(found)]

    def _count(self, name: str, kinds: frozenset[Kind]) -> tuple[str, Kind]:
        found = [value for value in reversed(self.values) if value[1] in kinds]
        for place, value in enumerate(found, 1):
            if value[0] == name:
                return f"{BACK}{place}", value[1]
        raise LookupError(name)

    def _turned(self, due: Kind | None, values: tuple[Value, ...], turn: _Turn) -> tuple[Kind, tuple[Value, ...]] | None:
        kinds = _ALL if due is None else frozenset({due})
        for value in values:
            kinds &= _possible(value)
        turning = _Turning(turn, kinds)
        try:
            turned = tuple(turning.value(value) for value in values)
            (kind,) = turning.kinds
        except (LookupError, ValueError):  # there is no such value, or more than one kind is left
            return None
        return kind, turned


@dataclass
class _Turning:
    """Replaces names in the order in which they stand; the first of them says which of ``kinds`` the others are of."""

    turn: _Turn
    kinds: frozenset[Kind]

    def value(self, value: Value, count: bool = False) -> Value:
        match value:
            case Variable(name):
                found = self.turn(name, _COUNT if count else self.kinds)
                if not count:
                    self.kinds = frozenset({found[1]})
                return Variable(found[0])
            case Sum(a, b):
                return Sum(self.value(a, count), self.value(b, count))
            case Difference(a, b):
                return Difference(self.value(a, count), self.value(b, count))
            case Scaled(factor, of):
                return Scaled(factor, self.value(of, count or factor.unit != ""))
            case Clamped(of, low, high):
                return Clamped(self.value(of, count), low, high)
        return value


def _possible(value: Value) -> frozenset[Kind]:
    """Kinds that ``value`` may be as far as its form says."""
    match value:
        case Number(_, unit):
            return _BY_UNIT[unit]
        case Variable():
            return _ALL
        case Read(what):
            return frozenset({READING_KINDS[what]})
        case Sum(a, b) | Difference(a, b):
            return _possible(a) & _possible(b)
        case Scaled(Number(_, ""), of):
            return _possible(of)
        case Scaled(factor, of):
            return _possible(factor) - _NOT_SCALED if Kind.COUNT in _possible(of) else frozenset()
        case Clamped(of, low, high):
            return _possible(of) & _possible(low) & _possible(high)
