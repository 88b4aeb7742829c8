"""How a symbol's statement fits where it stands: clipped, shortened, with what it costs and what holds then.

All that is counted (rows, time, pulses) is counted in whole numbers, and nothing depends on what was left out before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from reflexarc.calibration import PreampKind
from reflexarc.contract.program import BANK_ROWS
from reflexarc.programs.canonical.bounds import (
    EDGE_CODES,
    RATE_LEAST_V_PER_S,
    RATE_MOST_V_PER_S,
    Extremes,
    Instrument,
    rounded,
)
from reflexarc.programs.canonical.scope import EVENT_FIELDS, Scope
from reflexarc.programs.canonical.symbols import HALTS_MAX
from reflexarc.programs.intervals import Interval
from reflexarc.programs.kinds import CHANNEL_KINDS, Kind, event_fields
from reflexarc.programs.tokens import MAX_CLASS
from reflexarc.programs.tree import (
    Clamped,
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
    Statement,
    Sum,
    Value,
    Variable,
    Wait,
    WaitEvent,
    WaitFor,
    WaitSamples,
    WaitUntil,
)
from reflexarc.programs.verify import CYCLES, OTHER_CYCLES

ROWS_MAX = BANK_ROWS - 2  # less the one that ends the program
ROW_CYCLES = max(*CYCLES.values(), OTHER_CYCLES)  # of any row, beside what it waits for
LOOPS_MAX = 3  # within each other: the verifier's passes multiply
BLOCKS_MAX = 8  # within each other
VALUES_MAX = 8  # in sight: of 16 registers, 3 may count loops and 5 may be needed for one statement
THOUGHT_MAX = 4000  # statements that the verifier looks at, at so many passes through each loop: some 30 ms
PASSES = 8
EMISSIONS_MAX = 250  # tags are numbered up to 255
SAMPLES_MAX = 65535
TIME_LEAST_S = 100e-9
TURN_LEAST_S = 5e-6  # of a loop's turn there is room for, however many are asked for
HELD_MOST_S = 50e-3  # that the feedback is held: 5 pm of a drift of 100 pm/s, 13 % of the current
REST_S = 20e-6  # before the feedback goes on: seven time constants of a preamplifier of 50 kHz
RISE_MOST_S = 100e-6
LOOK_SAMPLES = 10  # that a way takes beside its own time
SPEED_MARGIN = 1.05  # steps are rounded
HEIGHT_LEAST_M_PER_S = 10e-9
LIFT_M = 500e-12  # that a height which is computed may have if nothing else is said
BIAS_SHARE = 0.8  # of the bias at the start, and its inverse: what a computed bias may be if nothing else is said


class Cost(NamedTuple):
    """Of a statement, with all its turns; ``cycles`` and what follows in cycles of the sequencer."""

    rows: int
    cycles: int
    thought: int = 0
    pulses: int = 0
    pulse_cycles: int = 0
    exposed_cycles: int = 0

    def plus(self, other: Cost) -> Cost:
        return Cost(
            self.rows + other.rows,
            self.cycles + other.cycles,
            self.thought + other.thought,
            self.pulses + other.pulses,
            self.pulse_cycles + other.pulse_cycles,
            self.exposed_cycles + other.exposed_cycles,
        )


class Due(NamedTuple):
    """What must come before the feedback that is held goes on."""

    height: bool = False  # back to where it was
    bias: bool = False  # back to one that it may go on with
    rest: bool = False
    high_m: float = 0.0  # greatest distance from where it was held, so far
    speed_m_per_s: float = 0.0  # of the last height


class State(NamedTuple):
    used: Cost
    extremes: Extremes
    due: Due | None = None  # None: the feedback is on
    roamed_m: float = 0.0  # at most so far from where the scan is
    slowest_m_per_s: float = math.inf
    names: int = 0
    emissions: int = 0
    events: tuple[EventType, ...] = ()
    halts: tuple[int, ...] = ()  # numbers of the reasons so far


@dataclass
class Open:
    """A block that is open."""

    opener: Statement | None  # None: the program itself
    before: State
    turns: int  # of the block in all
    body: list[Statement] = field(default_factory=list)
    begun_cycles: int = 0  # of its statement's own rows
    spent_cycles: int = 0  # within it, in a turn
    marked: int | None = None  # spent when the clock began anew; None: unknown
    then: tuple[Statement, ...] | None = None  # of an if whose else has begun
    before_else: State | None = None
    then_dead: bool = False
    hidden: list[tuple[str, Kind]] = field(default_factory=list)  # what an event gives if it comes


class Fit(NamedTuple):
    """A statement as it fits, what it costs in a turn of its block, and what holds then."""

    statement: Statement
    rows: int
    seconds: float
    state: State
    more: Cost = Cost(0, 0)  # pulses and exposure, with all turns
    given: tuple[tuple[str, Kind], ...] = ()


class Fitting:
    """A program as far as it has come: its open blocks, the values in sight, what it has used."""

    def __init__(self, instrument: Instrument, longest_s: float) -> None:
        self.instrument = instrument
        self.calibration = instrument.calibration
        self.sample_s = instrument.calibration.sample_period_s
        self.limit = (
            ROWS_MAX, int(longest_s / instrument.cycle_s), THOUGHT_MAX, instrument.pulses, instrument.pulse_cycles, instrument.exposed_cycles,
        )  # fmt: skip
        self.scope = Scope()
        self.state = State(Cost(0, 0), instrument.start)
        self.total = self.state.used  # with what is due
        self.blocks = [Open(None, self.state, 1, marked=0)]  # the innermost last
        self.loops = 0

    @property
    def block(self) -> Open:
        return self.blocks[-1]

    @property
    def own(self) -> bool:
        """Whether a statement here stands directly in the hold, so that what it does holds at the hold's end."""
        return isinstance(self.block.opener, Hold)

    def within(self, kind: type[Statement]) -> bool:
        return any(isinstance(block.opener, kind) for block in self.blocks)

    # Costs

    def cost(self, fit: Fit) -> Cost | None:
        """None if it does not fit beside what is still due."""
        turns = self.block.turns
        cycles = fit.rows * ROW_CYCLES + self.instrument.cycles(fit.seconds)
        cost = Cost(fit.rows, turns * cycles, PASSES**self.loops).plus(fit.more)
        total = fit.state.used.plus(cost).plus(self.reserve(fit.state))
        fits = all(part <= most for part, most in zip(total, self.limit, strict=True)) and total.cycles <= self.cycles_most
        return cost if fits else None

    @property
    def cycles_most(self) -> float:
        """In all; within a hold what may be used by its end."""
        hold = next((block for block in self.blocks if isinstance(block.opener, Hold)), None)
        if hold is None:
            return self.limit[1]
        held = hold.turns * self.instrument.cycles(HELD_MOST_S)
        return min(self.limit[1], hold.before.used.cycles + self.home_cycles(hold.before) + held)

    def restore(self, state: State) -> None:
        """With what is due anew, which depends on the loops that are open."""
        self.state = state
        self.total = state.used.plus(self.reserve(state))

    @property
    def room(self) -> bool:
        """Whether a row more fits here and somebody gets here."""
        total, limit = self.total, self.limit
        return not (
            self.scope.dead
            or total.rows >= limit[0]
            or total.cycles + ROW_CYCLES * self.block.turns > self.cycles_most
            or total.thought + PASSES**self.loops > limit[2]
        )

    def reserve(self, state: State) -> Cost:
        """For what is due, and for the tip's way back to where the scan is."""
        cost = Cost(0, self.home_cycles(state))
        if state.due is not None:
            turns = self.hold_turns
            for _, rows, seconds in self.what_is_due(state.due):
                cycles = rows * ROW_CYCLES + self.instrument.cycles(seconds)
                cost = cost.plus(Cost(rows, turns * cycles, PASSES**self.loops))
        return cost

    def home_cycles(self, state: State) -> int:
        return self.instrument.cycles(self.way_s(state.roamed_m, state.slowest_m_per_s)) if state.roamed_m else 0

    @property
    def hold_turns(self) -> int:
        return next((block.turns for block in self.blocks if isinstance(block.opener, Hold)), self.block.turns)

    def what_is_due(self, due: Due) -> list[tuple[Statement, int, float]]:
        """Statements with their rows and seconds."""
        found: list[tuple[Statement, int, float]] = []
        if due.height:
            back = Height(Number(0.0, "m"), due.speed_m_per_s)
            found.append((back, 4 + _rows(back.z_m), self.way_s(due.high_m, due.speed_m_per_s)))
        if due.bias:
            found.append((Set("bias", Number(self.instrument.given.bias_V, "V")), 2, 0.0))
        if due.bias or due.rest:
            found.append((Wait(REST_S), 1, REST_S))
        return found

    def left_s(self, state: State, rows: int) -> float:
        """What a statement of so many rows may take in a turn."""
        cycles = self.cycles_most - state.used.cycles - self.reserve(state).cycles
        return (cycles // self.block.turns - rows * ROW_CYCLES) * self.instrument.cycle_s

    def shorter(self, wanted_s: float, rows: int, least_s: float, state: State) -> float | None:
        """``wanted_s`` or what is left, None if that is less than ``least_s``."""
        wanted_s = max(wanted_s, least_s)
        left_s = self.left_s(state, rows)
        found = wanted_s if wanted_s <= left_s else rounded(left_s)
        return found if found >= least_s else None

    def way_s(self, way_m: float, speed_m_per_s: float) -> float:
        return way_m / speed_m_per_s * SPEED_MARGIN + LOOK_SAMPLES * self.sample_s

    # Statements

    def fitted_block(self, statement: Hold | Pause | Repeat | If) -> Fit | None:
        state = self.state
        match statement:
            case Hold(settle):
                settle_s = None if state.due is not None else self.shorter(min(settle, HELD_MOST_S / 2), 9, 0.0, state)
                return None if settle_s is None else Fit(Hold(settle_s, ()), 9, settle_s, state._replace(due=Due()))
            case Pause():
                return None if self.within(Pause) else Fit(statement, 2, 0.0, state)
            case If(comparison):
                compared = self._comparison(comparison)
                return None if compared is None else Fit(If(compared, ()), _compared_rows(compared), 0.0, state)
            case Repeat(count, _, index):
                assert count is not None
                if self.loops == LOOPS_MAX or (index is not None and len(self.scope.values) == VALUES_MAX):
                    return None
                turn_s = 2 * ROW_CYCLES * self.instrument.cycle_s
                count = min(max(count, 1), int(max(self.left_s(state, 4), 0.0) / (turn_s + TURN_LEAST_S)))
                if index is not None:
                    state, index = state._replace(names=state.names + 1), f"v{state.names + 1}"
                return Fit(Repeat(count, (), index), 4, count * turn_s, state) if count else None

    def fitted(self, statement: Statement) -> Fit | None:
        state, held = self.state, self.state.due is not None
        match statement:
            case Sample() | Let() | Emit():
                return self._fitted_values(statement)
            case Set() | Ramp() | Pulse() | Height():
                return self._fitted_output(statement)
            case Wait(seconds):
                wanted = self._wait(max(seconds, TIME_LEAST_S))
                if self.cost(wanted) is not None:  # it may be what is due
                    return wanted
                found = self.shorter(seconds, 1, TIME_LEAST_S, state)
                return None if found is None else self._wait(found)
            case WaitSamples(count):
                count = self._samples(count)
                return Fit(WaitSamples(count), 1, (count + 1) * self.sample_s, self._rested(count * self.sample_s)) if count else None
            case Mark():
                return Fit(statement, 1, 0.0, state)
            case WaitUntil(seconds):
                return self._fitted_until(seconds)
            case During(line, for_s):
                for_s_ = self.shorter(for_s, 6, self.instrument.counted_s, state)
                if for_s_ is None:
                    return None
                exposed = self.instrument.cycles(for_s_ + self.instrument.given.limits.blanker_delay_s) if line is Line.BEAM else 0
                return Fit(During(line, for_s_), 6, for_s_, state, Cost(0, 0, exposed_cycles=self.block.turns * exposed))
            case Leave(comparison):
                return self._fitted_leave(comparison)
            # What follows would go on, or end, with the feedback held.
            case Halt(number) if not held:
                return self._fitted_halt(int(number))
            case WaitFor(condition, timeout_s) if not held:
                found = self.shorter(timeout_s, 8, TIME_LEAST_S, state)
                return None if found is None else Fit(WaitFor(condition, found), 8, found, state)
            case WaitEvent() if not held:
                return self._fitted_event(statement)
            case Move() if not held:
                return self._fitted_move(statement)
            case Return() if not held and state.roamed_m:
                return Fit(statement, 8, LOOK_SAMPLES * self.sample_s, state)
        return None

    def _wait(self, seconds: float) -> Fit:
        return Fit(Wait(seconds), 1, seconds, self._rested(seconds))

    def _samples(self, wanted: int) -> int:
        """Or what is left, 0 for none."""
        return max(min(max(wanted, 1), SAMPLES_MAX, int(self.left_s(self.state, 1) / self.sample_s) - 2), 0)

    def _rested(self, seconds: float) -> State:
        state = self.state
        if state.due is not None and self.own and seconds >= REST_S:
            return state._replace(due=state.due._replace(rest=False))
        return state

    def _comparison(self, comparison: Comparison) -> Comparison | None:
        found = self.scope.resolved(None, comparison.a, comparison.b)
        if found is None:
            return None
        kind, (a, b) = found
        return Comparison(self.instrument.constants(a, kind), comparison.comparator, self.instrument.constants(b, kind))

    def _fitted_values(self, statement: Sample | Let | Emit) -> Fit | None:
        state = self.state
        if not isinstance(statement, Emit) and len(self.scope.values) == VALUES_MAX:
            return None
        into = f"v{state.names + 1}"
        named = state._replace(names=state.names + 1)
        match statement:
            case Sample(_, channel, statistic, count):
                count = self._samples(count)
                after = self._rested(count * self.sample_s)._replace(names=state.names + 1)
                given = ((into, CHANNEL_KINDS[channel]),)
                sample = Sample(into, channel, statistic, count)
                return Fit(sample, 1, (count + 1) * self.sample_s, after, given=given) if count else None
            case Let(_, value):
                found = self.scope.resolved(None, value)
                if found is None:
                    return None
                kind, (value,) = found
                value = self.instrument.constants(value, kind)
                return Fit(Let(into, value), 1 + _rows(value), 0.0, named, given=((into, kind),))
            case Emit(_, values):
                if state.emissions == EMISSIONS_MAX:
                    return None
                emitted: list[Value] = []
                for value in values:
                    found = self.scope.resolved(None, value)
                    if found is None:
                        return None
                    kind, (value,) = found
                    emitted.append(self.instrument.constants(value, kind))
                after = state._replace(emissions=state.emissions + 1)
                rows = 2 + sum(1 + _rows(value) for value in emitted)
                return Fit(Emit(f"r{after.emissions}", tuple(emitted)), rows, 0.0, after)

    def _fitted_until(self, seconds: float) -> Fit | None:
        """Late is a trip: a tenth more than what came since the mark takes at most."""
        block = self.block
        if block.marked is None:
            return None
        since_s = (block.spent_cycles - block.marked + ROW_CYCLES) * self.instrument.cycle_s
        least_s = rounded((since_s + LOOK_SAMPLES * self.sample_s) * 1.1, down=False)
        due_s = max(seconds, least_s)
        return Fit(WaitUntil(due_s), 1, due_s, self.state)

    def _fitted_leave(self, comparison: Comparison | None) -> Fit | None:
        around = next((block.opener for block in reversed(self.blocks) if isinstance(block.opener, Hold | Repeat)), None)
        if not isinstance(around, Repeat):
            return None
        if comparison is None:
            return Fit(Leave(), 4, 0.0, self.state)
        compared = self._comparison(comparison)
        return None if compared is None else Fit(Leave(compared), 4 + _compared_rows(compared), 0.0, self.state)

    def _fitted_halt(self, number: int) -> Fit | None:
        """Reasons are numbered as they come."""
        halts = self.state.halts
        if number not in halts:
            halts = (*halts, number)
        if len(halts) > HALTS_MAX:
            return None
        return Fit(Halt(f"halt {halts.index(number) + 1}"), 2, 0.0, self.state._replace(halts=halts))

    def _fitted_event(self, statement: WaitEvent) -> Fit | None:
        state = self.state
        if len(self.scope.values) + len(EVENT_FIELDS) > VALUES_MAX:
            return None
        class_id, score = statement.event.split(":")
        wanted = EventType("", min(max(int(class_id), 0), MAX_CLASS), Score(score))
        if wanted.score is Score.CURRENT and self.calibration.preamp.kind is not PreampKind.LINEAR:
            return None  # a difference of codes, which is no current behind a logarithmic preamplifier
        event = next((one for one in state.events if (one.class_id, one.score) == (wanted.class_id, wanted.score)), None)
        if event is None:
            event = replace(wanted, name=f"e{len(state.events) + 1}")
            state = state._replace(events=(*state.events, event))
        into, fields = f"v{state.names + 1}", event_fields(event.score)
        conditions = []
        for condition in statement.conditions:
            assert isinstance(condition.a, Variable) and isinstance(condition.b, Number)
            kind = fields[condition.a.name]
            if kind.unit != condition.b.unit:
                return None
            conditions.append(
                Comparison(Variable(f"{into}.{condition.a.name}"), condition.comparator, self.instrument.constants(condition.b, kind))
            )
        rows = 12 + 2 * len(conditions)
        timeout_s = self.shorter(statement.timeout_s, rows, TIME_LEAST_S, state)
        if timeout_s is None:
            return None
        given = tuple((f"{into}.{name}", fields[name]) for name in EVENT_FIELDS)
        found = WaitEvent(into, event.name, tuple(conditions), timeout_s)
        return Fit(found, rows, timeout_s, state._replace(names=state.names + 1), given=given)

    # Bias, feedback, tip

    def _fitted_output(self, statement: Set | Ramp | Pulse | Height) -> Fit | None:
        if isinstance(statement, Height):
            return self._fitted_height(statement)
        if isinstance(statement, Set) and statement.parameter == "setpoint":
            assert isinstance(statement.value, Number)
            setpoint_A, extremes = self.instrument.setpoint(self.state.extremes, statement.value.value)
            return Fit(Set("setpoint", Number(setpoint_A, "A")), 1, 0.0, self.state._replace(extremes=extremes))
        wanted = statement.value if isinstance(statement, Set) else statement.to if isinstance(statement, Ramp) else statement.to_V
        found = self._bias(wanted)
        if found is None:
            return None
        value, extremes, clean = found
        state = self.state._replace(extremes=extremes)
        if isinstance(statement, Pulse):
            return self._fitted_pulse(replace(statement, to_V=value), state)
        if state.due is not None:
            state = state._replace(due=state.due._replace(bias=not clean or (state.due.bias and not self.own), rest=True))
        if isinstance(statement, Set):
            return Fit(Set("bias", value), 1 + _rows(value), 0.0, state)
        rate = min(max(statement.rate, RATE_LEAST_V_PER_S), RATE_MOST_V_PER_S)
        return Fit(Ramp("bias", value, rate), 3 + _rows(value), self.way_s(2 * extremes.most_V, rate), state)

    def _bias(self, wanted: Value) -> tuple[Value, Extremes, bool] | None:
        """A bias that is allowed here, and whether the feedback may go on with it. What is computed is held between two that are allowed."""
        found = self.scope.resolved(Kind.BIAS, wanted)
        if found is None:
            return None
        value = self.instrument.constants(found[1][0], Kind.BIAS)
        held, extremes = self.state.due is not None, self.state.extremes
        if isinstance(value, Number):
            allowed = self.instrument.bias(extremes, value.value, held)
            return None if allowed is None else (Number(allowed[0], "V"), allowed[1], self.instrument.is_on(extremes, allowed[0]))
        inner, ends = _unclamped(value)
        start_V = self.instrument.given.bias_V
        default = sorted((-abs(start_V), abs(start_V)) if held else (BIAS_SHARE * start_V, start_V / BIAS_SHARE))
        if ends is None or any(self.instrument.bias(extremes, end, held) is None for end in ends):
            ends = default
        allowed_V = []
        for end in ends:
            allowed = self.instrument.bias(extremes, end, held)
            assert allowed is not None
            allowed_V.append(allowed[0])
            extremes = allowed[1]
        clean = all(self.instrument.is_on(self.state.extremes, one) for one in allowed_V)
        return Clamped(inner, Number(allowed_V[0], "V"), Number(allowed_V[1], "V")), extremes, clean

    def _fitted_pulse(self, pulse: Pulse, state: State) -> Fit | None:
        rise_s, settle_s = min(max(pulse.rise_s, 0.0), RISE_MOST_S), max(pulse.settle_s, 0.0)
        longest_s = rounded(0.95 * self.instrument.given.limits.pulse_s - 2 * rise_s - settle_s)
        for_s = min(max(pulse.for_s, self.instrument.counted_s), longest_s)
        if for_s < self.instrument.counted_s:
            return None
        total_s = for_s + 2 * rise_s + settle_s
        turns = self.block.turns
        more = Cost(0, 0, pulses=turns, pulse_cycles=turns * self.instrument.cycles(total_s))
        if state.due is not None and settle_s < REST_S:
            state = state._replace(due=state.due._replace(rest=True))
        seconds = SPEED_MARGIN * total_s + 2 * self.sample_s
        return Fit(Pulse(pulse.to_V, for_s, rise_s, settle_s), 22 + _rows(pulse.to_V), seconds, state, more)

    def _fitted_height(self, height: Height) -> Fit | None:
        state, found = self.state, self.scope.resolved(Kind.Z, height.z_m)
        if state.due is None or found is None:
            return None
        speed = min(max(height.speed_m_per_s, HEIGHT_LEAST_M_PER_S), self.instrument.height_m_per_s)
        value, extremes, ends_m = self.instrument.constants(found[1][0], Kind.Z), state.extremes, []
        inner, ends = _unclamped(value)
        for end in [value.value] if isinstance(value, Number) else ends or (0.0, LIFT_M):
            allowed = self.instrument.height(extremes, end, speed)
            if allowed is None:
                return None
            ends_m.append(allowed[0])
            extremes = allowed[1]
        to = Number(ends_m[0], "m") if isinstance(value, Number) else Clamped(inner, Number(ends_m[0], "m"), Number(ends_m[1], "m"))
        most_m = max(abs(end) for end in ends_m)
        high_m = max(state.due.high_m, most_m)
        back = to == Number(0.0, "m") and self.own
        due = state.due._replace(height=not back, high_m=high_m, speed_m_per_s=speed)
        way_s = self.way_s(most_m + state.due.high_m, speed)
        return Fit(Height(to, speed), 4 + _rows(to), way_s, state._replace(extremes=extremes, due=due))

    def _fitted_move(self, move: Move) -> Fit | None:
        area, state = self.instrument.area, self.state
        found = self.instrument.speed(state.extremes, move.speed_m_per_s)
        if area is None or found is None:
            return None
        speed, extremes = found
        scales = (self.calibration.x_m_per_code, self.calibration.y_m_per_code)
        places: list[Value] = []
        way_m = 0.0
        for wanted, kind, reading, reach, code in (
            (move.x, Kind.X, Reading.X, area.x, scales[0]),
            (move.y, Kind.Y, Reading.Y, area.y, scales[1]),
        ):
            resolved = self.scope.resolved(kind, wanted)
            if resolved is None:
                return None
            place, way = _place(self.instrument.constants(resolved[1][0], kind), reading, reach, 2 * EDGE_CODES * code)
            places.append(place)
            way_m = max(way_m, way)
        # The step is one of codes for both axes: the one of fewer metres a code is slower.
        way_m *= max(scales) / min(scales)
        most_m = max(area.x.high - area.x.low, area.y.high - area.y.low) * max(scales) / min(scales)
        after = state._replace(
            extremes=extremes,
            roamed_m=min(state.roamed_m + self.block.turns * way_m, most_m),
            slowest_m_per_s=min(state.slowest_m_per_s, speed),
        )
        rows = 8 + sum(map(_rows, places))
        return Fit(Move(places[0], places[1], speed), rows, self.way_s(way_m, speed), after)


def _unclamped(value: Value) -> tuple[Value, list[float] | None]:
    """What is within a clamp, and its ends."""
    return (value.of, [value.low.value, value.high.value]) if isinstance(value, Clamped) else (value, None)


def _place(value: Value, reading: Reading, reach: Interval, slack_m: float) -> tuple[Value, float]:
    """``value`` within ``reach``, and how far it is at most from where the tip is."""
    extent_m = reach.high - reach.low + slack_m
    if isinstance(value, Number):
        return Number(min(max(value.value, reach.low), reach.high), "m"), extent_m
    if value == Read(reading):
        return value, 0.0
    inner, ends = _unclamped(value)
    low, high = (min(max(end, reach.low), reach.high) for end in ends or reach)
    way_m = extent_m
    # Relative to where the tip is, and no nearer end in between.
    if ends is None or (low, high) == reach:
        match inner:
            case Sum(Read(what), Number(step)) | Difference(Read(what), Number(step)) if what is reading:
                way_m = min(abs(step) + slack_m, extent_m)
    return Clamped(inner, Number(low, "m"), Number(high, "m")), way_m


def _rows(value: Value) -> int:
    """That ``value`` takes at most."""
    match value:
        case Sum(a, b) | Difference(a, b):
            return 1 + _rows(a) + _rows(b)
        case Scaled(_, of):
            return 2 + _rows(of)
        case Clamped(of):
            return 4 + _rows(of)
    return 1


def _compared_rows(comparison: Comparison) -> int:
    return 2 + _rows(comparison.a) + _rows(comparison.b)
