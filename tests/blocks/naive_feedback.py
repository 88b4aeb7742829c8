"""One controller in plain integers, a sample at a time."""

import math

from reflexarc.contract.blocks.feedback import FeedbackMode, Linearizer
from reflexarc.contract.registers import Block

LOG2 = [round(math.log2(1 + index / 256) * 65536) for index in range(257)]  # at the segments' ends, in 2**-16
ERROR_MAX = (1 << 17) - 1


def magnitude(code: int) -> int:
    """One's complement, so that the most negative code has a magnitude."""
    return code if code >= 0 else -1 - code


def log2(code: int) -> int:
    """Q5.12 of the table's chord at the magnitude, rounded down once."""
    value = max(1, magnitude(code))
    exponent = value.bit_length() - 1
    fraction = (value << 18 >> exponent) - (1 << 18)  # of 1.f, 18 bits: 8 choose the segment, 10 interpolate
    left, right = LOG2[fraction // 1024], LOG2[fraction // 1024 + 1]
    chord = left * 1024 + (right - left) * (fraction % 1024)  # in 2**-26
    return (exponent << 12) + (chord >> 14)


def linear(code: int) -> int:
    """Q5.12 of the magnitude / 2**14, rounded down."""
    return (magnitude(code) << 12) >> 14


def clamp(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)


class NaiveFeedback:
    """``output`` and what is like it are Q20.12; sums are in 2**-24 LSB: gain in 2**-12 times error in 2**-12."""

    def __init__(self, block: Block, rest: int) -> None:
        self.settings = {r.name: r.reset for r in block.registers}
        self.table: dict[int, tuple[int, int]] = {}  # value and rise of each segment that was written
        self.live = self.on = False
        self.setpoint = 0  # in force, Q6.24
        self.height = self.half = 0  # of the registers hold_height and excitation_samples: what counts
        self.waved, self.sign = 0, 1  # samples of the present half of the wave
        self.output = rest << 12
        self.stood = self.base = self.integral = rest << 24  # where it stopped; and less the feed
        self.displacement = 0
        self.error = 0  # Q6.12
        self.saturated = False
        self.feed = self.beside = self.low = self.high = 0  # of the last sample, but for the limits while the controller follows

    def write(self, name: str, value: int) -> None:
        self.settings[name] = value
        if name == "table_entry":
            self.table[self.settings["table_index"]] = (value & 0x3FFFF ^ 1 << 17) - (1 << 17), (value >> 18 ^ 1 << 13) - (1 << 13)
        if self.live:
            if name == "mode":
                self.on = value == FeedbackMode.ON
                self.height = 0 if self.on else self.height
            if name == "hold_height" and not self.on:
                self.height = value
            if name == "excitation_samples":
                self.half = value
                if not value:
                    self.waved, self.sign = 0, 1

    def lose_live(self) -> None:
        self.live = self.on = False
        self.height = self.half = self.waved = 0
        self.sign = 1

    @property
    def follows(self) -> bool:
        return not self.live or self.settings["mode"] == FeedbackMode.OFF

    def engaged(self, hold: bool, taken: bool) -> bool:
        return self.on and not hold and not taken and not self.follows

    def reading(self, code: int) -> int:
        match self.settings["linearizer"]:
            case Linearizer.LOG:
                return log2(code)
            case Linearizer.LINEAR:
                return linear(code)
        segment, rest = divmod(code + (1 << 19), 1 << 12)
        value, rise = self.table[segment]
        return value + rise * rest // 4096

    def follow(self, driven: int) -> None:
        """OFF or not live: the controller stands where the gate does."""
        self.low, self.high = self.settings["low"] << 24, self.settings["high"] << 24
        self._stand(driven << 12)
        self._track()

    def sample(self, codes: tuple[int, int], offset: int = 0, hold: bool = False, taken: int | None = None) -> None:
        """``taken``: the output that is taken instead, None: it is not."""
        s = self.settings
        self.error = clamp(self.reading(codes[s["channel"]]) - (self.setpoint >> 12), -ERROR_MAX, ERROR_MAX)
        self.setpoint += clamp((s["setpoint"] << 12) - self.setpoint, -s["setpoint_step"], s["setpoint_step"])
        wave = 0
        if self.half:
            wave = self.sign * s["excitation"]
            self.waved += 1
            if self.waved >= self.half:
                self.waved, self.sign = 0, -self.sign
        self.feed = (offset + wave) << 12
        proportional = s["kp"] * self.error << 4
        self.beside = proportional + self.feed
        self.low, self.high = s["low"] << 24, s["high"] << 24
        slew = s["slew"] << 12
        step = clamp(s["ki"] * self.error, -slew, slew)
        if self.follows:
            self.follow(self.output)
        elif taken is not None:
            self._stand(taken << 12)
            self._track()
        elif self.engaged(hold, False):
            self._drive(self.integral + step + self.beside, self.low, self.high)
            self._stand(self.output << 12)
            self.integral = clamp(self.integral + step, self.low - self.feed, self.high - self.feed)
        else:
            if not hold:
                self.displacement += clamp(self.height - self.displacement, -s["hold_step"], s["hold_step"])
            # Limits alone never move what is held.
            low, high = min(self.low, self.stood), max(self.high, self.stood)
            self._drive(self.base + self.feed + (self.displacement << 12), low, high)
            self._track()

    def _drive(self, wanted: int, low: int, high: int) -> None:
        self.saturated = not low <= wanted <= high
        self.output = clamp(wanted, low, high) >> 12

    def _stand(self, output: int) -> None:
        """From here it goes on when it is held."""
        self.output, self.displacement = output >> 12, 0
        self.stood, self.base = output, output - self.feed

    def _track(self) -> None:
        """The integral that would give the output that stands."""
        self.integral = clamp((self.output << 12) - self.beside, self.low - self.feed, self.high - self.feed)
