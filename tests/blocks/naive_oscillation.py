"""The energy of the error within a band, in exact fractions, an error at a time."""

from fractions import Fraction
from math import floor


def down(value: Fraction, bits: int) -> Fraction:
    """Rounded down to so many bits behind the point."""
    return Fraction(floor(value * 2**bits), 2**bits)


class NaiveOscillation:
    """Errors are in log2 of the current. Both low-passes are kept with 27 bits behind the point, the mean with 35."""

    def __init__(self, fast_shift: int, slow_shift: int, window: int) -> None:
        self.fast_shift, self.slow_shift, self.window = fast_shift, slow_shift, window
        self.fast = self.slow = self.mean = Fraction(0)

    def take(self, error: Fraction) -> None:
        self.fast += down((error - self.fast) / 2**self.fast_shift, 27)
        self.slow += down((error - self.slow) / 2**self.slow_shift, 27)
        band = down(self.fast - self.slow, 12)
        band = min(max(band, Fraction(-32)), 32 - Fraction(1, 4096))  # what Q6.12 can hold
        self.mean += down((down(band**2, 20) - self.mean) / 2**self.window, 35)

    @property
    def energy(self) -> Fraction:
        return down(self.mean, 20)
