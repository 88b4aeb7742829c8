"""1/f noise against A^2 / f: the spectrum that its coefficients imply, and the one that it has."""

import math

import numba
import numpy as np
import pytest
from test_plant_stm import PERIOD_S, WHITE, close, flat, hold, rest_at

from reflexarc_sim.plants import flicker
from reflexarc_sim.plants.stm import Parameter, StmParameters
from reflexarc_sim.plants.stm_layout import FLICKER_AT, PLAYS_AT

SEED = 11
E_C, K_J_PER_K = 1.602176634e-19, 1.380649e-23


def decibels(ratio) -> np.ndarray:
    return 10 * np.log10(ratio)


def density(values: np.ndarray, rate_Hz: float, segment: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and one-sided density of (..., n) values: averaged periodograms of Hann-windowed segments that overlap by half."""
    window = np.hanning(segment)
    starts = range(0, values.shape[-1] - segment + 1, segment // 2)
    pieces = np.stack([values[..., start : start + segment] for start in starts], axis=-2)
    pieces = (pieces - pieces.mean(axis=-1, keepdims=True)) * window
    power = 2 * np.abs(np.fft.rfft(pieces, axis=-1)) ** 2 / (rate_Hz * (window**2).sum())
    return np.fft.rfftfreq(segment, 1 / rate_Hz), power.reshape(-1, power.shape[-1]).mean(axis=0)


def in_bands(frequencies: np.ndarray, ratio: np.ndarray, low: float, high: float, per_decade: int) -> np.ndarray:
    """Means of `ratio` in bands of equal width on a logarithmic axis."""
    count = round(math.log10(high / low) * per_decade)
    edges = low * (high / low) ** (np.arange(count + 1) / count)
    return np.array([ratio[(frequencies >= a) & (frequencies < b)].mean() for a, b in zip(edges, edges[1:], strict=False)])


@pytest.mark.parametrize("period_s", [100e-9, 560e-9, 4e-6])
def test_coefficients_imply_one_over_f(period_s):
    """Each held first-order process has a known spectrum: that of its sequence times sinc^2. Their sum, over 0.1 Hz to 10 kHz."""
    frequencies = np.logspace(-1, 4, 300)
    scale, *_ = coefficients = flicker.coefficients((3.0, 0.0, 1.0), period_s)
    assert coefficients[1] == 0.0 and coefficients[2] == close(scale / 3)
    decays, kicks, strides = coefficients[flicker.SOURCES :].reshape(3, flicker.CORNERS)
    assert decays**2 + kicks**2 == pytest.approx(np.ones(flicker.CORNERS), abs=1e-12)  # a variance of 1 stays 1
    assert decays == close(np.exp(-2 * math.pi * flicker.corners_Hz() * strides * period_s))
    total = np.zeros(frequencies.size)
    for decay, stride in zip(decays, strides, strict=True):
        turn = frequencies * stride * period_s
        sequence = 2 * stride * period_s * (1 - decay**2) / (1 - 2 * decay * np.cos(2 * math.pi * turn) + decay**2)
        total += sequence * np.sinc(turn) ** 2
    deviation = decibels(scale**2 * total * frequencies / 9.0)
    print(f"deviation from 1/f at {period_s:g} s a sample: {deviation.min():.2f} to {deviation.max():.2f} dB")
    assert np.abs(deviation).max() < 0.65  # 0.3 but for narrow dips at multiples of the rates at which processes advance


@numba.njit
def record(samples, average, coefficients, key):
    """Means over `average` samples, shape (sources, samples / average)."""
    state = np.zeros(flicker.STATES)
    flicker.begin(state, 0, coefficients, 0, key)
    out = np.zeros((flicker.SOURCES, samples // average))
    for n in range(samples):
        flicker.advance(state, 0, coefficients, 0, key, n + 1)
        for source in range(flicker.SOURCES):
            out[source, n // average] += state[source] / average
    return out


def test_spectrum_below_30_Hz():
    """Six minutes, by longer samples than the plant's (36 us); three independent sources tell three times as much."""
    period_s, average, minutes = 64 * PERIOD_S, 64, 6
    print(f"seed {SEED}")
    samples = round(minutes * 60 / period_s / average) * average
    values = record(samples, average, flicker.coefficients((2.0, 2.0, 2.0), period_s), np.uint64(SEED))
    rate_Hz = 1 / (period_s * average)
    frequencies, power = density(values, rate_Hz, 1 << 14)
    with np.errstate(divide="ignore"):
        ratio = power * frequencies / 4.0 / np.sinc(frequencies / rate_Hz) ** 2
    deviation = decibels(in_bands(frequencies, ratio, 0.08, 30.0, 3))
    print("below 30 Hz:", np.round(deviation, 2), "dB")
    assert np.abs(deviation).max() < 1.0
    correlation = np.corrcoef(np.diff(values, axis=1))
    assert np.abs(correlation - np.eye(flicker.SOURCES)).max() < 0.02


@pytest.mark.parametrize("source", ["junction", "preamp", "height"])
def test_spectrum_of_the_plant(source):
    """From 100 Hz to 10 kHz at the preamplifier's output, each source alone, so strong that white noise and rounding are far below."""
    amplitudes = {"current_flicker_per_sqrtHz": 0.0, "preamp_flicker_A_per_sqrtHz": 0.0, "z_flicker_m_per_sqrtHz": 0.0}
    name, amplitude = {
        "junction": ("current_flicker_per_sqrtHz", 0.01),
        "preamp": ("preamp_flicker_A_per_sqrtHz", 1e-9),
        "height": ("z_flicker_m_per_sqrtHz", 0.5e-12),
    }[source]
    parameters = {**amplitudes, name: amplitude, "temperature_K": 0.0, "preamp_gain_V_per_A": 1e6, "preamp_bandwidth_Hz": 400e3}
    print(f"seed {SEED}")
    plant = flat(SEED, noise=True, **parameters)
    plant.parameters_array[Parameter.SHOT_VARIANCE_PER_A] = 0.0
    current_A = 1e-7
    gap_m = plant.parameters.gap_m(0.1, current_A)
    rest_at(plant, gap_m, 0.1)
    amperes = hold(plant, 1 << 21, z_V=gap_m / 10e-9, bias_V=0.1) / 1e6
    # What one unit of the source is in amperes: for the height to first order, with 1 % of the current at 0.5 pm.
    unit = {"junction": current_A, "preamp": 1.0, "height": 2 * plant.parameters.decay_per_m * current_A}[source]
    frequencies, power = density(amperes, 1 / PERIOD_S, 1 << 17)
    deviation = decibels(in_bands(frequencies, power * frequencies / (amplitude * unit) ** 2, 100.0, 10e3, 3))
    print(f"{source}, 100 Hz to 10 kHz:", np.round(deviation, 2), "dB")
    assert np.abs(deviation).max() < 1.0


def test_defaults_are_small_and_realistic():
    """The corner of the current at 100 pA, and the height between 0.1 Hz and 1 kHz."""
    p = StmParameters()
    white = 2 * E_C * 100e-12 + 4 * K_J_PER_K * 300 / 1e9
    at_1_Hz = (p.current_flicker_per_sqrtHz * 100e-12) ** 2 + p.preamp_flicker_A_per_sqrtHz**2
    assert 100 < at_1_Hz / white < 300
    assert p.z_flicker_m_per_sqrtHz * math.sqrt(math.log(1e4)) == close(1e-12, rel=0.01)


def test_without_noise_there_is_none():
    for parameters in ({"noise": False}, WHITE):
        plant = flat(**parameters)
        hold(plant, 100, z_V=0.05, bias_V=0.1)
        assert plant.parameters_array[Parameter.FLICKERING] == 0.0 and not plant.state[FLICKER_AT:PLAYS_AT].any()


def test_begins_as_if_it_had_always_been_running():
    """The first value of many seeds has the variance of the whole: ln 8 for each of the eight corners, times (density at 1 Hz)^2."""
    first = np.empty(4000)
    coefficients, state = flicker.coefficients((1.0, 1.0, 1.0), PERIOD_S), np.zeros(flicker.STATES)
    for k, key in enumerate(np.random.default_rng(SEED).integers(0, 2**64, first.size, dtype=np.uint64)):
        flicker.begin(state, 0, coefficients, 0, key)
        first[k] = state[0]
    assert first.var() == close(8 * math.log(8), rel=4 * math.sqrt(2 / first.size))


def test_pieces_equal_the_whole_and_the_seed_decides():
    runs = [flat(seed, noise=True) for seed in (SEED, SEED, SEED + 1)]
    whole = hold(runs[0], 5000, z_V=0.05, bias_V=0.1)
    pieces = np.concatenate([hold(runs[1], count, z_V=0.05, bias_V=0.1) for count in (1, 63, 2000, 2936)])
    other = hold(runs[2], 5000, z_V=0.05, bias_V=0.1)
    assert np.array_equal(whole, pieces) and not np.array_equal(whole, other)
    assert runs[0].state.tobytes() == runs[1].state.tobytes()
