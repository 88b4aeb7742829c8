"""What a program can do at worst, and whether that is safe. A convenience: the guarantee is the interlock.

All ways through the program are followed at once, with an interval for each value. What is assumed beside the limits stands in `Assumptions`.
The tunnelling current is taken to be proportional to the bias and to rise by exp(2 * WORST_DECAY_PER_M * d) where z is d nearer (J. Tersoff and
D. R. Hamann, Phys. Rev. B 31, 805 (1985), for small biases); feedback holds it at the setpoint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from reflexarc.calibration import Calibration
from reflexarc.calibration.calibration import ELEMENTARY_CHARGE_C
from reflexarc.contract.blocks.interlock import Cause
from reflexarc.contract.program import Operation
from reflexarc.programs.compile import Compiled, CompileError, compile_program
from reflexarc.programs.intervals import Box, Interval, Ranges, Standing, joined
from reflexarc.programs.kinds import BIAS_NAMES, CHANNEL_KINDS, Kind, event_fields
from reflexarc.programs.names import used, walk
from reflexarc.programs.tree import (
    Block,
    During,
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
    Path,
    Pause,
    ProgramTree,
    Pulse,
    Ramp,
    Repeat,
    Return,
    Sample,
    Set,
    Statement,
    Value,
    Wait,
    WaitEvent,
    WaitFor,
    WaitSamples,
    WaitUntil,
)
from reflexarc.safety.limits import Limits
from reflexarc.safety.units import show

WORST_DECAY_PER_M = 1.2e10  # of a wave function at a work function of 5.5 eV
MARGIN = 0.8  # of a limit that a current may reach: noise, drift, what the feedback has not yet settled
FOLLOWED_M = 0.5e-9  # way of the tip in 1 / bandwidth that feedback follows: 2 um/s at 4 kHz
SETTLING = 2.0  # times 1 / bandwidth: then a change of the current has gone to exp(-4 pi) of itself
FOLLOWED_ROOM = math.log(16)  # of the current up to its limit, with which that holds
OVERSHOOT_S = 3e-6  # times its speed z goes on where it stops: 1 / (2 pi f) of a resonance at 60 kHz
PREAMP_S = 20e-6  # until the current of a pulse is gone, behind a preamplifier of 50 kHz
LIFTED_M = 1e-9  # least height for a move with the feedback held
VISITS_MAX = 200_000  # of statements, passes through loops counted
LOOPS_MAX = 8  # nested
JOINS = 3  # passes through a loop before what still grows is taken to be anything
NARROWINGS = 3  # passes that take back what was taken to be more than it can be
TURNS_MAX = 100  # passes through a loop; each widens one thing at least, and there are fewer
CYCLES = {
    Operation.SCALE: 38, Operation.WRITE: 20, Operation.READ: 20, Operation.MARK: 4, Operation.EMIT: 40, Operation.RAMP: 40,
    Operation.WAIT_CYCLES: 4, Operation.WAIT_UNTIL: 4, Operation.WAIT_SAMPLES: 4, Operation.SAMPLE: 42, Operation.WAIT: 8,
}  # of a row at most, beside what it waits for; see the sequencer's page  # fmt: skip
OTHER_CYCLES = 7  # a jump that is taken, with a hazard


@dataclass(frozen=True)
class Assumptions:
    """How the instrument stands when the program begins: feedback on and settled, tip where the scan is."""

    calibration: Calibration
    limits: Limits
    setpoint_A: float = 100e-12
    bias_V: float = 0.5
    bandwidth_Hz: float = 4e3
    frame: Box | None = None  # where the scan stays; None: anywhere in the interlock's box
    tip: bool = True  # False: a beam; nothing is said of current, bias and feedback


@dataclass(frozen=True)
class Finding:
    """``risk``: it may be meant, but can't be shown to be safe. Otherwise the program is refused."""

    path: Path
    text: str
    risk: bool = False


@dataclass(frozen=True)
class Bounds:
    """At worst, for a program without faults. Infinite where it has no end."""

    rows: int
    time_s: float
    between_waits_s: float
    pulses: float
    exposed_s: float
    dose_e: float
    x: Interval
    y: Interval
    nearest_m: float  # below where the feedback was held
    bias: Interval
    current_A: float  # beside pulses
    pulse_current_A: float


@dataclass(frozen=True)
class Verdict:
    compiled: Compiled | None  # None if it does not compile
    findings: tuple[Finding, ...]
    bounds: Bounds | None  # None with a fault

    @property
    def faults(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if not finding.risk)

    @property
    def risks(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.risk)


def verify(tree: ProgramTree, assumptions: Assumptions) -> Verdict:
    """Never raises for a program that can be written; what can't be shown safe is a finding."""
    try:
        compiled = compile_program(tree, assumptions.calibration)
    except CompileError as error:
        return Verdict(None, (Finding(error.path, error.text),), None)
    walker = _Walker(compiled, assumptions)
    try:
        bounds = walker.run()
    except _TooInvolved as error:
        walker.findings.append(Finding((), str(error)))
        bounds = None
    findings = tuple(dict.fromkeys(walker.findings))
    return Verdict(compiled, findings, bounds if not any(not finding.risk for finding in findings) else None)


class _TooInvolved(Exception):
    pass


@dataclass(frozen=True)
class _State:
    """What holds at a place, whichever way led there."""

    known: dict[str, Interval]  # names that have been given
    bias: Interval
    setpoint: Interval
    tip: Box
    height: Interval | None = None  # above where the feedback was held; None: it is on
    held_bias: Interval | None = None
    level_A: float = 0.0  # that the current has at most with the feedback on, or had when it was held
    settles_s: float = 0.0  # until the feedback has brought it to the setpoint
    away_m_per_s: float = 0.0  # with which the tip would go home; 0: it is there
    strayed: bool = False  # moved while held: nobody knows what is below
    since_mark_s: float = 0.0  # at most
    since_wait_s: float = 0.0
    waited: bool = False  # since the innermost loop's turn began
    marked: bool = False

    def joined(self, other: _State) -> _State:
        names = self.known.keys() & other.known.keys()
        return _State(
            {name: self.known[name].joined(other.known[name]) for name in names},
            self.bias.joined(other.bias),
            self.setpoint.joined(other.setpoint),
            self.tip.joined(other.tip),
            joined([self.height, other.height]),
            joined([self.held_bias, other.held_bias]),
            max(self.level_A, other.level_A),
            max(self.settles_s, other.settles_s),
            max(self.away_m_per_s, other.away_m_per_s),
            self.strayed or other.strayed,
            max(self.since_mark_s, other.since_mark_s),
            max(self.since_wait_s, other.since_wait_s),
            self.waited and other.waited,
            self.marked and other.marked,
        )


@dataclass(frozen=True)
class _Cost:
    time_s: float = 0.0
    pulses: float = 0.0
    exposed_s: float = 0.0

    def __add__(self, other: _Cost) -> _Cost:
        return _Cost(self.time_s + other.time_s, self.pulses + other.pulses, self.exposed_s + other.exposed_s)

    def times(self, count: float) -> _Cost:
        return _Cost(*(count * part if part else 0.0 for part in (self.time_s, self.pulses, self.exposed_s)))

    def most(self, other: _Cost) -> _Cost:
        return _Cost(max(self.time_s, other.time_s), max(self.pulses, other.pulses), max(self.exposed_s, other.exposed_s))


@dataclass
class _Seen:
    """Extremes over all ways."""

    between_waits_s: float = 0.0
    bias: Interval | None = None
    tip: Box | None = None
    nearest_m: float = 0.0
    current_A: float = 0.0
    pulse_current_A: float = 0.0


@dataclass
class _Walker:
    compiled: Compiled
    given: Assumptions
    findings: list[Finding] = field(default_factory=list)
    seen: _Seen = field(default_factory=_Seen)
    leaving: list[list[_State]] = field(default_factory=list)  # of each loop that is open
    visits: int = 0

    def __post_init__(self) -> None:
        limits, scale = self.given.limits, self.given.calibration
        self.limits, self.calibration = limits, scale
        self.box = Box(
            _ends(limits.x_low_m, limits.x_high_m, scale.x_range_m, scale.x_m_per_code),
            _ends(limits.y_low_m, limits.y_high_m, scale.y_range_m, scale.y_m_per_code),
        )
        self.ranges = Ranges(scale, self.given.frame or self.box)
        self.overhead_s: dict[Path, float] = {}
        for row, path in zip(self.compiled.rows, self.compiled.origins, strict=True):
            cycles = CYCLES.get(Operation(row.operation), OTHER_CYCLES)
            self.overhead_s[path] = self.overhead_s.get(path, 0.0) + scale.seconds(cycles)
        self.window_A = min(abs(limits.current_high_A), abs(limits.current_low_A))
        self.pulse_window_A = min(abs(limits.pulse_current_high_A), abs(limits.pulse_current_low_A))
        moves = [statement.speed_m_per_s for _, statement in walk(self.compiled.tree) if isinstance(statement, Move)]
        self.slowest_m_per_s = min(moves, default=math.inf)
        self.settling_s = SETTLING / self.given.bandwidth_Hz
        self.bias_min_V = limits.bias_min_V if self.given.tip and Cause.BIAS_LOW in limits.conditions else 0.0

    def run(self) -> Bounds:
        start = _State(
            {},
            Interval(self.given.bias_V, self.given.bias_V),
            Interval(self.given.setpoint_A, self.given.setpoint_A),
            self.ranges.scan,
            level_A=self.given.setpoint_A,
        )
        self.seen.bias, self.seen.tip = start.bias, start.tip
        self.seen.current_A = self.given.setpoint_A if self.given.tip else 0.0
        end, cost = self.block(self.compiled.tree.body, (), start)
        if end is not None:
            self.ends(end, (len(self.compiled.tree.body) - 1,))
        self.totals(cost)
        seen = self.seen
        assert seen.bias is not None and seen.tip is not None
        return Bounds(
            len(self.compiled.rows), cost.time_s, seen.between_waits_s, cost.pulses, cost.exposed_s, self.dose_e(cost), seen.tip.x, seen.tip.y,
            seen.nearest_m, seen.bias, seen.current_A, seen.pulse_current_A,
        )  # fmt: skip

    def fault(self, path: Path, text: str, risk: bool = False) -> None:
        self.findings.append(Finding(path, text, risk))

    def dose_e(self, cost: _Cost) -> float:
        return cost.exposed_s * self.limits.beam_A / ELEMENTARY_CHARGE_C if cost.exposed_s else 0.0

    def totals(self, cost: _Cost) -> None:
        limits = self.limits
        if math.isinf(cost.pulses):
            self.fault(self.first(Pulse), "this may be repeated without end; give the repeat around it a count")
        elif limits.pulses is not None and cost.pulses > limits.pulses:
            self.fault(self.first(Pulse), f"up to {cost.pulses:g} pulses in all; the limit of this tip is {limits.pulses:g}")
        if math.isinf(cost.exposed_s):
            self.fault(self.first(During), "this may be repeated without end; give the repeat around it a count")
            return
        for name in ("pixel_dose_e", "frame_dose_e", "region_dose_e"):
            most = getattr(limits, name)
            if most is not None and self.dose_e(cost) > most:
                self.fault(self.first(During), f"up to {self.dose_e(cost):.4g} electrons in all; {name} is {most:.4g}")

    def first(self, kind: type) -> Path:
        return next((path for path, statement in walk(self.compiled.tree) if isinstance(statement, kind)), ())

    # Ways

    def block(self, body: Block, path: Path, state: _State | None) -> tuple[_State | None, _Cost]:
        """What holds behind ``body``, None if nobody gets there; what it costs at most."""
        total = _Cost()
        for index, statement in enumerate(body):
            if state is None:
                self.fault((*path, index), "this is never reached")
                break
            self.visits += 1
            if self.visits > VISITS_MAX:
                raise _TooInvolved(f"the program is too involved to be shown safe: more than {VISITS_MAX} steps of thought")
            state, cost = self.statement(statement, (*path, index), state)
            total += cost
        return state, total

    def statement(self, statement: Statement, path: Path, state: _State) -> tuple[_State | None, _Cost]:
        missing = [name for name in used(statement) if name not in state.known]
        if missing:
            self.fault(path, f"{missing[0]} may not have been given a value on the way here")
            state = replace(state, known=state.known | {name: self.ranges.words(self.compiled.kinds[name]) for name in missing})
        own_s = self.overhead_s.get(path, 0.0)
        match statement:
            case If():
                return self.choose(statement, path, self.passed(state, own_s), own_s)
            case Repeat():
                return self.repeat(statement, path, state, own_s)
            case Leave(comparison):
                state = self.passed(state, own_s)
                self.leaving[-1].append(state)
                return (None if comparison is None else state), _Cost(own_s)
            case Halt():
                self.ends(state, path)
                return None, _Cost(own_s)
            case Hold(settle_s):
                return self.hold(statement, path, self.passed(state, own_s + settle_s, waits=settle_s > 0), own_s + settle_s)
            case Pause(body):
                after, cost = self.block(body, (*path, 0), self.passed(state, own_s))
                return after, cost + _Cost(own_s)
            case WaitEvent() | WaitFor():
                return self.wait(statement, path, state, own_s)
        after, seconds = self.effect(statement, path, state)
        cost = _Cost(own_s + seconds)
        if isinstance(statement, Pulse):
            cost += _Cost(pulses=1)
        if isinstance(statement, During) and statement.line is Line.BEAM:
            cost += _Cost(exposed_s=statement.for_s + self.limits.blanker_delay_s)
        waits = isinstance(statement, Sample | Wait | WaitSamples | WaitUntil | Move | Return | Ramp | Height | Pulse | During)
        after = self.settled_by(self.passed(after, own_s + seconds, waits), self.least_s(statement))
        if isinstance(statement, Mark):
            after = replace(after, since_mark_s=0.0, marked=True)
        if isinstance(statement, WaitUntil):
            after = replace(after, since_mark_s=statement.seconds)
        return after, cost

    def least_s(self, statement: Statement) -> float:
        """That a statement takes for sure."""
        match statement:
            case Wait(seconds):
                return seconds
            case WaitSamples(count) | Sample(count=count):
                return (count - 1) * self.calibration.sample_period_s
        return 0.0

    def settled_by(self, state: _State, seconds: float) -> _State:
        if state.height is not None:
            return state
        left = max(0.0, state.settles_s - seconds)
        return replace(state, settles_s=left, level_A=state.level_A if left else state.setpoint.high)

    def passed(self, state: _State, seconds: float, waits: bool = False) -> _State:
        since_wait_s = 0.0 if waits else state.since_wait_s + seconds
        self.seen.between_waits_s = max(self.seen.between_waits_s, since_wait_s)
        return replace(state, since_mark_s=state.since_mark_s + seconds, since_wait_s=since_wait_s, waited=state.waited or waits)

    def choose(self, choice: If, path: Path, state: _State, own_s: float) -> tuple[_State | None, _Cost]:
        then, cost = self.block(choice.then, (*path, 0), state)
        otherwise, other = self.block(choice.otherwise, (*path, 1), state)
        return joined([then, otherwise]), cost.most(other) + _Cost(own_s)

    def wait(self, statement: WaitEvent | WaitFor, path: Path, state: _State, own_s: float) -> tuple[_State | None, _Cost]:
        seconds = own_s + statement.timeout_s
        state = self.passed(state, seconds, waits=True)
        came = replace(state, known=state.known | self.event_names(statement)) if isinstance(statement, WaitEvent) else state
        if statement.otherwise is None:
            self.ends(state, path)
            return came, _Cost(seconds)
        late, cost = self.block(statement.otherwise, (*path, 0), state)
        return joined([came, late]), cost + _Cost(seconds)

    def event_names(self, statement: WaitEvent) -> dict[str, Interval]:
        fields = event_fields(self.compiled.tree.event(statement.event).score)
        return {f"{statement.into}.{name}": self.ranges.of_kind(kind) for name, kind in fields.items()}

    def repeat(self, repeat: Repeat, path: Path, state: _State, own_s: float) -> tuple[_State | None, _Cost]:
        """The first turn by itself, since it may begin where no other does; then what holds at the beginning of each other turn."""
        if len(self.leaving) == LOOPS_MAX:
            raise _TooInvolved(f"the program is too involved to be shown safe: more than {LOOPS_MAX} repeats within each other")
        count = math.inf if repeat.count is None else repeat.count
        outside = state
        ways: list[_State] = []
        state = self.passed(replace(state, waited=False, marked=False), own_s)
        end, cost, left = self.turn(repeat, path, self.in_turn(repeat, state, Interval(0, 0)))
        ways += left
        total = cost + _Cost(own_s)
        if end is not None and count > 1:
            begin = self.in_turn(repeat, self.passed(end, own_s), Interval(1, min(count, self.ranges.words(Kind.COUNT).high) - 1))
            end, cost, left = self.settled(repeat, path, begin, (count - 1), own_s)
            ways += left
            total += (cost + _Cost(own_s)).times(count - 1 if end is not None else 1)
            if count == math.inf and end is not None and not end.waited:
                self.fault(path, "this may repeat without end and without a wait; let it wait on each way through, or give it a count")
        if end is not None and count != math.inf:
            ways.append(self.passed(end, own_s))
        after = [replace(way, waited=outside.waited or way.waited, marked=outside.marked or way.marked) for way in ways]
        return joined(list(after)), total

    def in_turn(self, repeat: Repeat, state: _State, turns: Interval) -> _State:
        return state if repeat.index is None else self.knows(state, repeat.index, turns)

    def turn(self, repeat: Repeat, path: Path, state: _State) -> tuple[_State | None, _Cost, list[_State]]:
        """What holds behind a turn and its cost, and what holds where it is left."""
        self.leaving.append([])
        end, cost = self.block(repeat.body, (*path, 0), replace(state, waited=False, marked=False))
        return end, cost, self.leaving.pop()

    def settled(self, repeat: Repeat, path: Path, first: _State, count: float, own_s: float) -> tuple[_State | None, _Cost, list[_State]]:
        """As `turn`, for any of ``count`` turns: passes until nothing new holds at their beginning, then a few that take back what was
        widened too far (each from what a turn makes of the state before, so it still holds)."""
        state, before, narrowings = first, len(self.findings), 0
        for turn in range(TURNS_MAX):
            del self.findings[before:]
            end, cost, left = self.turn(repeat, path, state)
            if end is None or narrowings == NARROWINGS:
                break
            again = self.in_turn(repeat, self.passed(end, own_s), first.known[repeat.index]) if repeat.index else self.passed(end, own_s)
            before_last = (cost + _Cost(own_s)).times(count - 1)
            grown = self.grown(first, state, again, before_last.time_s, turn >= JOINS)
            if narrowings == 0 and grown != state:
                state = grown
            elif turn > JOINS:
                state = replace(first.joined(again), waited=first.waited, marked=first.marked, since_mark_s=state.since_mark_s)
                narrowings += 1
            else:
                break
        return end, cost, left

    def grown(self, first: _State, state: _State, again: _State, loop_s: float, widen: bool) -> _State:
        """What holds at the beginning of each turn so far."""
        joined = replace(state.joined(again), waited=state.waited, marked=state.marked)
        # A time that nothing within sets back grows by all turns.
        if not again.waited:
            joined = replace(joined, since_wait_s=max(state.since_wait_s, first.since_wait_s + loop_s))
        if not again.marked:
            joined = replace(joined, since_mark_s=max(state.since_mark_s, first.since_mark_s + loop_s))
        if not widen:
            return joined
        known = {
            name: value if value == state.known.get(name) else self.ranges.words(self.compiled.kinds[name])
            for name, value in joined.known.items()
        }
        full = self.ranges.of_kind
        return replace(
            joined,
            known=known,
            bias=joined.bias if joined.bias == state.bias else full(Kind.BIAS),
            setpoint=joined.setpoint if joined.setpoint == state.setpoint else Interval(0.0, self.window_A),
            tip=joined.tip if joined.tip == state.tip else self.box,
            height=joined.height if joined.height == state.height else full(Kind.Z),
            level_A=joined.level_A if joined.level_A == state.level_A else math.inf,
        )

    def hold(self, hold: Hold, path: Path, state: _State, own_s: float) -> tuple[_State | None, _Cost]:
        held = self.settled_by(replace(state, height=Interval(0.0, 0.0), held_bias=state.bias), 0.0)
        open_loops = len(self.leaving)
        marks = [len(left) for left in self.leaving]
        after, cost = self.block(hold.body, (*path, 0), held)
        # Ways that leave a loop around the hold leave the hold too.
        for index in range(open_loops):
            self.leaving[index][marks[index] :] = [self.released(left, path) for left in self.leaving[index][marks[index] :]]
        return (self.released(after, path) if after is not None else None), cost + _Cost(own_s)

    def released(self, state: _State, path: Path) -> _State:
        if state.bias.least_magnitude < self.bias_min_V:
            self.fault(path, f"the feedback may go on with a bias of {state.bias.shown('V')}; {self.least_bias()}")
        assert state.held_bias is not None
        level_A = max(self.current_at(state, state.held_bias, state.bias), state.setpoint.high)
        return replace(state, height=None, held_bias=None, level_A=level_A, settles_s=self.settling_s, strayed=False)

    def ends(self, state: _State, path: Path) -> None:
        """The program may end here: the feedback goes on, the tip goes home with the last move's speed."""
        if state.height is not None:
            state = self.released(state, path)
        self.goes_home(state, path)

    def goes_home(self, state: _State, path: Path) -> None:
        if self.given.tip and state.height is None and state.away_m_per_s > self.followed_m_per_s(state):
            most = show(self.followed_m_per_s(state), "m/s", 3)
            text = (
                f"the tip may go home with the last move's {show(state.away_m_per_s, 'm/s', 3)}, which is faster than the feedback follows"
            )
            self.fault(path, f"{text}; accepted: up to {most}")

    def followed_m_per_s(self, state: _State) -> float:
        """Steps of the surface let the current rise before the feedback answers: the nearer it is to its limit, the slower."""
        room = math.log(max(MARGIN * self.window_A / state.setpoint.high, 1.0)) if state.setpoint.high > 0 else FOLLOWED_ROOM
        return FOLLOWED_M * self.given.bandwidth_Hz * min(1.0, room / FOLLOWED_ROOM)

    def least_bias(self) -> str:
        return f"the interlock asks for {show(self.bias_min_V, 'V')} at least"

    # What a statement does to the instrument

    def value(self, value: Value, kind: Kind, state: _State) -> Interval:
        return self.ranges.of_value(value, kind, state.known, Standing(state.tip, state.bias))

    def effect(self, statement: Statement, path: Path, state: _State) -> tuple[_State, float]:
        """What holds then, and the time that it takes at most beside its rows'."""
        period = self.calibration.sample_period_s
        match statement:
            case Sample(into, channel, _, count):
                return self.knows(state, into, self.ranges.of_kind(CHANNEL_KINDS[channel])), (count + 1) * period
            case Let(into, value):
                return self.knows(state, into, self.value(value, self.compiled.kinds[into], state)), 0.0
            case Set(name, value):
                return self.set(name, value, path, state), 0.0
            case Ramp(name, to, rate):
                return self.ramp(name, to, rate, path, state)
            case Wait(seconds):
                return state, seconds
            case WaitSamples(count):
                return state, (count + 1) * period
            case WaitUntil(seconds):
                if state.since_mark_s + self.overhead_s.get(path, 0.0) > seconds:
                    late = "any time" if math.isinf(state.since_mark_s) else show(state.since_mark_s, "s", 3)
                    self.fault(path, f"this may be reached {late} after the mark, which would be late, and late is a trip")
                return state, max(0.0, seconds)
            case Move():
                return self.move(statement, path, state)
            case Return():
                return self.back(state, path), self.travel_s(state.tip, self.ranges.scan, self.slowest_m_per_s)
            case Height():
                return self.height(statement, path, state)
            case Pulse():
                return self.pulse(statement, path, state)
            case During(_, for_s):
                return state, for_s
        return state, 0.0

    def knows(self, state: _State, name: str, value: Interval) -> _State:
        return replace(state, known=state.known | {name: value})

    def set(self, name: str, value: Value, path: Path, state: _State) -> _State:
        if name in BIAS_NAMES:
            return self.set_bias(self.value(value, Kind.BIAS, state), path, state)
        if name == "setpoint":
            assert isinstance(value, Number)
            if self.given.tip and value.value > MARGIN * self.window_A:
                most = show(MARGIN * self.window_A, "A", 3)
                self.fault(path, f"a setpoint of {show(value.value, 'A', 3)} is too near to the current's limit; accepted: up to {most}")
            level_A = max(state.level_A, value.value)
            return replace(state, setpoint=Interval(value.value, value.value), level_A=level_A, settles_s=self.settling_s)
        self.fault(path, f"what {name} does to the tip and the specimen is not shown here", risk=True)
        return state

    def set_bias(self, to: Interval, path: Path, state: _State) -> _State:
        reach = self.ranges.of_kind(Kind.BIAS)
        if not to.within(reach):
            self.fault(path, f"the bias may be {to.shown('V')}; the converter reaches {reach.shown('V')}")
        if state.height is None and to.least_magnitude < self.bias_min_V:
            self.fault(path, f"the bias may be {to.shown('V')} with the feedback on; {self.least_bias()}")
        after = replace(state, bias=to)
        if state.height is None:
            after = replace(after, level_A=max(self.current_at(state, state.bias, to), state.setpoint.high), settles_s=self.settling_s)
        self.seen.bias = to.joined(self.seen.bias) if self.seen.bias is not None else to
        self.current(state, state.held_bias or state.bias, to, path)
        return after

    def current_at(self, state: _State, at: Interval, now: Interval) -> float:
        """At most, where the current was ``level_A`` at a bias of ``at`` and ``now`` is applied."""
        nearer = max(0.0, -state.height.low) if state.height is not None else 0.0
        rise = math.exp(min(2 * WORST_DECAY_PER_M * nearer, 700.0))
        return state.level_A * rise * (now.magnitude / at.least_magnitude if at.least_magnitude > 0 else math.inf)

    def current(self, state: _State, at: Interval, now: Interval, path: Path, pulse: bool = False) -> None:
        """Whether the current stays below its limit where the feedback's last bias was ``at`` and ``now`` another is applied."""
        if not self.given.tip:
            return
        most = self.current_at(state, at, now)
        limit, name = (self.pulse_window_A, "in a pulse") if pulse else (self.window_A, "of the interlock")
        if pulse:
            self.seen.pulse_current_A = max(self.seen.pulse_current_A, most)
        else:
            self.seen.current_A = max(self.seen.current_A, most)
        if most > MARGIN * limit:
            found = show(most, "A", 3) if most < 1 else "any value"
            self.fault(
                path, f"the current may reach {found}; accepted: up to {show(MARGIN * limit, 'A', 3)}, {MARGIN:g} of the limit {name}"
            )

    def ramp(self, name: str, to: Value, rate: float, path: Path, state: _State) -> tuple[_State, float]:
        if name not in BIAS_NAMES:
            self.fault(path, f"what {name} does to the tip and the specimen is not shown here", risk=True)
            return state, 2 * max(abs(end) for end in self.ranges.words(Kind.X)) / rate
        goal = self.value(to, Kind.BIAS, state)
        way = goal.joined(state.bias)
        self.set_bias(way, path, state)  # all that lies between
        return replace(state, bias=goal), (way.high - way.low) / rate * 1.02 + 2 * self.calibration.sample_period_s

    def back(self, state: _State, path: Path) -> _State:
        self.goes_home(state, path)
        self.held_way(state, path)
        return replace(state, tip=self.ranges.scan, away_m_per_s=0.0, strayed=state.height is not None)

    def held_way(self, state: _State, path: Path) -> None:
        if self.given.tip and state.height is not None and state.height.low < LIFTED_M:
            text = f"the tip moves with the feedback held less than {show(LIFTED_M, 'm')} above the surface: only the current's limit protects it"
            self.fault(path, text, risk=True)

    def move(self, move: Move, path: Path, state: _State) -> tuple[_State, float]:
        to = Box(self.value(move.x, Kind.X, state), self.value(move.y, Kind.Y, state))
        for axis, found, reach in (("x", to.x, self.box.x), ("y", to.y, self.box.y)):
            if not found.within(reach):
                self.fault(path, f"{axis} may be {found.shown('m')}; the interlock's box is {reach.shown('m')}")
        way = to.joined(state.tip)
        for index, area in enumerate(self.limits.keep_outs):
            if way.x.low <= area.x_high_m and area.x_low_m <= way.x.high and way.y.low <= area.y_high_m and area.y_low_m <= way.y.high:
                self.fault(path, f"the way there may lead through keep-out {index}")
        self.held_way(state, path)
        if self.given.tip and state.height is None and move.speed_m_per_s > self.followed_m_per_s(state):
            most = show(self.followed_m_per_s(state), "m/s", 3)
            self.fault(path, f"{show(move.speed_m_per_s, 'm/s', 3)} is faster than the feedback follows; accepted: up to {most}")
        assert self.seen.tip is not None
        self.seen.tip = to.joined(self.seen.tip)
        after = replace(state, tip=to, away_m_per_s=move.speed_m_per_s, strayed=state.strayed or state.height is not None)
        return after, self.travel_s(state.tip, to, move.speed_m_per_s)

    def travel_s(self, start: Box, end: Box, speed_m_per_s: float) -> float:
        """The two axes have one step in codes: the one of more metres a code goes at the speed, the other one slower."""
        scale = (self.calibration.x_m_per_code, self.calibration.y_m_per_code)
        ways = [side.joined(other) for side, other in ((start.x, end.x), (start.y, end.y))]
        codes = max((way.high - way.low) / one for way, one in zip(ways, scale, strict=True))
        # A step is a whole number of 2**-12 codes; a slow one is rounded by much.
        step = speed_m_per_s * self.calibration.sample_period_s / max(scale)
        return (codes / max(step - 2**-13, 2**-13) + 10) * self.calibration.sample_period_s

    def height(self, height: Height, path: Path, state: _State) -> tuple[_State, float]:
        assert state.height is not None and state.held_bias is not None  # the compiler has seen to it
        to, speed = self.value(height.z_m, Kind.Z, state), height.speed_m_per_s
        limit = self.limits.z_velocity_m_per_s
        if limit is not None and Cause.Z_VELOCITY in self.limits.conditions and 2 * speed > limit:
            self.fault(
                path, f"z at {show(speed, 'm/s', 3)} is too fast; accepted: up to {show(limit / 2, 'm/s', 3)}, half of the interlock's"
            )
        if to.high > self.calibration.z_range_m:
            self.fault(path, f"the height may be {to.shown('m')}; the scanner's z reaches ±{show(self.calibration.z_range_m, 'm', 3)}")
        way = to.joined(state.height)
        self.seen.nearest_m = max(self.seen.nearest_m, -to.low)
        if state.strayed and to.low < LIFTED_M:
            self.fault(
                path, "z comes down where the tip has not been with the feedback on: only the current's limit protects it", risk=True
            )
        overshoot_m = speed * OVERSHOOT_S if to.low < state.height.high else 0.0
        self.current(replace(state, height=Interval(way.low - overshoot_m, way.high)), state.held_bias, state.bias, path)
        return replace(state, height=to), (way.high - way.low) / speed * 1.02 + 4 * self.calibration.sample_period_s

    def pulse(self, pulse: Pulse, path: Path, state: _State) -> tuple[_State, float]:
        to = self.value(pulse.to_V, Kind.BIAS, state)
        reach = self.ranges.of_kind(Kind.BIAS)
        if not to.within(reach):
            self.fault(path, f"the pulse may be of {to.shown('V')}; the converter reaches {reach.shown('V')}")
        way = to.joined(state.bias) if pulse.rise_s > 0 else to
        if state.height is None and way.least_magnitude < self.bias_min_V:
            self.fault(path, f"the bias may be {way.shown('V')} with the feedback on; {self.least_bias()}")
        seconds = pulse.for_s + 2 * pulse.rise_s + pulse.settle_s
        if seconds > self.limits.pulse_s:
            self.fault(
                path, f"the pulse takes {show(seconds, 's', 3)}; the limits of a pulse count for {show(self.limits.pulse_s, 's', 3)}"
            )
        assert self.seen.bias is not None
        self.seen.bias = self.seen.bias.joined(way)
        self.current(state, state.held_bias or state.bias, way, path, pulse=True)
        if state.height is None:  # it may have brought the current to the setpoint by the end of the pulse, and then the bias is back
            settled = replace(state, level_A=state.setpoint.high)
            self.current(settled, to, state.bias, path)
            state = replace(state, level_A=max(state.level_A, self.current_at(settled, to, state.bias)), settles_s=self.settling_s)
        elif (
            self.given.tip
            and pulse.settle_s < PREAMP_S
            and self.current_at(state, state.held_bias or state.bias, way) > MARGIN * self.window_A
        ):
            text = "the current may still be that of the pulse when the pulse's limits end"
            self.fault(path, f"{text}; give it 'settle {show(PREAMP_S, 's')}' or more")
        return state, seconds


def _ends(low: float | None, high: float | None, reach: float, code: float) -> Interval:
    """The converter ends one code before its reach, and what rounds beyond trips."""
    return Interval(max(-reach, -math.inf if low is None else low), min(reach - 2 * code, math.inf if high is None else high))
