"""The interlock's conditions and life, written from the past: what was seen in which earlier cycle."""

from collections.abc import Generator
from dataclasses import dataclass, field

from naive_bank import NaiveParity

from reflexarc.contract.blocks import interlock
from reflexarc.contract.blocks.interlock import (
    MASKABLE,
    NO_CAUSE,
    SIGNAL_CAUSES,
    ArmingResult,
    Cause,
    InterlockCommand,
    InterlockState,
    Strap,
)

LINE_CYCLES = 3  # from an external line to its verdict
AT_ONCE = set(SIGNAL_CAUSES[:6]) | {Cause.Z_HIGH, Cause.Z_LOW, Cause.Z_VELOCITY, Cause.ESTOP, Cause.READY, Cause.GAIN}
LATE_CYCLES = 1  # for which the verdicts on all other causes wait
LATCH_CYCLES = 3  # from the violated cycle to ``latch``
FIRE_CYCLES = 128  # for which a condition is waited for, to be silent and then to fire
CLEAR_TICKS = 3
CLEAR_CYCLES = 512


def present(straps: Strap) -> set[Cause]:
    """What a platform can judge."""
    causes = set(Cause)
    if Strap.MONITOR not in straps:
        causes -= {Cause.MONITOR_HIGH, Cause.MONITOR_LOW, Cause.MONITOR_SLEW}
    if Strap.READBACK not in straps:
        causes -= {Cause.READBACK}
    return causes


def causes_of(mask: int) -> set[Cause]:
    return {cause for cause in Cause if mask >> cause & 1}


def mask_of(causes) -> int:
    return sum(1 << cause for cause in causes)


@dataclass
class NaiveLifecycle:
    """In each cycle: look at ``safe`` and the rest, then ``step()``."""

    state: InterlockState = InterlockState.DISARMED
    causes: set[Cause] = field(default_factory=set)  # since the trip
    first_cause: int = NO_CAUSE
    trips: int = 0
    result: ArmingResult = ArmingResult.NONE
    result_cause: int = NO_CAUSE
    armed: bool = False  # live unless something is violated
    caught: bool = False  # the cycle after the one that was violated
    known: bool = False  # the cycle after that: state, causes and first cause are there
    latch: bool = False  # the cycle after that
    injected: Cause | None = None
    before: set[Cause] = field(default_factory=set)  # verdict of the cycle before: all but the way from armed to safe looks at that
    _test: Generator | None = None

    def safe(self, verdict: set[Cause]) -> bool:
        return not self.armed or bool(verdict)

    @property
    def locked(self) -> bool:
        return self.state in (InterlockState.ARMED, InterlockState.ARMING)

    def _self_test(self):
        """One yield a cycle: what is injected in it; what comes back is what was seen in it."""
        for cause in Cause:
            verdict, _, _ = yield None
            for _ in range(FIRE_CYCLES + 1):
                before = verdict
                verdict, _, _ = yield None
                if cause not in before:
                    break
            else:
                return ArmingResult.DID_NOT_CLEAR, cause
            verdict, tested, _ = yield cause
            for _ in range(FIRE_CYCLES + 1):
                before, was_tested = verdict, tested
                verdict, tested, _ = yield cause
                if cause in before or cause not in was_tested:
                    break
            else:
                return ArmingResult.DID_NOT_FIRE, cause
        ticks = 0
        verdict, _, _ = yield None
        for _ in range(CLEAR_CYCLES + 1):
            before = verdict
            verdict, _, tick = yield None
            if ticks == CLEAR_TICKS and not before:
                return ArmingResult.ARMED, NO_CAUSE
            ticks = min(CLEAR_TICKS, ticks + tick)
        return ArmingResult.DID_NOT_CLEAR, min(before, default=NO_CAUSE)

    def step(self, verdict: set[Cause], tested: set[Cause], commissioned: bool, flags_set: bool, command: int | None, tick: bool) -> None:
        before, self.before = self.before, verdict
        self.latch, self.known, self.caught = self.known, self.caught, self.armed and bool(verdict)
        self.causes = self.causes | verdict
        if self.caught:
            self.armed = False
        if self.state is InterlockState.DISARMED and command == InterlockCommand.ARM:
            self.result_cause = NO_CAUSE
            if not commissioned:
                self.result = ArmingResult.NOT_COMMISSIONED
            elif before or flags_set:
                self.result, self.result_cause = ArmingResult.VIOLATED, min(before, default=NO_CAUSE)
            else:
                self.state, self.result = InterlockState.ARMING, ArmingResult.UNDER_TEST
                self._test = self._self_test()
                self.injected = next(self._test)
        elif self.state is InterlockState.ARMING:
            if command is not None:
                self._end(ArmingResult.ABORTED, NO_CAUSE)
            else:
                try:
                    self.injected = self._test.send((verdict, tested, tick))
                except StopIteration as stop:
                    self._end(*stop.value)
        elif self.state is InterlockState.ARMED:
            if command == InterlockCommand.DISARM:
                self.state, self.armed = InterlockState.DISARMED, False
        elif self.state is InterlockState.TRIPPED:
            if command == InterlockCommand.ACK and not before and not flags_set:
                self.state = InterlockState.DISARMED
        if self.known:  # whatever was commanded
            self.state, self.first_cause, self.causes = InterlockState.TRIPPED, min(before), before | verdict
            self.trips += 1

    def _end(self, result: ArmingResult, cause: int) -> None:
        self.result, self.result_cause, self.injected = result, cause, None
        self.armed = result is ArmingResult.ARMED
        self.state = InterlockState.ARMED if self.armed else InterlockState.DISARMED


@dataclass
class Inputs:
    """One cycle's inputs."""

    judged: set[Cause] = field(default_factory=set)  # verdicts of the other blocks
    shown: tuple[int, int] = (0, 0)  # value and limit that they show
    errors: tuple[bool, ...] = (False,) * 4  # of their parities
    lost: bool = False
    tick: bool = False
    contact: bool = False
    overflow: bool = False
    underflow: bool = False
    event: int | None = None  # class
    estop_closed: bool = False
    ready: int = 0
    gain: int = 0
    time: int = 0


@dataclass
class Trip:
    """What a trip leaves behind."""

    value: int = 0
    limit: int = 0
    time: int = 0


class NaiveInterlock:
    """``now`` counts cycles since reset. In each: ``begin()``, then the properties, then ``step()``."""

    def __init__(self, period: int, straps: Strap) -> None:
        self.period, self.straps = period, straps
        self.registers = {r.name: r.reset for r in interlock.BLOCK.registers}
        self.life = NaiveLifecycle()
        self.flags: set[Cause] = set()
        self.trip = Trip()
        self.now = 0
        self.was_safe = True
        self.reaction = {"retract": Strap.TIP in straps, "bias_ramp": False, "bias_zero": False, "trigger": False, "retreat": False}
        self._past = [Inputs()] * (LATCH_CYCLES + LINE_CYCLES)  # the last cycles', newest last
        self._own = {Cause.ESTOP}  # in this cycle; the line was not seen yet
        self._late: set[Cause] = set()  # judged in the cycle before
        self._tick_at = -1  # the reset counts as one, and as a beat of each heart
        self._beat_at = {Cause.HEARTBEAT: -1, Cause.CPU_HEARTBEAT: -1}
        self._old: set[Cause] = set()  # hearts that were too old, or injected, in the cycle before
        self._age_when_old = {Cause.HEARTBEAT: 0, Cause.CPU_HEARTBEAT: 0}  # when they became it
        self._parity = NaiveParity()  # of the interlock's own registers
        self._touching = False
        self._latched = (False, False)  # in the cycle before, and in the one before that
        self.parity_test = False  # checks are made to fail: a cycle after the injection
        self.parity_check = False

    @property
    def enabled(self) -> set[Cause]:
        chosen = causes_of(self.registers["enable"])
        return {cause for cause in present(self.straps) if cause in chosen or cause not in MASKABLE}

    def begin(self, inputs: Inputs, written: dict[str, int]) -> None:
        """``written``: what a register took, in force from this cycle on."""
        self.registers |= written
        judged = self._own | inputs.judged
        self.verdict = (judged & AT_ONCE) | self._late
        self._judged = judged

    @property
    def safe(self) -> bool:
        return self.life.safe(self.verdict)

    def step(self, inputs: Inputs, written: dict[str, int], clear: int) -> None:
        """On to the next cycle. ``clear``: flags that the bus clears now."""
        life, r = self.life, self.registers
        # Flags and the record of a trip.
        tripped = life.state is InterlockState.TRIPPED
        latching = self.verdict if life.caught or tripped or life.armed else set()
        if life.caught:
            self.trip = Trip(self.trip.value, self.trip.limit, inputs.time)
        if life.latch:
            self.trip = Trip(*self._measured(), self.trip.time)
        if self._latched[1]:
            self.trip = Trip(self.trip.value | inputs.shown[0], self.trip.limit | inputs.shown[1], self.trip.time)
        self._latched = (life.latch, self._latched[0])
        # Reactions, of what stands in this cycle.
        due = {
            name: tripped and bool(life.causes & causes_of(r[f"react_{name}"])) for name in ("retract", "bias_ramp", "trigger", "retreat")
        }
        contact = tripped and bool(life.causes & causes_of(r["react_bias_contact"]))
        self.reaction = {
            "retract": due["retract"] or Strap.TIP in self.straps,
            "bias_ramp": due["bias_ramp"] or contact,
            "bias_zero": contact and self._touching,
            "trigger": due["trigger"],
            "retreat": due["retreat"] and Strap.MOTOR in self.straps,
        }
        self._touching = inputs.contact if life.caught else tripped and self._touching
        # The conditions that are judged here, for the next cycle.
        command, tick_at = written.get("command"), self._tick_at
        injected = {life.injected} - {None}
        lines = self._lines(inputs)
        found = {
            Cause.SAMPLE_LOST: inputs.lost or self.now - 1 - tick_at >= 2 * self.period,
            Cause.ESTOP: not lines.estop_closed,
            Cause.READY: bool(r["ready_required"] & (3 if Cause.READY in injected else ~lines.ready)),
            Cause.GAIN: lines.gain != r["gain_expected"],
            Cause.POSITION_OVERFLOW: inputs.overflow,
            Cause.UNDERFLOW: inputs.underflow,
            Cause.PARITY: (all if Cause.PARITY in injected else any)([*inputs.errors, self._parity.error]),
            Cause.EVENT: inputs.event == r["event_class"],
            Cause.HOST: command == InterlockCommand.TRIP,
            Cause.HEARTBEAT: self._silent(Cause.HEARTBEAT, "heartbeat", written),
            Cause.CPU_HEARTBEAT: self._silent(Cause.CPU_HEARTBEAT, "cpu_heartbeat", written),
        }
        # A condition that is injected fires, but for a comparison that can't: ready lines of which none is required. Parity is injected
        # into the registers' checks, three cycles before, and each of them must fail.
        fires = injected - {Cause.READY, Cause.PARITY}
        own = {cause for cause, violated in found.items() if violated or cause in fires} & self.enabled
        ticked = self.parity_check  # the test of arming counts them a cycle later too
        self._parity.step(self.parity_check, self.parity_test, set())
        self.parity_test = Cause.PARITY in injected
        self.parity_check = inputs.tick or self.parity_test
        for cause, name in ((Cause.HEARTBEAT, "heartbeat"), (Cause.CPU_HEARTBEAT, "cpu_heartbeat")):
            old = found[cause] or cause in injected
            if old and cause not in self._old:
                self._age_when_old[cause] = self._age(cause)
            self._old = self._old | {cause} if old else self._old - {cause}
            if name in written:
                self._beat_at[cause] = self.now
        if inputs.tick:
            self._tick_at = self.now
        # Life.
        number = r["commissioned"] >> 3
        commissioned = bool(number) and (r["commissioned"] & 7) == (int(self.straps) & 7)
        self.was_safe = self.safe
        life.step(self.verdict, self.enabled, commissioned, bool(self.flags), command, ticked)
        self.flags = (self.flags - causes_of(clear)) | latching
        self._own, self._late = own, self._judged - AT_ONCE
        self._past = [*self._past[1:], inputs]
        self.now += 1

    def _lines(self, inputs: Inputs) -> Inputs:
        """What the external lines were two cycles ago."""
        return [*self._past, inputs][-LINE_CYCLES]

    def _age(self, cause: Cause) -> int:
        return self.now - 1 - self._beat_at[cause]

    def _silent(self, cause: Cause, name: str, written: dict[str, int]) -> bool:
        if name in written:
            return False
        return self._age(cause) >= self.registers[f"{name}_timeout"]

    def _measured(self) -> tuple[int, int]:
        """Value and limit of a cause that is judged here; the lines were compared in the cycle before they were violated."""
        r, lines = self.registers, self._past[-LATCH_CYCLES - LINE_CYCLES]
        return {
            Cause.HEARTBEAT: (self._age_when_old[Cause.HEARTBEAT], r["heartbeat_timeout"]),
            Cause.CPU_HEARTBEAT: (self._age_when_old[Cause.CPU_HEARTBEAT], r["cpu_heartbeat_timeout"]),
            Cause.READY: (lines.ready, r["ready_required"]),
            Cause.GAIN: (lines.gain, r["gain_expected"]),
            Cause.EVENT: (r["event_class"], r["event_class"]),
        }.get(self.life.first_cause, (0, 0))
