"""What a program does when, for a picture: its statements one after another, each repeat for one turn, each time at its longest.

Time is cut into steps. A statement has one, or as many as it has phases; those that take no time have one of 0 s, so that each has its place.
Both ways of a decision stand one behind the other.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from reflexarc.contract.program import Condition
from reflexarc.programs.compile import Compiled
from reflexarc.programs.intervals import Box, Interval, Ranges, Standing, joined
from reflexarc.programs.kinds import BIAS_NAMES, Kind, parameter
from reflexarc.programs.names import walk, within
from reflexarc.programs.text import statement_line
from reflexarc.programs.tree import (
    Block,
    Comparison,
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
    Path,
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
    Value,
    Wait,
    WaitEvent,
    WaitFor,
    WaitSamples,
    WaitUntil,
    blocks,
)

OTHERWISE = "otherwise"


class Lane(enum.Enum):
    """Where it happens, from the top of the picture to its bottom."""

    DECISIONS = "decisions"
    WAITS = "waits"
    BIAS = "bias"
    FEEDBACK = "feedback"
    HEIGHT = "height"
    TIP = "tip"
    SCAN = "scan"
    BEAM = "beam"
    BLANK = "blank"
    TRIGGER = "trigger"
    VALUES = "values"
    PARAMETERS = "parameters"
    RECORDS = "records"


class Shape(enum.Enum):
    MOMENT = "moment"  # at the beginning of its step
    SPAN = "span"  # all of its steps
    AWAITED = "awaited"  # all of them at most: what is awaited may come before


LINES = {Line.BEAM: Lane.BEAM, Line.BLANK: Lane.BLANK, Line.TRIGGER: Lane.TRIGGER}


@dataclass(frozen=True)
class Step:
    """``seconds``: at the longest. ``exact``: it always takes so long. ``apart``: it does not follow the step to its left."""

    path: Path
    seconds: float
    exact: bool = True
    awaited: bool = False
    apart: bool = False


@dataclass(frozen=True)
class Span:
    """What a lane shows from the step ``first`` to ``last``, both included."""

    lane: Lane
    shape: Shape
    first: int
    last: int
    text: str
    path: Path


@dataclass(frozen=True)
class Bracket:
    """The steps of a block; ``depth`` counts those around it."""

    first: int
    last: int
    text: str
    path: Path
    depth: int


@dataclass(frozen=True)
class Course:
    """Between which values something lies at the beginning and at the end of a step."""

    begin: Interval
    end: Interval


@dataclass(frozen=True)
class Timeline:
    """``bias`` (V) and ``height`` (m above where the feedback was held, None where it is not) have one entry a step."""

    tree: ProgramTree
    steps: tuple[Step, ...]
    spans: tuple[Span, ...]
    brackets: tuple[Bracket, ...]
    bias: tuple[Course, ...]
    height: tuple[Course | None, ...]

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Those in which something happens."""
        used = {span.lane for span in self.spans}
        return tuple(lane for lane in Lane if lane in used)


def value_text(value: Value, tree: ProgramTree) -> str:
    """A value as it stands in the program's text."""
    return statement_line(Let("v", value), tree).removeprefix("v = ")


def comparison_text(comparison: Comparison, tree: ProgramTree) -> str:
    return statement_line(Leave(comparison), tree).removeprefix("leave if ")


def condition_text(condition: Condition) -> str:
    return condition.name.lower().replace("_", " ")


def timeline(compiled: Compiled, bias_V: float) -> Timeline:
    """Of a program that begins with the bias at ``bias_V`` and the tip anywhere in the scanner's range."""
    drawer = _Drawer(compiled)
    drawer.block(compiled.tree.body, (), _State(Interval(bias_V, bias_V), drawer.ranges.scan))
    drawer.close()
    return Timeline(
        compiled.tree, tuple(drawer.steps), tuple(drawer.spans), tuple(drawer.brackets), tuple(drawer.bias), tuple(drawer.height)
    )


@dataclass(frozen=True)
class _State:
    """Where things stand; an interval where that can't be said."""

    bias: Interval
    tip: Box
    height: Interval | None = None

    def joined(self, other: _State) -> _State:
        height = self.height.joined(other.height) if self.height is not None and other.height is not None else None
        return _State(self.bias.joined(other.bias), self.tip.joined(other.tip), height)


def _way(begin: Interval, end: Interval) -> tuple[float, bool]:
    """The longest way from one to the other, and whether it is always that one."""
    longest = max(abs(end.high - begin.low), abs(begin.high - end.low))
    return longest, begin.low == begin.high and end.low == end.high


@dataclass
class _Drawer:
    compiled: Compiled
    steps: list[Step] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    brackets: list[Bracket] = field(default_factory=list)
    bias: list[Course] = field(default_factory=list)
    height: list[Course | None] = field(default_factory=list)
    depth: int = 0
    apart: bool = False
    paused: dict[int, Path] = field(default_factory=dict)  # steps with the scan paused, each with the statement that did
    pausing: Path | None = None
    away: tuple[int, Path] | None = None  # step of the move that the tip has not come back from
    speed_m_per_s: float = math.inf  # of the last move
    marked: int = 0  # step from which the clock counts

    def __post_init__(self) -> None:
        self.tree, self.calibration = self.compiled.tree, self.compiled.calibration
        reach_x, reach_y = self.calibration.x_range_m, self.calibration.y_range_m
        self.ranges = Ranges(self.calibration, Box(Interval(-reach_x, reach_x), Interval(-reach_y, reach_y)))
        self.known = {name: self.ranges.of_kind(kind) for name, kind in self.compiled.kinds.items()}
        given: dict[str, int] = {}
        for _, statement in walk(self.tree):
            match statement:
                case Let(into) | Sample(into):
                    given[into] = given.get(into, 0) + 1
                case Repeat(count, _, index) if index is not None and count is not None:
                    self.known[index] = Interval(0, count - 1)
        # What is given once is what it was given, wherever it is used.
        self.once = {name for name, count in given.items() if count == 1}

    # Pieces

    def step(
        self, path: Path, state: _State, seconds: float = 0.0, *, to: _State | None = None, exact: bool = True, awaited: bool = False
    ) -> int:
        """One more; its number."""
        after = to or state
        self.steps.append(Step(path, seconds, exact, awaited, self.apart))
        self.apart = False
        self.bias.append(Course(state.bias, after.bias))
        self.height.append(Course(state.height, after.height) if state.height is not None and after.height is not None else None)
        number = len(self.steps) - 1
        if self.pausing is not None:
            self.paused[number] = self.pausing
        elif self.away is not None:
            self.paused[number] = self.away[1]
        return number

    def span(self, lane: Lane, shape: Shape, first: int, text: str, last: int | None = None) -> None:
        self.spans.append(Span(lane, shape, first, len(self.steps) - 1 if last is None else last, text, self.steps[first].path))

    def moment(self, lane: Lane, path: Path, state: _State, text: str) -> None:
        self.span(lane, Shape.MOMENT, self.step(path, state), text)

    def bracket(self, first: int, text: str, path: Path) -> None:
        self.brackets.append(Bracket(first, len(self.steps) - 1, text, path, self.depth))

    def close(self) -> None:
        """What lasts to the end, and what lasted over several statements."""
        if self.away is not None:
            self.comes_back()
        for first, last, path in _runs(self.paused):
            self.spans.append(Span(Lane.SCAN, Shape.SPAN, first, last, "paused", path))

    def comes_back(self) -> None:
        assert self.away is not None
        first, path = self.away
        if len(self.steps) - 1 > first:
            self.spans.append(Span(Lane.TIP, Shape.SPAN, first, len(self.steps) - 1, "", path))
        self.away = None

    def value(self, value: Value, kind: Kind, state: _State) -> Interval:
        return self.ranges.of_value(value, kind, self.known, Standing(state.tip, state.bias))

    def words(self, value: Value) -> str:
        return value_text(value, self.tree)

    def samples_s(self, count: int) -> float:
        return count * self.calibration.sample_period_s

    # Ways

    def block(self, body: Block, path: Path, state: _State) -> _State | None:
        """Where things stand behind it; None if nobody gets there."""
        ended = False
        for index, statement in enumerate(body):
            after = self.statement(statement, (*path, index), state)
            ended = ended or after is None
            state = after or state
        return None if ended else state

    def statement(self, statement: Statement, path: Path, state: _State) -> _State | None:
        match statement:
            case If():
                return self.choose(statement, path, state)
            case Repeat():
                return self.repeat(statement, path, state)
            case Leave(comparison):
                self.moment(Lane.DECISIONS, path, state, "leave" if comparison is None else "leave if")
                return None if comparison is None else state
            case Halt(reason):
                self.moment(Lane.DECISIONS, path, state, f'halt "{reason}"')
                return None
            case Hold():
                return self.hold(statement, path, state)
            case Pause(body):
                before, self.pausing = self.pausing, path
                self.step(path, state)
                after = self.block(body, (*path, 0), state)
                self.pausing = before
                return after
            case WaitEvent() | WaitFor():
                return self.wait(statement, path, state)
            case Set() | Ramp() | Pulse() | Height():
                return self.output(statement, path, state)
            case Move() | Return():
                return self.travel(statement, path, state)
        self.simple(statement, path, state)
        return state

    def choose(self, choice: If, path: Path, state: _State) -> _State | None:
        self.moment(Lane.DECISIONS, path, state, "if")
        ends = []
        for number, (block, text) in enumerate(
            zip(blocks(choice), (f"if {comparison_text(choice.comparison, self.tree)}", OTHERWISE), strict=True)
        ):
            if number == 0 or block:
                ends.append(self.inner(block, (*path, number), state, text, path))
                self.apart = True
            else:
                ends.append(state)
        return joined(ends)

    def inner(self, block: Block, path: Path, state: _State, text: str, owner: Path) -> _State | None:
        """A block with a bracket of its own, from its first statement on."""
        first = len(self.steps)
        self.depth += 1
        after = self.block(block, path, state)
        self.depth -= 1
        if len(self.steps) == first:
            self.step(owner, state)
        self.bracket(first, text, owner)
        return after

    def repeat(self, repeat: Repeat, path: Path, state: _State) -> _State | None:
        first = self.step(path, state)
        begin = state
        for after in self.outcomes(repeat.body, state):
            begin = begin.joined(after)
        self.apart = True
        self.depth += 1
        end = self.block(repeat.body, (*path, 0), begin)
        self.depth -= 1
        times = "until it is left" if repeat.count is None else f"{repeat.count} times"
        self.bracket(first, times if repeat.index is None else f"{times} with {repeat.index}", path)
        self.apart = True
        leaves = any(isinstance(one, Leave) for one in within(repeat.body))
        return end or (begin if leaves else None)

    def outcomes(self, body: Block, state: _State) -> Iterator[_State]:
        """Where the statements of a loop may have brought things before a turn begins."""
        for statement in within(body):
            match statement:
                case Let(into, value) if into in self.once:
                    self.known[into] = self.value(value, self.compiled.kinds[into], state)
                case Set(name, value) | Ramp(name, value) if name in BIAS_NAMES:
                    yield replace(state, bias=self.value(value, Kind.BIAS, state))
                case Height(z) if state.height is not None:
                    yield replace(state, height=self.value(z, Kind.Z, state))
                case Move(x, y):
                    yield replace(state, tip=Box(self.value(x, Kind.X, state), self.value(y, Kind.Y, state)))
                case Return():
                    yield replace(state, tip=self.ranges.scan)

    def hold(self, hold: Hold, path: Path, state: _State) -> _State | None:
        held = replace(state, height=Interval(0.0, 0.0))
        first = self.step(path, held, hold.settle_s)
        after = self.block(hold.body, (*path, 0), held)
        self.span(Lane.FEEDBACK, Shape.SPAN, first, "held")
        if any(isinstance(one, Height) for one in within(hold.body)):
            self.span(Lane.HEIGHT, Shape.SPAN, first, "")
        return replace(after, height=None) if after is not None else None

    def wait(self, wait: WaitEvent | WaitFor, path: Path, state: _State) -> _State | None:
        what = wait.event if isinstance(wait, WaitEvent) else condition_text(wait.condition)
        number = self.step(path, state, wait.timeout_s, exact=False, awaited=True)
        self.span(Lane.WAITS, Shape.AWAITED, number, what)
        self.span(Lane.DECISIONS, Shape.MOMENT, number, "wait for")
        if wait.otherwise is None:
            return state
        self.apart = True
        late = self.inner(wait.otherwise, (*path, 0), state, f"{OTHERWISE}, after the time-out", path)
        self.apart = True
        return joined([state, late])

    # What a statement does

    def output(self, statement: Set | Ramp | Pulse | Height, path: Path, state: _State) -> _State:
        match statement:
            case Set(name, value) if name in BIAS_NAMES:
                after = replace(state, bias=self.value(value, Kind.BIAS, state))
                self.span(Lane.BIAS, Shape.MOMENT, self.step(path, after), self.words(value))
                return after
            case Ramp(name, to, rate) if name in BIAS_NAMES:
                after = replace(state, bias=self.value(to, Kind.BIAS, state))
                way, exact = _way(state.bias, after.bias)
                self.span(Lane.BIAS, Shape.SPAN, self.step(path, state, way / rate, to=after, exact=exact), f"to {self.words(to)}")
                return after
            case Set(name, value):
                self.moment(Lane.PARAMETERS, path, state, f"{name} {self.words(value)}")
            case Ramp(name, to, rate):
                register = parameter(name).register
                low, high = (self.calibration.to_physical(register, end) for end in (register.low, register.high))
                self.span(
                    Lane.PARAMETERS, Shape.SPAN, self.step(path, state, (high - low) / rate, exact=False), f"{name} to {self.words(to)}"
                )
            case Pulse():
                self.pulse(statement, path, state)
            case Height(z, speed):
                assert state.height is not None  # the compiler has seen to it
                after = replace(state, height=self.value(z, Kind.Z, state))
                assert after.height is not None
                way, exact = _way(state.height, after.height)
                self.span(Lane.HEIGHT, Shape.MOMENT, self.step(path, state, way / speed, to=after, exact=exact), self.words(z))
                return after
        return state

    def pulse(self, pulse: Pulse, path: Path, state: _State) -> None:
        there = replace(state, bias=self.value(pulse.to_V, Kind.BIAS, state))
        first = len(self.steps)
        if pulse.rise_s:
            self.step(path, state, pulse.rise_s, to=there)
        top = self.step(path, there, pulse.for_s)
        if pulse.rise_s:
            self.step(path, there, pulse.rise_s, to=state)
        self.span(Lane.BIAS, Shape.SPAN, first, "")
        self.span(Lane.BIAS, Shape.SPAN, top, f"pulse {self.words(pulse.to_V)}", top)
        if pulse.settle_s:
            self.span(Lane.WAITS, Shape.SPAN, self.step(path, state, pulse.settle_s), "settle")

    def travel(self, statement: Move | Return, path: Path, state: _State) -> _State:
        if isinstance(statement, Move):
            x, y = statement.x, statement.y
            tip, text = Box(self.value(x, Kind.X, state), self.value(y, Kind.Y, state)), f"to {self.words(x)}, {self.words(y)}"
            self.speed_m_per_s = statement.speed_m_per_s
            self.away = self.away or (len(self.steps), path)
        else:
            tip, text = self.ranges.scan, "back"
        ways = [_way(state.tip.x, tip.x), _way(state.tip.y, tip.y)]
        after = replace(state, tip=tip)
        seconds = max(way for way, _ in ways) / self.speed_m_per_s
        number = self.step(path, state, seconds, to=after, exact=all(exact for _, exact in ways))
        if isinstance(statement, Return) and self.away is not None:
            self.comes_back()
        self.span(Lane.TIP, Shape.SPAN, number, text, number)
        return after

    def simple(self, statement: Statement, path: Path, state: _State) -> None:
        match statement:
            case Sample(into, channel, statistic, count):
                text = f"{into} = {statistic.name.lower()} of {count} {channel.name.lower()}"
                self.span(Lane.VALUES, Shape.SPAN, self.step(path, state, self.samples_s(count)), text)
            case Let(into, value):
                if into in self.once:
                    self.known[into] = self.value(value, self.compiled.kinds[into], state)
                self.moment(Lane.VALUES, path, state, f"{into} = {self.words(value)}")
            case Wait(seconds):
                self.span(Lane.WAITS, Shape.SPAN, self.step(path, state, seconds), "wait")
            case WaitSamples(count):
                self.span(Lane.WAITS, Shape.SPAN, self.step(path, state, self.samples_s(count)), f"{count} samples")
            case Mark():
                self.moment(Lane.WAITS, path, state, "mark")
                self.marked = len(self.steps)
            case WaitUntil(seconds):
                since = self.steps[self.marked :]
                number = self.step(
                    path, state, max(0.0, seconds - sum(step.seconds for step in since)), exact=all(step.exact for step in since)
                )
                self.span(Lane.WAITS, Shape.SPAN, number, f"until {statement_line(statement, self.tree).removeprefix('wait until ')}")
            case During(line, for_s):
                self.span(LINES[line], Shape.SPAN, self.step(path, state, for_s), line.value)
            case StartScan():
                self.moment(Lane.SCAN, path, state, "start")
            case StopScan():
                self.moment(Lane.SCAN, path, state, "stop")
            case Emit(tag):
                self.moment(Lane.RECORDS, path, state, tag)


def _runs(steps: dict[int, Path]) -> Iterator[tuple[int, int, Path]]:
    """Steps that follow each other, as first, last and the path of the first."""
    first = None
    for number in sorted(steps):
        if first is None:
            first = number
        if number + 1 not in steps:
            yield first, number, steps[first]
            first = None
