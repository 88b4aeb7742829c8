"""The numbers that compare a topography with the true surface."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc.report import topography_metrics

RAMP = np.linspace(0, 100e-12, 12).reshape(3, 4)


def test_an_offset_is_no_error() -> None:
    metrics = topography_metrics(RAMP + 1e-6, RAMP)
    assert metrics.rms_m == pytest.approx(0, abs=1e-20) and metrics.rms_fraction == pytest.approx(0, abs=1e-9)
    assert metrics.peak_to_peak_m == pytest.approx(100e-12)
    assert metrics.correlation == pytest.approx(1)


def test_known_numbers() -> None:
    true = np.array([0.0, 0.0, 4.0, 4.0])
    metrics = topography_metrics(true + [1, -1, 1, -1], true)
    assert (metrics.rms_m, metrics.peak_to_peak_m, metrics.rms_fraction) == (1.0, 4.0, 0.25)
    assert metrics.correlation == pytest.approx(4 / math.sqrt(4 * 5))
    assert topography_metrics(-true, true).correlation == -1


def test_missing_pixels_are_ignored_in_all_numbers() -> None:
    true, measured = RAMP.copy(), RAMP.copy()
    measured[0, 0], true[2, 3] = np.nan, np.nan
    measured[2, 3] = true[0, 0] = 1.0  # would spoil everything
    metrics = topography_metrics(measured, true)
    assert metrics.rms_m == pytest.approx(0, abs=1e-20) and metrics.peak_to_peak_m == pytest.approx(RAMP[2, 2] - RAMP[0, 1])


def test_tilt_is_not_forgiven() -> None:
    assert topography_metrics(RAMP * 1.5, RAMP).rms_fraction > 0.1


def test_a_constant_measurement_does_not_correlate() -> None:
    metrics = topography_metrics(np.full_like(RAMP, 3e-9), RAMP)
    assert metrics.correlation == 0 and metrics.rms_m == pytest.approx(RAMP.std())


def test_nothing_to_compare() -> None:
    with pytest.raises(ValueError, match="shape"):
        topography_metrics(RAMP, RAMP.T)
    with pytest.raises(ValueError, match="not two pixels"):
        topography_metrics(np.full_like(RAMP, np.nan), RAMP)
    with pytest.raises(ValueError, match="not two pixels"):
        topography_metrics([], [])
    with pytest.raises(ValueError, match="flat"):
        topography_metrics(RAMP, np.ones_like(RAMP))
    with pytest.raises(ValueError, match="infinite"):
        topography_metrics(RAMP + [np.inf, 0, 0, 0], RAMP)


@given(st.lists(st.tuples(st.floats(-1e-6, 1e-6), st.floats(-1e-6, 1e-6)), min_size=2, max_size=50))
def test_against_the_textbook(pairs: list[tuple[float, float]]) -> None:
    measured, true = np.array(pairs).T
    if np.ptp(true) < 1e-15 or np.ptp(measured) < 1e-15:
        return
    metrics = topography_metrics(measured, true)
    assert metrics.rms_m == pytest.approx(np.std(measured - true), rel=1e-9, abs=1e-20)
    assert metrics.correlation == pytest.approx(np.corrcoef(measured, true)[0, 1], abs=1e-6)
