"""The loop's arithmetic against systems whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from reflexarc.control import Gains, Response, loop_gain, margins, response_of, tune
from reflexarc.control.response import joined
from reflexarc.control.theory import stm_response

PERIOD_S = 560e-9
SLOPE = -3.1e10  # octaves per metre


def plant(frequency_Hz: np.ndarray, delay: int) -> Response:
    gain = SLOPE * np.exp(-2j * math.pi * frequency_Hz * delay * PERIOD_S)
    return Response(frequency_Hz, gain, np.abs(gain) * 1e-3, PERIOD_S)


def test_the_response_of_a_known_system_is_found_in_noise() -> None:
    """First order low-pass with a delay of three samples, excited by a square wave; noise as large as a hundredth of its step."""
    rng = np.random.default_rng(3)
    print("seed 3")
    half, periods = 250, 80
    z = np.tile(np.repeat([5e-12, -5e-12], half), periods)
    share = 0.05
    error = np.zeros(len(z))
    state = 0.0
    for k in range(len(z)):
        state += share * (SLOPE * z[k - 3] - state)
        error[k] = state
    found = response_of(z[2 * half :], error[2 * half :] + rng.normal(0, 1e-2 * 0.31, len(z) - 2 * half), half, PERIOD_S)
    turn = np.exp(-2j * math.pi * found.frequency_Hz * PERIOD_S)
    theory = SLOPE * turn**3 * share / (1 - (1 - share) * turn)
    low = found.frequency_Hz < 200e3
    assert np.abs(found.gain_per_m[low] / theory[low] - 1).max() < 0.2
    assert np.median(np.abs(found.gain_per_m[low] - theory[low]) / found.deviation[low]) == pytest.approx(0.9, abs=0.4)


def test_margins_of_an_integrator_with_delay() -> None:
    """Gain 1 at w: phase margin 90 degrees less the delays', gain margin where they reach 90 degrees."""
    delay = 4
    response = plant(np.geomspace(100, 400e3, 2000), delay)
    bandwidth = 10e3
    gains = Gains(0.0, 2 * math.pi * bandwidth * PERIOD_S / abs(SLOPE))
    found = margins(response, gains)
    # The controller itself takes half a sample to integrate and one to be recorded: 1.5 less the sample that z[k + 1] already counts.
    lag = 2 * math.pi * bandwidth * (delay + 0.5) * PERIOD_S
    assert found.bandwidth_Hz == pytest.approx(bandwidth, rel=0.01)
    assert found.phase_deg == pytest.approx(90 - math.degrees(lag), abs=1)
    critical = 1 / (4 * (delay + 0.5) * PERIOD_S)
    assert found.gain_dB == pytest.approx(20 * math.log10(critical / bandwidth), abs=0.5)
    assert found.peak == pytest.approx(np.max(1 / np.abs(1 + loop_gain(response, gains, response.frequency_Hz))), rel=1e-3)


def test_tuning_keeps_its_margins_and_wastes_none() -> None:
    for delay in (2, 8):
        response = plant(np.geomspace(100, 400e3, 1500), delay)
        found = tune(response)
        assert found.margins.peak <= 1.401 and found.margins.gain_dB >= 5.99 and found.margins.phase_deg >= 59.9
        more = margins(response, Gains(found.gains.kp_m * 1.1, found.gains.ki_m * 1.1))
        assert more.peak > 1.4 or more.gain_dB < 6 or more.phase_deg < 60


def test_a_plant_of_the_wrong_sense_is_refused() -> None:
    response = plant(np.geomspace(100, 400e3, 500), 2)
    with pytest.raises(ValueError, match="sense"):
        tune(Response(response.frequency_Hz, -response.gain_per_m, response.deviation, PERIOD_S))


def test_records_that_are_too_short_or_all_noise_are_refused() -> None:
    with pytest.raises(ValueError, match="two periods"):
        response_of(np.zeros(100), np.zeros(100), 40, PERIOD_S)
    rng = np.random.default_rng(1)
    noise = response_of(np.tile(np.repeat([1e-15, -1e-15], 50), 10), rng.normal(size=1000), 50, PERIOD_S)
    with pytest.raises(ValueError, match="told from noise"):
        joined([noise])


def test_theory_at_low_frequency_is_the_exponential() -> None:
    found = stm_response(
        np.array([1.0]), decay_per_m=1.087e10, z_resonance_Hz=60e3, z_quality=8.0, preamp_bandwidth_Hz=50e3, sample_period_s=PERIOD_S
    )
    assert found[0].real == pytest.approx(-2 * 1.087e10 / math.log(2), rel=1e-6) and abs(np.angle(-found[0])) < 1e-3
