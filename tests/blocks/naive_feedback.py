"""The distance controller in plain integers, a sample at a time."""

import math

from reflexarc.contract.blocks import feedback

TABLE = [round(math.log2(1 + index / 256) * 65536) for index in range(257)]  # log2 at the segments' ends, in 2**-16


def magnitude(code: int) -> int:
    """One's complement, so that the most negative code has a magnitude."""
    return code if code >= 0 else -1 - code


def log2(code: int) -> int:
    """Q5.12 of the table's chord at the magnitude, rounded down once."""
    value = max(1, magnitude(code))
    exponent = value.bit_length() - 1
    fraction = (value << 18 >> exponent) - (1 << 18)  # of 1.f, 18 bits: 8 choose the segment, 10 interpolate
    left, right = TABLE[fraction // 1024], TABLE[fraction // 1024 + 1]
    chord = left * 1024 + (right - left) * (fraction % 1024)  # in 2**-26
    return (exponent << 12) + (chord >> 14)


def linear(code: int) -> int:
    """Q5.12 of the magnitude / 2**14, rounded down."""
    return (magnitude(code) << 12) >> 14


def clamp(value: int, low: int, high: int) -> int:
    return min(max(value, low), high)


class NaiveFeedback:
    """Sums are in 2**-24 LSB: gain in 2**-12 times error in 2**-12."""

    def __init__(self) -> None:
        self.settings = {r.name: r.reset for r in feedback.BLOCK.registers}
        self.integral = 0
        self.z = 0  # Q20.12
        self.error = 0  # Q6.12
        self.saturated = False

    def follow(self, gate_z: int) -> None:
        """Not live: the controller stands where the gate does."""
        self.z = gate_z
        self.integral = gate_z << 12

    def sample(self, code: int, engaged: bool) -> None:
        s = self.settings
        self.error = (linear(code) if s["linearizer"] else log2(code)) - s["setpoint"]
        if not engaged:
            return
        low, high = s["z_min"] << 24, s["z_max"] << 24
        slew = s["slew"] << 12
        step = clamp(s["ki"] * self.error, -slew, slew)
        wanted = self.integral + step + (s["kp"] * self.error << 4)
        self.integral = clamp(self.integral + step, low, high)
        self.saturated = not low <= wanted <= high
        self.z = clamp(wanted, low, high) >> 12
