"""Conditions on the raw samples: windows, slew, saturation, repetition, oscillation."""

import math
from fractions import Fraction

import pytest
from naive_oscillation import NaiveOscillation
from support import run_block

from reflexarc_hw.blocks.signals import Signals
from reflexarc_hw.blocks.signals.oscillation import ENERGY_CYCLES, Oscillation

ENERGY_LATENCY = 10  # from an error to its energy


@pytest.mark.parametrize("channels", [1, 2])
def test_signals(channels):
    run_block(Signals(channels == 2), "cocotb_signals", name=f"signals_{channels}", channels=channels)


def test_guard():
    run_block(Signals(True), "cocotb_guard", name="signals_2", block="signals")


def test_oscillation():
    assert ENERGY_CYCLES == ENERGY_LATENCY
    run_block(Oscillation(), "cocotb_oscillation", name="oscillation", energy_cycles=ENERGY_LATENCY)


def energy_of_sine(cycles_per_sample: float, amplitude: float, samples: int = 12000) -> float:
    """What the naive model makes of a sine: the default band, a mean over 2**9 samples."""
    model = NaiveOscillation(2, 7, 9)
    for index in range(samples):
        model.take(Fraction(round(amplitude * math.sin(2 * math.pi * cycles_per_sample * index) * 4096), 4096))
    return float(model.energy)


def test_band_of_the_naive_model():
    """Half of the amplitude's square within the band; little of it far beyond its edges, 1 / (2 pi 2**n) of the sample rate."""
    low_edge, high_edge = 1 / (2 * math.pi * 2**7), 1 / (2 * math.pi * 2**2)
    middle = math.sqrt(low_edge * high_edge)
    assert 0.85 * 0.5 < energy_of_sine(middle, 1.0) < 0.5
    assert energy_of_sine(low_edge / 10, 1.0) < 0.02 * 0.5
    assert energy_of_sine(high_edge * 10, 1.0) < 0.05 * 0.5
    assert 0.85 * 0.5 * 16 < energy_of_sine(middle, 4.0) < 0.5 * 16


def test_constant_error_has_no_energy():
    model = NaiveOscillation(2, 7, 4)
    for _ in range(6000):
        model.take(Fraction(-3))
    assert model.energy == 0
