"""What a value can be: from where to where, in SI units."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self, TypeVar

from reflexarc.calibration import Calibration
from reflexarc.programs.kinds import READING_KINDS, Kind
from reflexarc.programs.tree import Clamped, Difference, Number, Read, Reading, Scaled, Sum, Value, Variable
from reflexarc.programs.values import WORD_MAX, WORD_MIN
from reflexarc.safety.units import show

LINES_MAX = (1 << 16) - 1


class Interval(NamedTuple):
    low: float
    high: float

    def joined(self, other: Interval) -> Interval:
        return Interval(min(self.low, other.low), max(self.high, other.high))

    def within(self, other: Interval) -> bool:
        return other.low <= self.low and self.high <= other.high

    def clipped(self, to: Interval) -> Interval:
        return Interval(*(min(max(end, to.low), to.high) for end in self))

    @property
    def magnitude(self) -> float:
        """The greatest."""
        return max(abs(self.low), abs(self.high))

    def shown(self, unit: str) -> str:
        """For people."""
        low, high = (show(end, unit, 3) for end in self)
        return low if low == high else f"{low} to {high}"

    @property
    def least_magnitude(self) -> float:
        return 0.0 if self.low <= 0 <= self.high else min(abs(self.low), abs(self.high))


@dataclass(frozen=True)
class Box:
    """Where the tip can be."""

    x: Interval
    y: Interval

    def joined(self, other: Box) -> Box:
        return Box(self.x.joined(other.x), self.y.joined(other.y))


class Joinable(Protocol):
    """What holds at a place to which several ways lead."""

    def joined(self, other: Self) -> Self: ...


J = TypeVar("J", bound=Joinable)


def joined(ways: Iterable[J | None]) -> J | None:
    """What holds whichever of ``ways`` was taken; None is a way that leads nowhere."""
    taken = [way for way in ways if way is not None]
    return functools.reduce(lambda one, other: one.joined(other), taken) if taken else None


@dataclass(frozen=True)
class Standing:
    """Where the outputs are that can be read."""

    tip: Box
    bias: Interval


@dataclass(frozen=True)
class Ranges:
    """What is read and computed on one instrument; ``scan`` is where events and the scan's positions lie."""

    calibration: Calibration
    scan: Box

    def words(self, kind: Kind) -> Interval:
        """What the sequencer's words can hold."""
        ends = []
        for raw in (WORD_MIN, WORD_MAX):
            try:
                ends.append(kind.to_physical(self.calibration, raw))
            except OverflowError:  # behind a logarithmic preamplifier
                ends.append(math.copysign(math.inf, raw))
        return Interval(*ends)

    def of_kind(self, kind: Kind) -> Interval:
        """What can be measured, or lie in an event."""
        scale = self.calibration
        match kind:
            case Kind.CURRENT:
                return Interval(-scale.current_range_A, scale.current_range_A)
            case Kind.MONITOR:
                return Interval(-scale.adc_full_scale_V, scale.adc_full_scale_V)
            case Kind.BIAS:
                return Interval(-scale.dac_full_scale_V, scale.dac_full_scale_V - scale.bias_V_per_code)  # the last code
            case Kind.X:
                return self.scan.x
            case Kind.Y:
                return self.scan.y
            case Kind.Z:
                return Interval(-scale.z_range_m, scale.z_range_m)
            case Kind.TIME:
                return Interval(0.0, self.words(kind).high)
        return self.words(kind)

    def of_reading(self, what: Reading, now: Standing) -> Interval:
        match what:
            case Reading.X:
                return now.tip.x
            case Reading.Y:
                return now.tip.y
            case Reading.BIAS:
                return now.bias
            case Reading.LINE:
                return Interval(0, LINES_MAX)
            case Reading.EVENTS:
                return Interval(0, WORD_MAX)
        return self.of_kind(READING_KINDS[what])

    def of_value(self, value: Value, kind: Kind, known: Mapping[str, Interval], now: Standing) -> Interval:
        """``known`` has all names that ``value`` uses."""
        match value:
            case Number(number):
                return Interval(number, number)
            case Variable(name):
                return known[name]
            case Read(what):
                return self.of_reading(what, now)
            case Sum(a, b):
                left, right = (self.of_value(side, kind, known, now) for side in (a, b))
                found = Interval(left.low + right.low, left.high + right.high)
            case Difference(a, b):
                left, right = (self.of_value(side, kind, known, now) for side in (a, b))
                found = Interval(left.low - right.high, left.high - right.low)
            case Scaled(factor, of):
                inner = self.of_value(of, kind if factor.unit == "" else Kind.COUNT, known, now)
                ends = sorted(factor.value * end for end in inner)
                found = Interval(ends[0], ends[1])
            case Clamped(of, low, high):
                inner = self.of_value(of, kind, known, now)
                found = Interval(min(max(inner.low, low.value), high.value), min(max(inner.high, low.value), high.value))
        return found.clipped(self.words(kind))
