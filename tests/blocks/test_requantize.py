"""The requantizer's gateware is `reflexarc.compiler.exact.requantize`, in its cycle: random sums, thresholds, corners."""

from typing import Any

import numpy as np
import pytest
from lockstep import Lockstep
from support import default_seed

from reflexarc.compiler.exact import HIGH, LOW, SHIFT_MAX, SUM_MAX, requantize, split, thresholds
from reflexarc_hw.blocks.detector.requantize import REQUANTIZE_CYCLES, Requantizer

LATENCY = 8  # valid to value_valid
SUM_MIN = -SUM_MAX - 1  # a sum may be that before its bias
MANTISSAS = np.array([1 << 23, (1 << 23) + 1, 0xAAAAAA, 0xC00000, 0xD55555, (1 << 24) - 2, (1 << 24) - 1])


@pytest.fixture(scope="module")
def requantizer():
    component = Lockstep(Requantizer(), "requantizer")
    yield component
    component.close()


@pytest.fixture
def rng(request):
    return np.random.default_rng([default_seed(), sum(map(ord, request.node.name))])


def compare(requantizer: Lockstep, rng: np.random.Generator, acc: Any, given: dict[str, Any], duty: float = 1.0) -> int:
    """Run these sums one a cycle, those that are valid; how many were compared. Sums are split into sum and bias at random."""
    given = {"zero_point": 0, "low": LOW, "high": HIGH} | given
    acc, *others = (np.ravel(each) for each in np.broadcast_arrays(acc, *given.values()))
    given = dict(zip(given, others, strict=True))
    count = len(acc)
    bias = rng.integers(np.maximum(acc - SUM_MAX, SUM_MIN), np.minimum(acc - SUM_MIN, SUM_MAX) + 1)
    bias = np.where(rng.random(count) < 0.2, 0, bias)
    valid = rng.random(count) < duty
    padding = np.zeros(LATENCY, np.int64)
    stimuli = {name: np.concatenate([each, padding]) for name, each in {**given, "valid": valid, "sum": acc - bias, "bias": bias}.items()}
    out = requantizer.run(stimuli, count + LATENCY)
    assert np.array_equal(out["value_valid"][LATENCY:], valid) and not out["value_valid"][:LATENCY].any()
    found = out["value"].astype(np.int8)
    expected = requantize(acc, *(given[name] for name in ("mantissa", "shift", "zero_point", "low", "high")))
    wrong = np.flatnonzero(valid & (found[LATENCY:] != expected))
    about = [
        {"acc": acc[i], **{name: each[i] for name, each in given.items()}, "found": found[LATENCY + i], "expected": expected[i]}
        for i in wrong[:3]
    ]
    assert not len(wrong), f"{len(wrong)} of {count} differ, such as {about} (seed {default_seed()})"
    changes = np.flatnonzero(np.diff(out["value"])) + 1
    assert out["value_valid"][changes].all()
    return int(valid.sum())


def clamps(rng: np.random.Generator, count: int) -> dict[str, np.ndarray]:
    """Half of them whole."""
    low, high = np.sort(rng.integers(LOW, HIGH + 1, (2, count)), axis=0)
    whole = rng.random(count) < 0.5
    return {"zero_point": rng.integers(LOW, HIGH + 1, count), "low": np.where(whole, LOW, low), "high": np.where(whole, HIGH, high)}


def mantissas(rng: np.random.Generator, kind: str, count: int) -> np.ndarray:
    if kind == "power_of_two":
        return np.full(count, 1 << 23)
    if kind == "few_bits":
        return rng.integers(128, 256, count) << 16
    return rng.integers(1 << 23, 1 << 24, count)


def test_latency():
    assert REQUANTIZE_CYCLES == LATENCY


@pytest.mark.parametrize("duty", [1.0, 0.4])
@pytest.mark.parametrize("kind", ["any", "power_of_two", "few_bits"])
def test_random(requantizer, rng, kind, duty):
    """A million sums of all sizes, with shifts of all kinds, and a million next to where values change; all else new in each cycle."""
    compared = 0
    for _ in range(4):
        count = 250_000
        mantissa = mantissas(rng, kind, count)
        shift = np.where(rng.random(count) < 0.1, rng.integers(0, SHIFT_MAX + 1, count), rng.integers(14, 50, count))
        acc = rng.integers(-SUM_MAX, SUM_MAX + 1, count) >> rng.integers(0, 25, count)
        compared += compare(requantizer, rng, acc, {"mantissa": mantissa, "shift": shift, **clamps(rng, count)}, duty)
        halves = np.rint((rng.integers(-258, 258, count) + 0.5) / np.ldexp(mantissa.astype(np.float64), -shift))
        acc = np.clip(halves + rng.integers(-1, 2, count), -SUM_MAX, SUM_MAX).astype(np.int64)
        compared += compare(requantizer, rng, acc, {"mantissa": mantissa, "shift": shift, **clamps(rng, count)}, duty)
    assert compared > 1_900_000 * duty


@pytest.mark.parametrize("kind", ["any", "power_of_two", "few_bits"])
def test_next_to_each_threshold(requantizer, rng, kind):
    """All thresholds of 600 channels, and the sums below and above them."""
    factors = np.ldexp(mantissas(rng, kind, 600)[:, np.newaxis].astype(np.float32), -rng.integers(15, 50, (600, 1)))
    mantissa, shift = split(factors)
    zero_point = rng.integers(LOW, HIGH + 1, factors.shape)
    places = thresholds(lambda acc: requantize(acc, mantissa, shift, zero_point, LOW, HIGH), len(factors))
    acc = np.clip(places[:, :, np.newaxis] + [-1, 0, 1], -SUM_MAX, SUM_MAX)
    channel = {"mantissa": mantissa[..., np.newaxis], "shift": shift[..., np.newaxis], "zero_point": zero_point[..., np.newaxis]}
    assert compare(requantizer, rng, acc, channel) == 600 * 255 * 3


def test_each_small_sum_with_each_shift(requantizer, rng):
    acc, mantissa, shift = np.meshgrid(np.arange(-300, 301), MANTISSAS, np.arange(SHIFT_MAX + 1))
    assert compare(requantizer, rng, acc, {"mantissa": mantissa, "shift": shift, "zero_point": 3}) == 601 * len(MANTISSAS) * 128


def test_each_sum_of_13_bits_with_small_shifts(requantizer, rng):
    """Shifts at which one sum saturates, up to those at which 4096 make 1."""
    acc, mantissa, shift = np.meshgrid(np.arange(-4096, 4096), MANTISSAS, np.arange(12, 36))
    assert compare(requantizer, rng, acc, {"mantissa": mantissa, "shift": shift, "zero_point": -5}) == 8192 * len(MANTISSAS) * 24


def test_greatest_sums_with_each_shift(requantizer, rng):
    near = np.concatenate([sign * ((1 << np.arange(25))[:, np.newaxis] + np.arange(-40, 41)).ravel() for sign in (-1, 1)])
    acc, mantissa, shift = np.meshgrid(near[np.abs(near) <= SUM_MAX], MANTISSAS, np.arange(SHIFT_MAX + 1))
    assert compare(requantizer, rng, acc, {"mantissa": mantissa, "shift": shift, "zero_point": 7}) > 3_000_000


def test_each_zero_point_and_clamp(requantizer, rng):
    """Values about 0 and beyond both ends, with clamps that leave one value, some, or all."""
    zero_point = np.arange(LOW, HIGH + 1)[:, np.newaxis, np.newaxis]
    values = np.concatenate([np.arange(-260, 261), [-SUM_MAX, SUM_MAX]])
    ends = np.array([(LOW, HIGH), (LOW, LOW), (HIGH, HIGH), (0, 0), (-1, 1), (LOW, -100), (50, HIGH), (-7, 90)])
    channel = {"mantissa": 3 << 22, "shift": 24, "zero_point": zero_point, "low": ends[:, 0, np.newaxis], "high": ends[:, 1, np.newaxis]}
    assert compare(requantizer, rng, values, channel) == 256 * 8 * 523


def test_an_output_that_is_not_used(requantizer, rng):
    """Mantissa 0: the zero point, clamped, whatever the sum."""
    count = 50_000
    acc, shift = rng.integers(-SUM_MAX, SUM_MAX + 1, count), rng.integers(0, SHIFT_MAX + 1, count)
    ends = clamps(rng, count)
    out = requantizer.run({"valid": 1, "sum": acc, "mantissa": 0, "shift": shift, **ends}, count)
    expected = np.clip(ends["zero_point"], ends["low"], ends["high"])
    assert np.array_equal(out["value"].astype(np.int8)[LATENCY:], expected[:-LATENCY])
