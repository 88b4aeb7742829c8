"""From an event to a pulse, counted in ticks."""

from dataclasses import dataclass, field

from reflexarc.contract.blocks import reaction


@dataclass
class NaiveReaction:
    """State in the present cycle; ``step`` goes on to the next."""

    registers: dict[str, int] = field(default_factory=lambda: {r.name: r.reset for r in reaction.BLOCK.registers})
    pulse_left: int = 0  # ticks
    settle_left: int = 0
    pulse_bias: int = 0  # of the present pulse or the last one
    remaining: int = 0
    count: int = 0
    ignored: int = 0
    x: int = 0
    y: int = 0

    @property
    def pulse(self) -> bool:
        return self.pulse_left > 0

    @property
    def hold(self) -> bool:
        return self.pulse_left > 0 or self.settle_left > 0

    def step(self, tick: bool, live: bool, detection: tuple[int, int] | None, written: dict[str, int]) -> None:
        """``detection`` is (x, y); ``written`` holds the registers that have a new value from this cycle on."""
        self.registers |= written
        busy = self.hold
        if detection and busy:
            self.ignored += 1
        if tick and self.pulse_left:
            self.pulse_left -= 1
            if not self.pulse_left:
                self.settle_left = self.registers["settle_samples"]
        elif tick and self.settle_left:
            self.settle_left -= 1
        if detection and not busy and live and self.registers["enable"] and self.remaining:
            self.pulse_left, self.pulse_bias = self.registers["pulse_samples"], self.registers["bias"]
            self.x, self.y = detection
            self.count += 1
            self.remaining -= 1
        if not live:
            self.pulse_left = self.settle_left = 0
        if "budget" in written:
            self.remaining = written["budget"]
