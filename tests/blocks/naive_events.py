"""Threshold with hysteresis, on exact means."""

from dataclasses import dataclass, field
from fractions import Fraction

SCORE_MAX = (1 << 31) - 1


@dataclass
class NaiveEvents:
    """``pixel`` says whether a finished pixel makes an event."""

    on: int = 0
    off: int = 0
    enabled: bool = False
    ready: bool = False  # a mean below `off` was seen since the last event, and since enabling
    count: int = 0
    scores: list[int] = field(default_factory=list)  # of all events

    def enable(self, enabled: bool) -> None:
        self.enabled = enabled
        if not enabled:
            self.ready = False

    def pixel(self, total: int, samples: int) -> bool:
        mean = Fraction(total, samples)
        fires = self.enabled and self.ready and mean > self.on
        if fires:
            self.ready = False
            self.count += 1
            # The excess of the mean times samples / 2**floor(log2(samples)), rounded down.
            factor = Fraction(samples, 1 << (samples.bit_length() - 1))
            self.scores.append(min(SCORE_MAX, (mean - self.on) * factor // 1))
        if self.enabled and mean < self.off and not mean > self.on:
            self.ready = True
        return fires
