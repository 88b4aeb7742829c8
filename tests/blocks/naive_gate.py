"""The output gate in plain integers, a cycle at a time."""

from dataclasses import dataclass, field

CODE_MAX = (1 << 19) - 1
RAIL = CODE_MAX << 12  # Q20.12


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
class NaiveGate:
    """Outputs of the present cycle; ``step`` goes on to the next."""

    period: int  # cycles a sample
    x: int = 0
    y: int = 0
    z: int = RAIL  # Q20.12
    bias: int = 0
    blank: bool = True
    kept_bias: int = 0  # the last one driven outside of a pulse
    asked: Request = field(default_factory=Request)  # in the cycle before
    was_safe: bool = True
    first_safe: bool = False  # the first safe codes stand in this cycle
    since_first_safe: int = 1 << 40

    def load(self, frame: bool) -> bool:
        """Whether a DAC frame starts in this cycle."""
        return self.first_safe or (frame and self.since_first_safe > 2 * self.period - 2)

    def step(self, safe: bool, tick: bool, request: Request, retract_step: int) -> None:
        first = safe and not self.was_safe
        if safe:
            self.bias, self.blank = self.kept_bias, True
            if tick or first:
                self.z = min(self.z + retract_step, RAIL)
        else:
            self.x, self.y, self.z, self.bias = code(self.asked.x), code(self.asked.y), code(self.asked.z) << 12, self.asked.bias
            self.blank = request.blank
            if not self.asked.pulse:
                self.kept_bias = self.asked.bias
        self.first_safe = first
        self.since_first_safe = 0 if first else self.since_first_safe + 1
        self.was_safe = safe
        self.asked = request
