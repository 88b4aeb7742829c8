"""`Program`: a program as an experimentalist says it, in Python.

>>> with Program("count samples") as p:
...     with p.repeat(up_to=3):
...         i0 = p.sample(current, mean_of=8)
...         p.stop_if(i0 > 1e-9)
...     p.emit("done", i0)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import NoReturn

from reflexarc.contract.program import Condition, SampleChannel, Statistic
from reflexarc.errors import BadInput
from reflexarc.programs.kinds import CHANNEL_KINDS, READING_KINDS, Kind, event_fields, parameter
from reflexarc.programs.names import used, within
from reflexarc.programs.tokens import NAME, RESERVED
from reflexarc.programs.tree import (
    Clamped,
    Comparator,
    Comparison,
    Difference,
    During,
    Emit,
    EventType,
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
    Read,
    Reading,
    Repeat,
    Return,
    Sample,
    Scaled,
    Score,
    Set,
    StartScan,
    Statement,
    StopScan,
    Sum,
    Value,
    Variable,
    Wait,
    WaitEvent,
    WaitFor,
    WaitSamples,
    WaitUntil,
)

_COMPARISONS = {
    "lt": Comparator.LESS, "le": Comparator.AT_MOST, "gt": Comparator.GREATER, "ge": Comparator.AT_LEAST, "eq": Comparator.EQUAL,
    "ne": Comparator.NOT_EQUAL,
}  # fmt: skip


class Test:
    """A comparison that the sequencer will make; Python can't know how it ends."""

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison

    def __bool__(self) -> NoReturn:
        raise BadInput("a comparison within a program has no value yet; use p.when(...) or p.stop_if(...)")


@dataclass(frozen=True, eq=False)
class Term:
    """A value of a program, of a kind; numbers beside it are in the kind's SI unit."""

    value: Value
    kind: Kind

    def _value(self, other: Term | float) -> Value:
        return other.value if isinstance(other, Term) else Number(float(other), self.kind.unit)

    def __add__(self, other: Term | float) -> Term:
        if not isinstance(other, Term) and other < 0:
            return self - -other
        return Term(Sum(self.value, self._value(other)), self.kind)

    def __radd__(self, other: float) -> Term:
        return Term(Sum(self._value(other), self.value), self.kind)

    def __sub__(self, other: Term | float) -> Term:
        return Term(Difference(self.value, self._value(other)), self.kind)

    def __rsub__(self, other: float) -> Term:
        return Term(Difference(self._value(other), self.value), self.kind)

    def __mul__(self, factor: float) -> Term:
        return Term(Scaled(Number(float(factor), ""), self.value), self.kind)

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Term:
        return self * (1 / divisor)

    def clamped(self, low: float, high: float) -> Term:
        """Held between the two."""
        return Term(Clamped(self.value, Number(float(low), self.kind.unit), Number(float(high), self.kind.unit)), self.kind)

    def _compared(self, comparator: Comparator, other: Term | float) -> Test:
        return Test(Comparison(self.value, comparator, self._value(other)))

    def __lt__(self, other: Term | float) -> Test:
        return self._compared(Comparator.LESS, other)

    def __le__(self, other: Term | float) -> Test:
        return self._compared(Comparator.AT_MOST, other)

    def __gt__(self, other: Term | float) -> Test:
        return self._compared(Comparator.GREATER, other)

    def __ge__(self, other: Term | float) -> Test:
        return self._compared(Comparator.AT_LEAST, other)

    def __eq__(self, other: Term | float) -> Test:  # type: ignore[override]
        return self._compared(Comparator.EQUAL, other)

    def __ne__(self, other: Term | float) -> Test:  # type: ignore[override]
        return self._compared(Comparator.NOT_EQUAL, other)

    __hash__ = None  # type: ignore[assignment]


def _reading(what: Reading) -> Term:
    return Term(Read(what), READING_KINDS[what])


current, monitor, z = _reading(Reading.CURRENT), _reading(Reading.MONITOR), _reading(Reading.Z)
x, y, bias = _reading(Reading.X), _reading(Reading.Y), _reading(Reading.BIAS)
clock, line, events = _reading(Reading.CLOCK), _reading(Reading.LINE), _reading(Reading.EVENTS)
_CHANNELS = {Reading.CURRENT: SampleChannel.CURRENT, Reading.MONITOR: SampleChannel.MONITOR, Reading.Z: SampleChannel.Z}


def steps(step: float, index: Term, kind: Term) -> Term:
    """``step`` times a loop's ``index``, of the kind of ``kind``: ``steps(1e-9, i, x)``."""
    return Term(Scaled(Number(float(step), kind.kind.unit), index.value), kind.kind)


def event(name: str, class_id: int, score: Score = Score.NUMBER) -> EventType:
    """A class of events that programs wait for."""
    return EventType(name, class_id, score)


@dataclass(frozen=True)
class Hit:
    """An event that came."""

    x: Term
    y: Term
    score: Term
    class_id: Term


class Program:
    """Statements in the order of the calls; ``tree`` is what they make, once the block is left."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._events: dict[str, EventType] = {}
        self._open: list[list[Statement]] = [[]]
        self._names: set[str] = set()
        self._tree: ProgramTree | None = None

    def __enter__(self) -> Program:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._tree = ProgramTree(self._name, tuple(self._open[0]), tuple(self._events.values()))

    @property
    def tree(self) -> ProgramTree:
        """BadInput before the program's block is left."""
        if self._tree is None:
            raise BadInput("a program is complete once its 'with' block is left")
        return self._tree

    # Pieces

    def _add(self, statement: Statement) -> None:
        self._open[-1].append(statement)

    def _new_name(self, wanted: str | None, stem: str) -> str:
        """``wanted``, or a name that is free. BadInput for what can't be one."""
        if wanted is not None and not NAME.fullmatch(wanted):
            raise BadInput(f"{wanted!r} is no name; accepted: up to 40 letters, digits and _, a letter first")
        if wanted in RESERVED:
            raise BadInput(f"{wanted!r} means something else in a program; choose another name")
        name = wanted or next(name for number in range(1, len(self._names) + 2) if (name := f"{stem}{number}") not in self._names)
        self._names.add(name)
        return name

    @contextmanager
    def _block(self) -> Iterator[list[Statement]]:
        self._open.append([])
        yield self._open[-1]
        self._open.pop()

    # Values

    def sample(
        self,
        channel: Term,
        *,
        mean_of: int | None = None,
        least_of: int | None = None,
        greatest_of: int | None = None,
        name: str | None = None,
    ) -> Term:
        """Mean, least or greatest of so many samples of `current`, `monitor` or `z` from now on."""
        counts = {Statistic.MEAN: mean_of, Statistic.LEAST: least_of, Statistic.GREATEST: greatest_of}
        asked = [(statistic, count) for statistic, count in counts.items() if count is not None]
        sampled = _CHANNELS.get(channel.value.what) if isinstance(channel.value, Read) else None
        if len(asked) != 1 or sampled is None:
            raise BadInput("sample takes current, monitor or z, and one of mean_of, least_of and greatest_of")
        ((statistic, count),) = asked
        into = self._new_name(name, "s")
        self._add(Sample(into, sampled, statistic, count))
        return Term(Variable(into), CHANNEL_KINDS[sampled])

    def let(self, value: Term, name: str | None = None) -> Term:
        """``value`` as it is now, kept."""
        into = self._new_name(name, "v")
        self._add(Let(into, value.value))
        return Term(Variable(into), value.kind)

    def assign(self, variable: Term, value: Term | float) -> None:
        """Another value to what `let` or `sample` gave."""
        if not isinstance(variable.value, Variable):
            raise BadInput("only what let or sample gave can be assigned to")
        self._add(Let(variable.value.name, variable._value(value)))

    # Outputs and parameters

    def _target(self, target: Term | str) -> str:
        return "bias" if isinstance(target, Term) and target.value == Read(Reading.BIAS) else str(target)

    def set(self, target: Term | str, value: Term | float) -> None:
        """`bias`, "setpoint" or a register ("feedback.kp"), in its unit."""
        name = self._target(target)
        self._add(Set(name, value.value if isinstance(value, Term) else Number(float(value), parameter(name).unit)))

    def ramp(self, target: Term | str, to: Term | float, rate: float) -> None:
        """From where it stands, by ``rate`` units a second, and wait until it is there."""
        name = self._target(target)
        self._add(Ramp(name, to.value if isinstance(to, Term) else Number(float(to), parameter(name).unit), float(rate)))

    def pulse(self, target: Term, *, to_V: Term | float, for_s: float, rise_s: float = 0.0, settle_s: float = 0.0) -> None:
        """The bias to ``to_V`` for a counted time, then as it was; ``settle_s`` more under the limits of a pulse."""
        if self._target(target) != "bias":
            raise BadInput("a pulse is one of bias")
        self._add(Pulse(bias._value(to_V), float(for_s), float(rise_s), float(settle_s)))

    def expose(self, for_s: float) -> None:
        """Unblank for a counted time."""
        self._add(During(Line.BEAM, float(for_s)))

    def blank(self, for_s: float) -> None:
        self._add(During(Line.BLANK, float(for_s)))

    def trigger(self, for_s: float) -> None:
        self._add(During(Line.TRIGGER, float(for_s)))

    # Time and events

    def wait(self, seconds: float) -> None:
        self._add(Wait(float(seconds)))

    def wait_samples(self, count: int) -> None:
        self._add(WaitSamples(count))

    def mark(self) -> None:
        """`clock` and `wait_until` count from here."""
        self._add(Mark())

    def wait_until(self, seconds: float) -> None:
        """Until so long after `mark`; later than that already is a trip."""
        self._add(WaitUntil(float(seconds)))

    def wait_event(self, awaited: EventType, *, timeout_s: float, name: str | None = None, **conditions: Term | float) -> Hit:
        """The first event of its class with all ``conditions``: ``score__gt=50e-12``, ``x__lt=3e-9`` ...; what comes after is said by
        `otherwise`."""
        if self._events.setdefault(awaited.name, awaited) != awaited:
            raise BadInput(f"event {awaited.name!r} was something else above")
        into = self._new_name(name, "hit")
        kinds = event_fields(awaited.score)
        fields = {field: Term(Variable(f"{into}.{field}"), kind) for field, kind in kinds.items()}
        tests = []
        for condition, value in conditions.items():
            field, _, comparator = condition.partition("__")
            if field not in fields or comparator not in _COMPARISONS:
                raise BadInput(f"{condition!r} is no condition; accepted: {', '.join(fields)}, each with __{', __'.join(_COMPARISONS)}")
            tests.append(fields[field]._compared(_COMPARISONS[comparator], value).comparison)
        self._add(WaitEvent(into, awaited.name, tuple(tests), float(timeout_s)))
        return Hit(fields["x"], fields["y"], fields["score"], fields["class"])

    def wait_for(self, condition: Condition, *, timeout_s: float) -> None:
        self._add(WaitFor(condition, float(timeout_s)))

    # Tip and scan

    def move_to(self, to_x: Term | float, to_y: Term | float, *, speed_m_per_s: float) -> None:
        """The tip beside the scan's place, with the scan paused until `back`."""
        self._add(Move(x._value(to_x), y._value(to_y), float(speed_m_per_s)))

    def back(self) -> None:
        """The tip to where the scan is; the scan goes on."""
        self._add(Return())

    @contextmanager
    def feedback_held(self, settle_s: float = 0.0) -> Iterator[None]:
        with self._block() as body:
            yield
        self._add(Hold(float(settle_s), tuple(body)))

    def height(self, z_m: Term | float, *, speed_m_per_s: float) -> None:
        """z so far above (away from the surface) or below where the feedback was held."""
        self._add(Height(z._value(z_m), float(speed_m_per_s)))

    @contextmanager
    def scan_paused(self) -> Iterator[None]:
        with self._block() as body:
            yield
        self._add(Pause(tuple(body)))

    def start_scan(self) -> None:
        self._add(StartScan())

    def stop_scan(self) -> None:
        self._add(StopScan())

    # What comes after what

    @contextmanager
    def repeat(self, up_to: int | None = None, name: str | None = None) -> Iterator[Term]:
        """``up_to`` times, or until `stop`; gives the number of the turn, from 0."""
        index = self._new_name(name, "n")
        with self._block() as body:
            yield Term(Variable(index), Kind.COUNT)
        counted = name or any(index in used(statement) for statement in within(tuple(body)))
        self._add(Repeat(up_to, tuple(body), index if counted else None))

    @contextmanager
    def when(self, test: Test) -> Iterator[None]:
        with self._block() as body:
            yield
        self._add(If(test.comparison, tuple(body)))

    @contextmanager
    def otherwise(self) -> Iterator[None]:
        """What is done where the `when` before it does not hold, or where what the wait before it awaited did not come in time."""
        last = self._open[-1][-1] if self._open[-1] else None
        if not isinstance(last, If | WaitEvent | WaitFor):
            raise BadInput("otherwise stands directly behind when, wait_event or wait_for")
        with self._block() as body:
            yield
        self._open[-1][-1] = replace(last, otherwise=tuple(body))

    def stop_if(self, test: Test) -> None:
        """Leave the innermost repeat."""
        self._add(Leave(test.comparison))

    def stop(self) -> None:
        self._add(Leave())

    def emit(self, tag: str, *values: Term) -> None:
        """A record for the host."""
        self._add(Emit(tag, tuple(value.value for value in values)))

    def halt(self, reason: str) -> None:
        self._add(Halt(reason))
