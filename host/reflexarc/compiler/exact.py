"""The requantizer and the input's quantizer in integers, and the proof that they are onnxruntime's.

What onnxruntime computes for a sum ``acc``, in float32 and in this order::

    S = fl32(fl32(x_scale * w_scale) / y_scale)
    v = fl32(fl32(acc) * S), held within the values that can be stored less the zero point, rounded half to even, plus the zero point

**Why thresholds prove it.** Each step never falls where ``acc`` rises: a conversion to the nearest float32, a product with S > 0 rounded to the
nearest float32, a clamp, a rounding to the nearest integer, a sum with a constant. What ``requantize`` does to a magnitude never falls either: a product
with a positive mantissa is rounded to the nearest number of 24 significant bits, then to the nearest integer; and to -acc it gives the opposite before the
clamp. A map that never falls, from integers to 256 values, is given by its 255 thresholds: for each value but the least, the least ``acc`` that
reaches it. Two such maps with equal thresholds are the same map, for all sums that there can be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reflexarc.contract.model import ACCUMULATOR_BITS, MANTISSA_BITS, PARAMETER_LAYOUT, THRESHOLDS
from reflexarc.errors import BadInput

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]
Map = Callable[[Int64], Int64]  # arguments [rows, THRESHOLDS] to stored values, each row by a map of its own that never falls

SUM_MAX = (1 << (ACCUMULATOR_BITS - 1)) - 1  # a sum's magnitude with its bias; the compiler proves it of each output
SHIFT_MAX = (1 << next(field.width for field in PARAMETER_LAYOUT.fields if field.name == "shift")) - 1
LOW, HIGH = -128, 127  # what can be stored; an unsigned tensor's value less 128
LEVELS = np.arange(LOW + 1, HIGH + 1)  # those that have a threshold
INPUT_MIN, INPUT_MAX = -(1 << 31), (1 << 31) - 1  # of a measured value, Q20.12
ROWS = 256  # channels that onnxruntime is asked about at once


def multiplier(x_scale: ArrayLike, w_scale: ArrayLike, y_scale: ArrayLike) -> Float32:
    """S for each channel. Refused where it is infinite or not a number; 0 where it is less than float32 has."""
    scales = [np.asarray(scale, np.float32) for scale in (x_scale, w_scale, y_scale)]
    with np.errstate(all="ignore"):
        found = np.asarray((scales[0] * scales[1]) / scales[2], np.float32)
    if not all(bool((np.isfinite(scale) & (scale > 0)).all()) for scale in scales) or not np.isfinite(found).all():
        raise BadInput(
            "a scale is not above 0, or the scales of input and weights are too large for that of the output; scales have to be finite"
        )
    return found


def split(multiplier: ArrayLike) -> tuple[Int64, Int64]:
    """Mantissas from 2**23 up and shifts from 0 to SHIFT_MAX: the multiplier is ``mantissa * 2.0**-shift``.

    Where the shift does not fit, its end does the same: without a shift each sum but 0 saturates, and with the greatest one none reaches a half.
    """
    fraction, exponent = np.frexp(np.asarray(multiplier, np.float64))
    vanishes = fraction == 0
    mantissa = np.where(vanishes, 1 << (MANTISSA_BITS - 1), np.ldexp(fraction, MANTISSA_BITS).astype(np.int64))
    shift = np.where(vanishes, SHIFT_MAX, np.clip(MANTISSA_BITS - exponent.astype(np.int64), 0, SHIFT_MAX))
    return mantissa.astype(np.int64), shift


def _half_even(value: Int64, bits: Int64) -> Int64:
    """``value / 2**bits`` rounded to the nearest integer, half to even."""
    down = value >> bits
    rest = 2 * (value - (down << bits))
    one = np.int64(1) << bits
    up = (rest > one) | ((rest == one) & (down & 1 == 1))
    return np.asarray(down + up, np.int64)


def requantize(acc: ArrayLike, mantissa: ArrayLike, shift: ArrayLike, zero_point: ArrayLike, low: ArrayLike, high: ArrayLike) -> Int64:
    """Stored values, as the gateware makes them; ``acc`` is a sum with its bias, up to SUM_MAX in magnitude."""
    acc, mantissa, shift = (np.asarray(value, np.int64) for value in (acc, mantissa, shift))
    magnitude = np.abs(acc)
    _, length = np.frexp(magnitude.astype(np.float64))
    zeros = np.int64(ACCUMULATOR_BITS - 1) - length  # that lead
    product = (magnitude << zeros) * mantissa  # from 2**46 to 2**48, or 0
    top = product >> 47
    significand = _half_even(product, top + 23)  # of the product as float32
    right = shift + zeros - 23 - top
    value = _half_even(significand, np.clip(right, 16, 25))
    value = np.where(right < 16, 1 << 8, np.where(right > 25, 0, value))
    value = np.where(product == 0, 0, value)
    return np.clip(np.asarray(zero_point, np.int64) + np.sign(acc) * value, low, high)


def reference_requantize(acc: ArrayLike, multiplier: ArrayLike, zero_point: ArrayLike, low: ArrayLike, high: ArrayLike) -> Int64:
    """The same in float32, in onnxruntime's order; ``multiplier`` must be finite."""
    zero_point, low, high = (np.asarray(value, np.int64) for value in (zero_point, low, high))
    with np.errstate(over="ignore"):
        value = np.asarray(acc).astype(np.float32) * np.asarray(multiplier, np.float32)
    held = np.minimum(np.maximum(value, (low - zero_point).astype(np.float32)), (high - zero_point).astype(np.float32))
    return np.rint(held).astype(np.int64) + zero_point


def thresholds(function: Map, rows: int, first: int = -SUM_MAX, last: int = SUM_MAX) -> Int64:
    """For each row and level the least argument from ``first`` to ``last`` whose value is not below it; ``last + 1`` where there is none."""
    below = np.full((rows, len(LEVELS)), first - 1, np.int64)
    reached = np.full((rows, len(LEVELS)), last + 1, np.int64)
    while (reached - below > 1).any():
        middle = (below + reached) >> 1
        inside = middle > below
        # Where the search has ended, any argument will do.
        enough = function(np.where(inside, middle, first)) >= LEVELS
        reached = np.where(inside & enough, middle, reached)
        below = np.where(inside & ~enough, middle, below)
    return reached


@dataclass(frozen=True)
class Proven:
    """Thresholds of channels that were compared. A threshold beyond all sums is one too: then neither map reaches the value."""

    thresholds_proven: int = 0
    thresholds_total: int = 0

    @property
    def differences(self) -> int:
        return self.thresholds_total - self.thresholds_proven

    def __add__(self, other: Proven) -> Proven:
        return Proven(self.thresholds_proven + other.thresholds_proven, self.thresholds_total + other.thresholds_total)


def _session(operator: str, constants: dict[str, NDArray[Any]], inputs: list[str], given: str, kind: Any, unsigned: bool) -> Any:
    """A model of one node that has one input, ``given``."""
    from onnx import TensorProto, helper, numpy_helper

    from reflexarc.compiler.graph import IR_VERSION, OPSET
    from reflexarc.compiler.runtime import Session

    graph = helper.make_graph(
        [helper.make_node(operator, inputs, ["y"])],
        operator,
        [helper.make_tensor_value_info(given, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), [None])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8 if unsigned else TensorProto.INT8, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return Session(model.SerializeToString())


def onnxruntime_requantizer(x_scale: ArrayLike, w_scale: ArrayLike, y_scale: ArrayLike, zero_point: int, unsigned: bool) -> Map:
    """What onnxruntime makes of sums: one QLinearConv whose channels have a row's weight scale, THRESHOLDS of them a row.

    The sum that a channel rounds is its bias, which is the model's input: the one value that it convolves is the zero point, with a weight of 0.
    ``zero_point`` is the node's, from 0 to 255 if ``unsigned``.
    """
    scales = np.repeat(np.asarray(w_scale, np.float32).reshape(-1), THRESHOLDS)
    stored = np.uint8 if unsigned else np.int8
    constants: dict[str, NDArray[Any]] = {
        "x": np.zeros((1, 1, 1, 1), stored),
        "x_scale": np.asarray(x_scale, np.float32).reshape(()),
        "x_zero_point": np.zeros((), stored),
        "w": np.zeros((len(scales), 1, 1, 1), np.int8),
        "w_scale": scales,
        "w_zero_point": np.zeros(len(scales), np.int8),
        "y_scale": np.asarray(y_scale, np.float32).reshape(()),
        "y_zero_point": np.asarray(zero_point, stored),
    }
    session = _session("QLinearConv", constants, [*constants, "bias"], "bias", np.int32, unsigned)

    def run(acc: Int64) -> Int64:
        values = session.run(acc.astype(np.int32).reshape(-1))[0].reshape(acc.shape).astype(np.int64)
        return np.asarray(values - 128 if unsigned else values)

    return run


def prove_channels(
    x_scale: float | np.float32,
    w_scale: ArrayLike,
    y_scale: float | np.float32,
    zero_point: int,
    unsigned: bool,
    mantissa: ArrayLike | None = None,
    shift: ArrayLike | None = None,
) -> Proven:
    """Whether ``requantize`` with what the image has for each channel is what onnxruntime computes with the node's scales.

    ``w_scale``: of each channel. ``zero_point``: the node's, of what it gives. Without ``mantissa`` and ``shift`` those that ``split`` gives.
    ReLU and Clip clamp what both give, and can't make them differ. Channels of equal numbers are one map, which is compared once and counts for each.
    """
    w_scale = np.asarray(w_scale, np.float32).reshape(-1)
    if mantissa is None or shift is None:
        mantissa, shift = split(multiplier(x_scale, w_scale, y_scale))
    channels = np.stack([w_scale.view(np.uint32).astype(np.int64), np.asarray(mantissa, np.int64), np.asarray(shift, np.int64)], axis=1)
    different, alike = np.unique(channels, axis=0, return_counts=True)
    stored_zero = int(zero_point) - 128 if unsigned else int(zero_point)
    proven = 0
    for begin in range(0, len(different), ROWS):
        scale_bits, mantissas, shifts = different[begin : begin + ROWS].T[:, :, np.newaxis]
        scales = scale_bits.astype(np.uint32).view(np.float32)
        theirs = thresholds(onnxruntime_requantizer(x_scale, scales, y_scale, zero_point, unsigned), len(scales))
        ours = thresholds(lambda acc, m=mantissas, s=shifts: requantize(acc, m, s, stored_zero, LOW, HIGH), len(scales))  # type: ignore[misc]
        proven += int(((theirs == ours).sum(axis=1) * alike[begin : begin + ROWS]).sum())
    return Proven(proven, len(channels) * THRESHOLDS)


def _measured(values: Int64, unit: float) -> Float32:
    """What the model is given for measured values: the product, a float64, rounded to float32."""
    with np.errstate(over="ignore", under="ignore"):
        return (values * np.float64(unit)).astype(np.float32)


def quantize_input(values: Int64, scale: float | np.float32, zero_point: int, unsigned: bool, unit: float) -> Int64:
    """Stored values of measured ones: QuantizeLinear in float32, in onnxruntime's order."""
    stored_zero = int(zero_point) - 128 if unsigned else int(zero_point)
    with np.errstate(over="ignore", under="ignore"):
        quotient = _measured(values, unit) / np.float32(scale)
    held = np.minimum(np.maximum(quotient, np.float32(LOW - stored_zero)), np.float32(HIGH - stored_zero))
    return np.asarray(np.rint(held).astype(np.int64) + stored_zero)


def input_thresholds(scale: float | np.float32, zero_point: int, unsigned: bool, unit: float) -> Int32:
    """For a channel of a view: a measured value's stored number is how many of these are not above it, less 128. Ascending, int32 [THRESHOLDS].

    ``scale``, ``zero_point``, ``unsigned``: QuantizeLinear's. ``unit``: what an LSB of the measured Q20.12 is in the model's units.
    A threshold that no value reaches is INPUT_MAX, where the greatest Q20.12 itself is one number off; no converter's code, nor a mean of such, is that.
    """
    if not (np.isfinite(np.float32(scale)) and np.float32(scale) > 0):
        raise BadInput(f"the input's scale is {scale}; it has to be finite and above 0")
    if not (np.isfinite(unit) and unit > 0):
        raise BadInput(f"an LSB of the input is {unit} in the model's units; that has to be finite and above 0")
    found = thresholds(lambda values: quantize_input(values, scale, zero_point, unsigned, unit), 1, INPUT_MIN, INPUT_MAX)
    return np.asarray(np.minimum(found[0], INPUT_MAX), np.int32)


def prove_inputs(given: Int32, scale: float | np.float32, zero_point: int, unsigned: bool, unit: float) -> Proven:
    """Whether the thresholds of a channel are those of onnxruntime's QuantizeLinear."""
    constants: dict[str, NDArray[Any]] = {
        "scale": np.asarray(scale, np.float32),
        "zero_point": np.asarray(zero_point, np.uint8 if unsigned else np.int8),
    }
    session = _session("QuantizeLinear", constants, ["x", *constants], "x", np.float32, unsigned)

    def run(values: Int64) -> Int64:
        stored = session.run(_measured(values, unit).reshape(-1))[0].reshape(values.shape).astype(np.int64)
        return np.asarray(stored - 128 if unsigned else stored)

    theirs = np.minimum(thresholds(run, 1, INPUT_MIN, INPUT_MAX)[0], INPUT_MAX)
    return Proven(int((theirs == given).sum()), THRESHOLDS)
