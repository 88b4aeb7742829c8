"""The interlock's conditions and life, written from the past: what was measured in which earlier cycle."""

from dataclasses import dataclass, field

from reflexarc.contract.blocks import interlock
from reflexarc.contract.blocks.interlock import NO_CAUSE, Cause, InterlockCommand, InterlockState

ESTOP_CYCLES = 3  # from the line to `safe`: a synchroniser of two and the register


def round_half_up(z: int) -> int:
    """Q20.12 to a code."""
    return (z + 2048) // 4096


@dataclass
class Inputs:
    """One cycle's inputs."""

    sample: int | None = None
    lost: bool = False
    z: int = 0  # Q20.12
    pulse: bool = False
    overflow: bool = False
    estop_ok: bool = True
    time: int = 0


@dataclass
class Trip:
    """What a trip leaves behind."""

    cause: int = NO_CAUSE
    value: int = 0
    limit: int = 0
    time: int = 0


@dataclass
class NaiveInterlock:
    """``now`` counts cycles since reset. In each: ``conditions()``, ``safe`` and so on, then ``step()``."""

    registers: dict[str, int] = field(default_factory=lambda: {r.name: r.reset for r in interlock.BLOCK.registers})
    state: InterlockState = InterlockState.DISARMED
    flags: int = 0
    trip: Trip = field(default_factory=Trip)
    trips: int = 0
    now: int = 0
    before: Inputs = field(default_factory=lambda: Inputs(estop_ok=False))  # the cycle before
    was_safe: bool = True
    host_trip: bool = False  # commanded in the cycle before
    heartbeat_at: int = -1  # cycle of the last heartbeat; the reset counts as one
    verdict: set[Cause] = field(default_factory=set)  # of the last sample
    judged: tuple[int, dict[Cause, int]] = (0, {})  # that sample and its limits
    pulse_samples: int = 0
    estop_ok: list[bool] = field(default_factory=lambda: [False] * ESTOP_CYCLES)  # the last cycles', newest last

    def age(self) -> int:
        """Of the heartbeat, as it was in the cycle before."""
        return self.now - 2 - self.heartbeat_at

    def conditions(self) -> set[Cause]:
        """Violated in this cycle."""
        code, r = round_half_up(self.before.z), self.registers
        found = set(self.verdict)
        # A z that was there before the first cycle is the reset's, and judged by nobody.
        if self.now and code > r["z_high"]:
            found.add(Cause.Z_HIGH)
        if self.now and code < r["z_low"]:
            found.add(Cause.Z_LOW)
        if self.now and self.age() >= r["heartbeat_timeout"]:
            found.add(Cause.HEARTBEAT)
        if not self.estop_ok[0]:
            found.add(Cause.ESTOP)
        if self.before.lost:
            found.add(Cause.SAMPLE_LOST)
        if self.before.overflow:
            found.add(Cause.POSITION_OVERFLOW)
        if self.host_trip:
            found.add(Cause.HOST)
        return found

    @property
    def live_mask(self) -> int:
        return sum(1 << cause for cause in self.conditions())

    @property
    def armed(self) -> bool:
        return self.state is InterlockState.ARMED

    @property
    def safe(self) -> bool:
        return not self.armed or bool(self.conditions())

    def step(self, inputs: Inputs, written: dict[str, int], clear: int) -> None:
        """On to the next cycle. ``written``: what a register took, in force in this cycle; ``clear``: flags that the bus clears now."""
        self.registers |= written
        found, safe = self.conditions(), self.safe
        command = written.get("command")
        latching = found if self.state in (InterlockState.ARMED, InterlockState.TRIPPED) else set()
        may_leave = not found and not self.flags
        if self.armed and found:
            self._latch(min(found), inputs.time)
        elif self.armed and command == InterlockCommand.DISARM:
            self.state = InterlockState.DISARMED
        elif self.state is InterlockState.DISARMED and command == InterlockCommand.ARM and may_leave:
            self.state = InterlockState.ARMED
        elif self.state is InterlockState.TRIPPED and command == InterlockCommand.ACK and may_leave:
            self.state = InterlockState.DISARMED
        self.flags = (self.flags & ~clear) | sum(1 << cause for cause in latching)

        if inputs.sample is not None:
            self._judge(inputs.sample, inputs.pulse)
        if not inputs.pulse:
            self.pulse_samples = 0
        if "heartbeat" in written:
            self.heartbeat_at = self.now
        self.host_trip = command == InterlockCommand.TRIP
        self.estop_ok = [*self.estop_ok[1:], inputs.estop_ok]
        self.was_safe = safe
        self.before = inputs
        self.now += 1

    def _judge(self, sample: int, pulse: bool) -> None:
        relaxed = pulse and self.pulse_samples < self.registers["pulse_samples_max"]
        prefix = "pulse_" if relaxed else ""
        high, low = self.registers[prefix + "current_high"], self.registers[prefix + "current_low"]
        self.verdict = ({Cause.CURRENT_HIGH} if sample > high else set()) | ({Cause.CURRENT_LOW} if sample < low else set())
        self.judged = sample, {Cause.CURRENT_HIGH: high, Cause.CURRENT_LOW: low}
        self.pulse_samples += pulse

    def _latch(self, cause: Cause, time: int) -> None:
        self.state = InterlockState.TRIPPED
        self.trips += 1
        r = self.registers
        value, limit = {
            Cause.Z_HIGH: (round_half_up(self.before.z), r["z_high"]),
            Cause.Z_LOW: (round_half_up(self.before.z), r["z_low"]),
            Cause.HEARTBEAT: (self.age(), r["heartbeat_timeout"]),
        }.get(cause, (0, 0))
        if cause in (Cause.CURRENT_HIGH, Cause.CURRENT_LOW):
            value, limit = self.judged[0], self.judged[1][cause]
        self.trip = Trip(cause, value, limit, (time + 1) % (1 << 64))  # the gate is safe one cycle after `safe`
