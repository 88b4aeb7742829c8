"""The output gate in plain integers, a cycle at a time."""

from dataclasses import dataclass, field

CODE_MAX = (1 << 19) - 1
RAIL = CODE_MAX << 12  # Q20.12
# Cycles in which a request is judged, and before that a pulse chosen; one more, and it is driven. The plain bias is chosen a cycle earlier.
XY_WAIT, BIAS_WAIT, Z_WAIT = 5, 5, 1
LINES = ("pixel", "line", "frame", "external")


def code(position: int) -> int:
    """Q20.12 to a code: half up, held at the rail."""
    return min((position + 2048) // 4096, CODE_MAX)


@dataclass
class Request:
    """What the blocks before the gate ask for in one cycle; positions in Q20.12."""

    x: int = 0
    y: int = 0
    z: int = RAIL
    bias: int = 0  # code: the register, or of the controller
    pulse: bool = False
    pulse_bias: int = 0
    blank: bool = True
    lines: tuple[bool, ...] = (False,) * 4  # in the order of LINES
    driven_bias: int = 0  # what was chosen in this cycle


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
    """A train of pulses; each edge comes after as many beats."""

    going: bool = False
    level: bool = False
    left: int = 0
    waited: int = 0  # beats since the last edge

    def step(self, go: bool, beat: bool, steps: int, half_period: int, again: bool = False) -> None:
        """``steps`` are those of a train that begins; ``again``: from here on, behind the pulse that is under way."""
        if not go or not self.going:
            self.going, self.level, self.left, self.waited = go, False, steps if go else 0, 0
            return
        if beat and (self.left or self.level):
            self.waited += 1
            if self.waited >= half_period:
                self.level, self.waited = not self.level, 0
                self.left -= self.level
        if again:
            self.left = steps


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
    lines: tuple[bool, ...] = (False,) * 4
    motor: NaiveMotor = field(default_factory=NaiveMotor)
    approach: NaiveMotor = field(default_factory=NaiveMotor)
    approach_step: bool = False
    approaching: bool = False
    approach_steps: int = 0  # as asked for last
    approach_asked: bool = False  # in the cycle before
    plain_bias: int = 0  # asked for in the cycle before
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

    def step(
        self, safe: bool, frame: bool, request: Request, reaction: Reaction, registers: dict[str, int], approach: int | None = None
    ) -> None:
        """``approach``: the steps that are asked for in this cycle."""
        first = safe and not self.was_safe
        self.to_beat += 1
        beat = self.to_beat == self.period - 1
        if beat or first:
            self.to_beat = -1
        go = self.was_safe and reaction.retreat and self.withdrawn
        half_period = registers["retreat_period"]
        self.motor.step(go, beat, registers["retreat_steps"], half_period)
        go = self.approaching and not self.was_safe and self.withdrawn
        self.approach_step = self.approach.level and go and not safe
        self.approach.step(go, beat, self.approach_steps, half_period, self.approach_asked)
        self.approach_asked = approach is not None
        if self.was_safe or not self.withdrawn:
            self.approaching = False
        elif approach is not None:
            self.approaching, self.approach_steps = True, approach
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
            self.lines = (False, False, False, self.lines[LINES.index("external")])
        else:
            xy, bias, z = self.asked[-XY_WAIT], self.asked[-BIAS_WAIT], self.asked[-Z_WAIT]
            self.x, self.y, self.z, self.bias = code(xy.x), code(xy.y), code(z.z) << 12, bias.driven_bias << 12
            self.blank, self.pulse_driven = request.blank, bias.pulse
            self.lines = request.lines
            self.pump ^= beat
        self.trigger = reaction.trigger
        self.withdrawn, self.was_withdrawn = was_at_rail, self.withdrawn
        self.ramping = (reaction.bias_ramp and not reaction.bias_zero, *self.ramping[:2])
        self.zeroing = reaction.bias_zero
        self.first_safe = first
        self.since_first_safe = 0 if first else self.since_first_safe + 1
        self.was_safe = safe
        request.driven_bias = request.pulse_bias if request.pulse else self.plain_bias
        self.plain_bias = request.bias
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
