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

    def pixel(self, samples: list[tuple[int, int, int, int]]) -> bool:
        """Values, the thresholds that were in force with each, and how often each came in a row."""
        number = sum(times for *_, times in samples)
        over = Fraction(sum((value - on) * times for value, on, _, times in samples), number)  # the mean's excess
        under = Fraction(sum((value - off) * times for value, _, off, times in samples), number)
        fires = self.enabled and self.ready and over > 0
        if fires:
            self.ready = False
            self.count += 1
            # The excess times samples / 2**floor(log2(samples)), rounded down.
            factor = Fraction(number, 1 << (number.bit_length() - 1))
            self.scores.append(min(SCORE_MAX, over * factor // 1))
        if self.enabled and under < 0 and not over > 0:
            self.ready = True
        return fires
