"""The output gate in plain integers, a cycle at a time."""

from dataclasses import dataclass, field

CODE_MAX = (1 << 19) - 1
RAIL = CODE_MAX << 12  # Q20.12
XY_WAIT, BIAS_WAIT, Z_WAIT = 5, 5, 1  # cycles in which a request is judged, and before that the bias chosen; one more, and it is driven


def code(position: int) -> int:
    """Q20.12 to a code: half up, held at the rail."""
    return min((position + 2048) // 4096, CODE_MAX)


@dataclass
class Request:
    """What the blocks before the gate ask for in one cycle; positions in Q20.12."""

    x: int = 0
    y: int = 0
    z: int = RAIL
    bias: int = 0
    pulse: bool = False
    blank: bool = True


@dataclass
class Reaction:
    """What is to be done beside the floor."""

    retract: bool = False
    bias_ramp: bool = False
    bias_zero: bool = False
    trigger: bool = False
    retreat: bool = False


@dataclass
class NaiveMotor:
    """A train of pulses, counted in beats since it may go."""

    beats: int | None = None  # None: it may not
    steps: int = 0

    def edges(self, half_period: int) -> int:
        return 0 if self.beats is None else min(self.beats // half_period, 2 * self.steps)

    def level(self, half_period: int) -> bool:
        return self.edges(half_period) % 2 == 1

    def left(self, half_period: int) -> int:
        return 0 if self.beats is None else self.steps - (self.edges(half_period) + 1) // 2

    def step(self, go: bool, beat: bool, steps: int) -> None:
        if not go:
            self.beats = None
        elif self.beats is None:
            self.beats, self.steps = 0, steps
        else:
            self.beats += beat


@dataclass
class NaiveGate:
    """Outputs of the present cycle; ``step`` goes on to the next."""

    period: int  # cycles a sample
    x: int = 0
    y: int = 0
    z: int = RAIL  # Q20.12
    bias: int = 0  # Q20.12: on its way to 0 it has a fraction
    blank: bool = True
    trigger: bool = False
    pump: bool = False
    pulse_driven: bool = False
    motor: NaiveMotor = field(default_factory=NaiveMotor)
    kept_bias: int = 0  # code, the last one driven outside of a pulse
    asked: list[Request] = field(default_factory=lambda: [Request() for _ in range(XY_WAIT)])  # in the cycles before, newest last
    was_safe: bool = True
    first_safe: bool = False  # the first safe codes stand in this cycle
    since_first_safe: int = 1 << 40
    to_beat: int = -1  # cycles since the last beat, or since the first safe cycle
    withdrawn: bool = True  # in the cycle before
    ramping: tuple[bool, ...] = (False,) * 3  # told to in each of the three cycles before: a ramp begins with its reaction's fourth
    zeroing: bool = False  # told to take the bias to 0, in the cycle before
    was_withdrawn: bool = True  # two cycles before

    def load(self, frame: bool) -> bool:
        """Whether a DAC frame starts in this cycle."""
        return self.first_safe or (frame and self.since_first_safe > 2 * self.period - 2)

    def step(self, safe: bool, frame: bool, request: Request, reaction: Reaction, registers: dict[str, int]) -> None:
        first = safe and not self.was_safe
        self.to_beat += 1
        beat = self.to_beat == self.period - 1
        if beat or first:
            self.to_beat = -1
        go = self.was_safe and reaction.retreat and self.withdrawn
        self.motor.step(go, beat, registers["retreat_steps"])
        was_at_rail = self.z == RAIL
        if not self.pulse_driven:
            self.kept_bias = self.bias >> 12
        if safe:
            if (beat or first) and reaction.retract:
                self.z = min(self.z + registers["retract_step"], RAIL)
            if self.pulse_driven:
                self.bias = self.kept_bias << 12
            elif self.zeroing:
                self.bias = 0
            elif all(self.ramping) and self.was_withdrawn and beat:
                step = registers["bias_step"]
                if abs(self.bias) <= step:
                    self.bias = 0
                else:
                    self.bias += step if self.bias < 0 else -step
            self.blank, self.pulse_driven = True, False
        else:
            xy, bias, z = self.asked[-XY_WAIT], self.asked[-BIAS_WAIT], self.asked[-Z_WAIT]
            self.x, self.y, self.z, self.bias = code(xy.x), code(xy.y), code(z.z) << 12, bias.bias << 12
            self.blank, self.pulse_driven = request.blank, bias.pulse
            self.pump ^= beat
        self.trigger = reaction.trigger
        self.withdrawn, self.was_withdrawn = was_at_rail, self.withdrawn
        self.ramping = (reaction.bias_ramp and not reaction.bias_zero, *self.ramping[:2])
        self.zeroing = reaction.bias_zero
        self.first_safe = first
        self.since_first_safe = 0 if first else self.since_first_safe + 1
        self.was_safe = safe
        self.asked = [*self.asked[1:], request]


@dataclass
class NaiveReadback:
    """What the converters hold against what was sent to them."""

    sent: tuple[int, ...] = (0, 0, CODE_MAX, 0)  # x, y, z, bias
    wrong: tuple[bool, ...] = (False,) * 4
    found: tuple[tuple[int, int], ...] = ((0, 0),) * 4  # read and sent
    verdict: bool = False

    def step(self, loaded: tuple[int, ...] | None, read: tuple[int, ...] | None, inject: bool, enable: bool) -> None:
        """On to the next cycle: ``loaded`` are the codes of a frame that starts now, ``read`` what was read back."""
        self.verdict = any(self.wrong) and enable
        if inject:
            self.wrong = (True,) * 4
        elif read is not None:
            self.wrong = tuple(a != b for a, b in zip(read, self.sent, strict=True))
        if read is not None:
            self.found = tuple(zip(read, self.sent, strict=True))
        if loaded is not None:
            self.sent = loaded

    def measured(self) -> tuple[int, int]:
        """Of the first channel that was wrong."""
        return next((pair for pair, wrong in zip(self.found, self.wrong, strict=True) if wrong), (0, 0))
