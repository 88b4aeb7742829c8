"""The requantizer in integers is float32 arithmetic, which is onnxruntime's; thresholds prove it, and catch whatever is not quite that."""

import os
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflexarc.compiler import exact
from reflexarc.compiler.exact import (
    HIGH,
    INPUT_MAX,
    INPUT_MIN,
    LEVELS,
    LOW,
    SHIFT_MAX,
    SUM_MAX,
    Proven,
    input_thresholds,
    multiplier,
    onnxruntime_requantizer,
    prove_channels,
    prove_inputs,
    quantize_input,
    reference_requantize,
    requantize,
    split,
    thresholds,
)
from reflexarc.errors import BadInput

SEED = int(os.environ.get("REFLEXARC_SEED", "1"))
TINY, HUGE = 2.0**-149, float(np.finfo(np.float32).max)
KINDS = ("any", "power_of_two", "few_bits")  # of multipliers


def generator(*key) -> np.random.Generator:
    return np.random.default_rng([SEED, *key])


def multipliers(rng: np.random.Generator, kind: str, count: int) -> np.ndarray:
    """From those with which one sum saturates to those with which the greatest one is a half."""
    if kind == "power_of_two":
        mantissa = np.ones(count)
    elif kind == "few_bits":
        mantissa = rng.integers(128, 256, count) / 128
    else:
        mantissa = rng.uniform(1, 2, count)
    return np.ldexp(mantissa, rng.integers(-26, 9, count)).astype(np.float32)


def near_halves(rng: np.random.Generator, multipliers: np.ndarray) -> np.ndarray:
    """Sums next to where a value changes."""
    halves = rng.integers(-258, 258, multipliers.shape) + 0.5
    return np.clip(np.rint(halves / multipliers.astype(np.float64)) + rng.integers(-1, 2, multipliers.shape), -SUM_MAX, SUM_MAX).astype(
        np.int64
    )


def of_all_sizes(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(-SUM_MAX, SUM_MAX + 1, count) >> rng.integers(0, 25, count)


def ends(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    both = np.sort(rng.integers(LOW, HIGH + 1, (2, count)), axis=0)
    whole = rng.random(count) < 0.5
    return np.where(whole, LOW, both[0]), np.where(whole, HIGH, both[1])


# The integers.


def rounded(value: Fraction) -> int:
    """Python's rounding is half to even."""
    return round(value)


def naive(acc: int, factor: Fraction, zero_point: int, low: int, high: int) -> int:
    """A product of 24 significant bits, then an integer."""
    product = acc * factor
    if product:
        unit = Fraction(1)
        while abs(product) / unit >= 1 << 24:
            unit *= 2
        while abs(product) / unit < 1 << 23:
            unit /= 2
        product = rounded(product / unit) * unit
    return min(max(rounded(product) + zero_point, low), high)


@given(
    st.integers(-SUM_MAX, SUM_MAX), st.integers(1 << 23, (1 << 24) - 1), st.integers(0, SHIFT_MAX), st.integers(LOW, HIGH),
    st.tuples(st.integers(LOW, HIGH), st.integers(LOW, HIGH)).map(sorted),
)  # fmt: skip
def test_integers_are_fractions(acc, mantissa, shift, zero_point, clamp):
    expected = naive(acc, Fraction(mantissa, 1 << shift), zero_point, *clamp)
    assert requantize(acc, mantissa, shift, zero_point, *clamp) == expected
    assert reference_requantize(acc, np.ldexp(np.float32(mantissa), -shift), zero_point, *clamp) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_integers_are_float32(kind):
    """A million sums of all sizes, and a million next to a change."""
    rng = generator(KINDS.index(kind))
    count = 250_000
    for _ in range(4):
        factors = multipliers(rng, kind, count)
        mantissa, shift = split(factors)
        zero_point, (low, high) = rng.integers(LOW, HIGH + 1, count), ends(rng, count)
        for acc in (of_all_sizes(rng, count), near_halves(rng, factors)):
            expected = reference_requantize(acc, factors, zero_point, low, high)
            assert np.array_equal(requantize(acc, mantissa, shift, zero_point, low, high), expected)


def test_integers_are_float32_for_all_sums():
    """Each of the 2**25 - 1 sums, with a multiplier that makes use of them all."""
    factor = np.float32(1.1173e-5)
    mantissa, shift = split(factor)
    for begin in range(-SUM_MAX, SUM_MAX + 1, 1 << 18):
        acc = np.arange(begin, min(begin + (1 << 18), SUM_MAX + 1))
        found = requantize(acc, mantissa, shift, 3, LOW, HIGH)
        assert np.array_equal(found, reference_requantize(acc, factor, 3, LOW, HIGH))
        assert (np.diff(found) >= 0).all()


@given(st.floats(TINY, HUGE, width=32))
def test_split(factor):
    mantissa, shift = split(np.float32(factor))
    assert 1 << 23 <= mantissa < 1 << 24 and 0 <= shift <= SHIFT_MAX
    if 0 < shift < SHIFT_MAX:
        assert Fraction(int(mantissa), 1 << int(shift)) == Fraction(float(np.float32(factor)))


@pytest.mark.parametrize("factor", [HUGE, 2.0**24, 2.0**23, 2.0**-103, 2.0**-104, 2.0**-126, 1.5 * 2.0**-127, TINY, 0.0])
def test_multipliers_beyond_all_shifts(factor):
    """All saturates or all vanishes, whatever the shift's end."""
    acc = np.array([-SUM_MAX, -12345, -1, 0, 1, 12345, SUM_MAX])
    mantissa, shift = split(np.float32(factor))
    for zero_point in (LOW, 0, 5, HIGH):
        expected = reference_requantize(acc, np.float32(factor), zero_point, LOW, HIGH)
        assert np.array_equal(requantize(acc, mantissa, shift, zero_point, LOW, HIGH), expected)
        assert set(expected) <= ({LOW, zero_point, HIGH} if factor > 1 else {zero_point})


@pytest.mark.parametrize("scales", [(0, 1, 1), (1, -1, 1), (1, 1, 0), (np.inf, 1, 1), (1, 1, np.nan), (1e30, 1e30, 1), (1, 1, TINY)])
def test_scales_that_are_refused(scales):
    with pytest.raises(BadInput, match="finite"):
        multiplier(scales[0], [1.0, scales[1]], scales[2])


def test_a_multiplier_is_in_onnxruntimes_order():
    x_scale, w_scale, y_scale = (np.float32(value) for value in (0.1, 0.3, 0.7))
    assert multiplier(x_scale, w_scale, y_scale) == np.float32(np.float32(x_scale * w_scale) / y_scale)
    assert multiplier(1e-30, 1e-30, 1.0) == 0


# Thresholds.


def test_thresholds_are_the_changes_of_a_map():
    rng = generator(20)
    for _ in range(20):
        first = int(rng.integers(-1000, 0))
        last = first + int(rng.integers(1, 2000))
        steps = np.cumsum(rng.integers(0, 4, (3, last - first + 1)) == 0, axis=1) // int(rng.integers(1, 4)) + rng.integers(LOW, 20, (3, 1))
        table = np.clip(steps, LOW, HIGH)
        found = thresholds(lambda at, table=table, first=first: np.take_along_axis(table, at - first, axis=1), 3, first, last)
        for row in range(3):
            for level, place in zip(LEVELS, found[row], strict=True):
                reached = np.flatnonzero(table[row] >= level)
                assert place == (first + reached[0] if len(reached) else last + 1)


@pytest.mark.parametrize("kind", KINDS)
def test_next_to_each_threshold(kind):
    """400 channels, each of their thresholds and what is next to it: integers and float32, and equal thresholds."""
    rng = generator(30, KINDS.index(kind))
    factors = multipliers(rng, kind, 400)[:, np.newaxis]
    mantissa, shift = split(factors)
    zero_point = rng.integers(LOW, HIGH + 1, factors.shape)
    ours = thresholds(lambda acc: requantize(acc, mantissa, shift, zero_point, LOW, HIGH), len(factors))
    theirs = thresholds(lambda acc: reference_requantize(acc, factors, zero_point, LOW, HIGH), len(factors))
    assert np.array_equal(ours, theirs)
    for step in (-1, 0, 1):
        acc = np.clip(ours + step, -SUM_MAX, SUM_MAX)
        expected = reference_requantize(acc, factors, zero_point, LOW, HIGH)
        assert np.array_equal(requantize(acc, mantissa, shift, zero_point, LOW, HIGH), expected)


# onnxruntime.


def run_node(operator: str, given: dict[str, np.ndarray], inputs: list[str], attributes: dict, optimized: bool) -> np.ndarray:
    """The node's output; "x" is the model's input and all else a constant."""
    from onnx import helper, numpy_helper

    from reflexarc.compiler.graph import IR_VERSION, MICROSOFT, OPSET
    from reflexarc.compiler.runtime import Session

    kind = helper.np_dtype_to_tensor_dtype(given["x"].dtype)
    graph = helper.make_graph(
        [helper.make_node(operator, inputs, ["y"], domain=MICROSOFT if operator == "QGemm" else "", **attributes)],
        "node",
        [helper.make_tensor_value_info("x", kind, given["x"].shape)],
        [helper.make_tensor_value_info("y", kind, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in given.items() if name != "x"],
    )
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
    return Session(model.SerializeToString(), optimized=optimized).run(given["x"])[0].astype(np.int64)


@cache
def greatest_weight(optimized: bool) -> int:
    """The greatest signed weight with which onnxruntime is exact on this processor: any, in a session that is to be exact.

    On x86 without VNNI sums of two products saturate to 16 bits in a session that is not to be exact. Seven bits don't: 2 * 255 * 63 < 2**15.
    """
    one, zero, most = np.float32(1), np.uint8(0), 127
    if optimized:
        return most
    constants = {
        "x": np.full((1, 64), 255, np.uint8), "x_scale": one, "x_zero": zero, "w": np.full((64, 64), most, np.int8), "w_scale": one,
        "w_zero": np.int8(0), "y_scale": np.float32(255 * most * 64 / 200), "y_zero": zero,
    }  # fmt: skip
    exact_here = (run_node("QLinearMatMul", constants, list(constants), {}, optimized=False) == 200).all()
    return most if exact_here else 63


# Channels; shape of an input whose windows are whole: one place, or 1 x 1 kernels at several; kernel; pads; groups.
CONVOLUTIONS = {
    "1x1": (256, (3, 1, 1), (1, 1), (0, 0), 1),
    "1x1 at 7 places": (61, (3, 7, 1), (1, 1), (0, 0), 1),
    "1x1 at 7 places, few channels": (3, (5, 1, 7), (1, 1), (0, 0), 1),
    "3x3": (256, (2, 3, 3), (3, 3), (0, 0), 1),
    "5x5 padded": (255, (1, 3, 3), (5, 5), (1, 1), 1),
    "depthwise 3x3": (256, (256, 3, 3), (3, 3), (0, 0), 256),
    "depthwise 5x5": (129, (129, 5, 5), (5, 5), (0, 0), 129),
    "grouped 3x3": (256, (16, 3, 3), (3, 3), (0, 0), 4),
    "1-D 1": (256, (3, 1), (1,), (0,), 1),
    "1-D 5": (255, (4, 5), (5,), (0,), 1),
    "1-D depthwise 3": (64, (64, 3), (3,), (0,), 64),
    "1-D depthwise 7 padded": (64, (64, 3), (7,), (2,), 64),
}


@pytest.mark.parametrize("optimized", [False, True], ids=["plain", "optimized"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_onnxruntime_convolves_as_float32(name, optimized):
    """Whichever kernel it takes, with values and weights that are not 0: sums next to changes."""
    channels, shape, kernel, pads, groups = CONVOLUTIONS[name]
    compared = 0
    for number in range(24):
        rng = generator(40, sum(map(ord, name)), number)
        # onnxruntime makes the weights of a session that is to be exact unsigned, and has no optimized kernel for signed values with such.
        unsigned, weights_unsigned, per_channel = optimized or number % 2 == 0, number % 4 == 2, number // 4 % 2 == 0
        kind, weight_kind = np.uint8 if unsigned else np.int8, np.uint8 if weights_unsigned else np.int8
        bounds = np.iinfo(kind)
        signed_most = greatest_weight(optimized)
        least, most = (0, 255) if weights_unsigned else (-128 if signed_most == 127 else -signed_most, signed_most)
        x = rng.integers(bounds.min, bounds.max + 1, (1, *shape)).astype(kind)
        w = rng.integers(least, most + 1, (channels, shape[0] // groups, *kernel)).astype(weight_kind)
        x_zero, y_zero = rng.integers(bounds.min, bounds.max + 1, 2)
        w_zero = int(rng.integers(100, 156)) if weights_unsigned else 0
        scales = scales_of(rng, number // 8, channels if per_channel else 1)
        factors = np.broadcast_to(multiplier(*scales), channels)
        inside = w[(slice(None), slice(None), *(slice(pad, size - pad) for pad, size in zip(pads, kernel, strict=True)))].astype(np.int64)
        by_group = (x.astype(np.int64) - x_zero).reshape(groups, shape[0] // groups, *shape[1:])
        of_channel = by_group[np.arange(channels) // (channels // groups)]
        products = (inside - w_zero) * of_channel
        places = products.sum(axis=1) if kernel == (1, 1) else products.reshape(channels, -1).sum(axis=1)[:, np.newaxis]
        sums = places.reshape(channels, -1)
        bias = near_halves(rng, factors) - sums[:, 0]
        constants = {
            "x": x, "x_scale": np.float32(scales[0]), "x_zero": kind(x_zero), "w": w, "w_scale": scales[1] if per_channel else scales[1][0],
            "w_zero": np.full(channels, w_zero, weight_kind) if per_channel else weight_kind(w_zero),
            "y_scale": np.float32(scales[2]), "y_zero": kind(y_zero), "bias": bias.astype(np.int32),
        }  # fmt: skip
        found = run_node("QLinearConv", constants, list(constants), {"group": groups, "pads": [*pads, *pads]}, optimized)
        expected = reference_requantize(sums + bias[:, np.newaxis], factors[:, np.newaxis], y_zero, bounds.min, bounds.max)
        assert np.array_equal(found.reshape(channels, -1), expected), (number, scales)
        compared += expected.size
    assert compared >= 24 * channels


def scales_of(rng: np.random.Generator, kind: int, count: int) -> tuple[np.float32, np.ndarray, np.float32]:
    """Of input, weights and output: odd ones, powers of two, and a mixture."""
    powers = (
        np.float32(2.0 ** -rng.integers(3, 8)),
        np.ldexp(np.float32(1), -rng.integers(2, 11, count)),
        np.float32(2.0 ** -rng.integers(2, 8)),
    )
    odd = np.float32(rng.uniform(1e-3, 0.1)), (10 ** rng.uniform(-4, -1, count)).astype(np.float32), np.float32(rng.uniform(1e-3, 0.1))
    return [odd, powers, (odd[0], powers[1], odd[2])][kind % 3]


def digits(acc: np.ndarray, count: int, most: int) -> np.ndarray:
    """Weights [count, sums], up to ``most``, that make these sums of values which are all 127 but the last one, 1."""
    many, rest = (acc + 63) // 127, (acc + 63) % 127 - 63
    full, partly = np.abs(many) // most, np.abs(many) % most
    index = np.arange(count)[:, np.newaxis]
    found = np.sign(many) * np.where(index < full, most, np.where(index == full, partly, 0))
    found[-1] = rest
    return found


@pytest.mark.parametrize("optimized", [False, True], ids=["plain", "optimized"])
def test_onnxruntime_multiplies_matrices_as_float32(optimized):
    most, outputs = greatest_weight(optimized), 256
    count = 1060 * 127 // most  # as many as reach the sums' ends
    for number in range(12):
        rng = generator(50, number)
        unsigned, per_channel = optimized or number % 2 == 0, number // 2 % 2 == 0  # see above
        kind = np.uint8 if unsigned else np.int8
        bounds = np.iinfo(kind)
        scales = scales_of(rng, number // 4, outputs if per_channel else 1)
        factors = np.broadcast_to(multiplier(*scales), outputs)
        acc = np.clip(near_halves(rng, factors), -127 * most * (count - 2), 127 * most * (count - 2))
        x_zero, y_zero = int(rng.integers(bounds.min, bounds.max - 126)), rng.integers(bounds.min, bounds.max + 1)
        x = np.full((1, count), 127 + x_zero)
        x[0, -1] = 1 + x_zero
        w = digits(acc, count, most)
        assert np.array_equal((x[0] - x_zero) @ w, acc)
        constants = {
            "x": x.astype(kind), "x_scale": np.float32(scales[0]), "x_zero": kind(x_zero), "w": w.astype(np.int8),
            "w_scale": scales[1] if per_channel else scales[1][0],
            "w_zero": np.zeros(outputs, np.int8) if per_channel else np.int8(0),
            "y_scale": np.float32(scales[2]), "y_zero": kind(y_zero),
        }  # fmt: skip
        expected = reference_requantize(acc, factors, y_zero, bounds.min, bounds.max)
        assert np.array_equal(run_node("QLinearMatMul", constants, list(constants), {}, optimized)[0], expected)
        bias = (near_halves(rng, factors) - acc).astype(np.int32)
        inputs = ["x", "x_scale", "x_zero", "w", "w_scale", "w_zero", "bias", "y_scale", "y_zero"]
        expected = reference_requantize(acc + bias, factors, y_zero, bounds.min, bounds.max)
        assert np.array_equal(run_node("QGemm", constants | {"bias": bias}, inputs, {}, optimized)[0], expected)


@pytest.mark.parametrize("unsigned", [False, True])
def test_onnxruntime_saturates_before_it_rounds(unsigned):
    """A product beyond all integers gives an end, whatever the zero point; nothing wraps."""
    kind = np.iinfo(np.uint8 if unsigned else np.int8)
    for zero_point in (kind.min, kind.min + 7, kind.max):
        stored_zero = zero_point - 128 if unsigned else zero_point
        acc = np.resize(np.array([0, 1, -1, SUM_MAX, -SUM_MAX, 12345]), (1, 255))
        found = onnxruntime_requantizer(1.0, [1.0], 1e-30, zero_point, unsigned)(acc)
        assert np.array_equal(found, np.where(acc > 0, HIGH, np.where(acc < 0, LOW, stored_zero)))


@pytest.mark.parametrize("kind", range(3))
@pytest.mark.parametrize("unsigned", [False, True])
def test_channels_are_proved(kind, unsigned):
    rng = generator(60, kind, unsigned)
    scales = scales_of(rng, kind, 300)
    bounds = np.iinfo(np.uint8 if unsigned else np.int8)
    for zero_point in (bounds.min, int(rng.integers(bounds.min, bounds.max + 1))):
        found = prove_channels(*scales, zero_point, unsigned)
        assert found == Proven(300 * 255, 300 * 255) and found.differences == 0


def test_equal_channels_count_each():
    found = prove_channels(0.02, [0.01] * 40, 0.05, 3, True)
    assert found + prove_channels(0.02, [0.01], 0.05, 3, True) == Proven(41 * 255, 41 * 255)


# Everything that is not quite it is caught: as many channels as a small layer has.


def gemmlowp(acc, mantissa, shift, zero_point, low, high):
    """A multiplier of 31 bits, a doubling high product, then a shift that rounds halves away from zero."""
    multiplier, exponent = mantissa << 7, 24 - shift
    product = (acc << np.maximum(exponent, 0)) * multiplier
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    doubled = np.sign(nudged) * (np.abs(nudged) >> 31)
    right = np.clip(-exponent, 0, 62)
    remainder, mask = doubled & ((np.int64(1) << right) - 1), (np.int64(1) << right) - 1
    return np.clip((doubled >> right) + (remainder > (mask >> 1) + (doubled < 0)) + zero_point, low, high)


def exact_product(acc, mantissa, shift, zero_point, low, high):
    """The product is not rounded to 24 bits first."""
    return np.clip(np.rint(np.ldexp(np.float64(acc * mantissa), -shift)) + zero_point, low, high).astype(np.int64)


def halves_up(acc, mantissa, shift, zero_point, low, high):
    value = np.float64(np.ldexp(np.float64(acc * mantissa), -shift).astype(np.float32))
    return np.clip(np.floor(value + 0.5) + zero_point, low, high).astype(np.int64)


@pytest.mark.parametrize("wrong", [gemmlowp, exact_product, halves_up])
def test_another_rounding_is_caught(monkeypatch, wrong):
    rng = generator(70)
    monkeypatch.setattr(exact, "requantize", wrong)
    odd = prove_channels(*scales_of(rng, 0, 200), 3, True)
    powers = prove_channels(*scales_of(rng, 1, 200), 3, True)
    if wrong is gemmlowp:
        assert odd.differences > 0 and powers.differences > 0
    elif wrong is halves_up:
        assert powers.differences > 0
    else:
        assert odd.differences > 0
        assert powers.differences == 0  # a product with a power of two needs no first rounding


def test_another_multiplier_is_caught():
    x_scale, w_scale, y_scale = scales_of(generator(80), 0, 200)
    mantissa, shift = split(multiplier(x_scale, w_scale, y_scale))
    assert prove_channels(x_scale, w_scale, y_scale, 3, True, mantissa + 1, shift).differences > 0
    assert prove_channels(x_scale, w_scale, y_scale, 3, True, mantissa, shift + 1).differences > 10_000
    other_order = np.float32(x_scale) * (w_scale / np.float32(y_scale))
    assert prove_channels(x_scale, w_scale, y_scale, 3, True, *split(other_order)).differences > 0


# The input.


@settings(deadline=None)
@given(
    st.floats(2.0**-20, 2.0**10, width=32),
    st.booleans().flatmap(lambda unsigned: st.tuples(st.just(unsigned), st.integers(0, 255) if unsigned else st.integers(-128, 127))),
    st.floats(1e-20, 1e3),
    st.lists(st.integers(INPUT_MIN, INPUT_MAX - 1), min_size=1),
)
def test_input_thresholds_count(scale, kind, unit, values):
    unsigned, zero_point = kind
    found = input_thresholds(scale, zero_point, unsigned, unit)
    assert found.dtype == np.int32 and found.shape == (255,) and (np.diff(found.astype(np.int64)) >= 0).all()
    around = np.unique(np.clip(np.concatenate([found.astype(np.int64) + step for step in (-1, 0, 1)]), INPUT_MIN, INPUT_MAX - 1))
    for tried in (np.array(values), around):
        counted = (found <= tried[:, np.newaxis]).sum(axis=1) - 128
        assert np.array_equal(counted, quantize_input(tried, scale, zero_point, unsigned, unit))


@pytest.mark.parametrize("unsigned", [False, True])
def test_input_thresholds_are_onnxruntimes(unsigned):
    rng = generator(90, unsigned)
    bounds = np.iinfo(np.uint8 if unsigned else np.int8)
    total = Proven()
    for _ in range(60):
        unit = float(10 ** rng.uniform(-15, 2))
        scale = np.float32(unit * 2 ** rng.uniform(-2, 26)) if rng.random() < 0.7 else np.float32(2.0 ** rng.integers(-30, 10))
        zero_point = int(rng.integers(bounds.min, bounds.max + 1))
        total += prove_inputs(input_thresholds(scale, zero_point, unsigned, unit), scale, zero_point, unsigned, unit)
    assert total == Proven(60 * 255, 60 * 255)


def test_an_input_that_never_gets_there():
    assert set(input_thresholds(1.0, 0, False, 1e-12)) == {INPUT_MIN, INPUT_MAX}
    found = input_thresholds(1.0, 128, True, 1e-12)  # as stored 0: half of the thresholds are below all values
    assert (found[:128] == INPUT_MIN).all() and (found[128:] == INPUT_MAX).all()
    wrong = found.copy()
    wrong[7] += 1
    assert prove_inputs(wrong, 1.0, 128, True, 1e-12).differences == 1


@pytest.mark.parametrize(
    "scale, unit", [(0.0, 1.0), (-1.0, 1.0), (np.nan, 1.0), (np.inf, 1.0), (1.0, 0.0), (1.0, -1e-9), (1.0, np.inf), (1e-50, 1.0)]
)
def test_inputs_that_are_refused(scale, unit):
    with pytest.raises(BadInput, match="finite and above 0"):
        input_thresholds(scale, 0, False, unit)
