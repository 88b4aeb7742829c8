"""From a quantized model to one in integers alone, which onnxruntime computes as it is written, whatever it optimizes.

All tensors are uint8 (an int8 tensor is the same with its top bit flipped, its zero point 128 higher), for that is the one type of which all
kernels of onnxruntime take all weights and none saturates on the way. The nodes that are left:

- QLinearConv in two dimensions, with weights and biases that are constants: Conv of one or two dimensions, Gemm, MatMul, AveragePool (weights of 1
  with a scale of one over their number), BatchNormalization and what else multiplies or shifts channels, and Add (of two tensors behind each other
  in the channels, with small whole numbers as weights, where that is equal to onnxruntime's Add for all 65,536 pairs of values);
- Clip, for Relu and Clip, with bounds that are quantized as the values are: rounding keeps the order;
- Gather with a table of 256 values, for all other functions of one value: onnxruntime's own result for each of them;
- MaxPool, Concat in front of a QLinearConv of one place, Cast in front of Gather, Reshape, Transpose.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reflexarc.compiler.emit import MOST_ADDED, Emitter, image_shape
from reflexarc.compiler.graph import MICROSOFT, Array, Dimensions, Model, Node
from reflexarc.compiler.network import Float32, Int64
from reflexarc.compiler.pairs import pair_weights
from reflexarc.compiler.refusal import refuse, shown
from reflexarc.compiler.runtime import evaluate
from reflexarc.compiler.simplify import BINARY, UNARY
from reflexarc.compiler.states import Fixed, Follower, Indices, Integers, Linear, Pair, Pending, Reals, Source, State, Sum, Values

OPSET = 13
METADATA = "reflexarc"
SHIFT_WEIGHT = 64  # weight of a channel that is only multiplied and shifted: the bias then has a resolution of 1/64 step
UNQUANTIZED = "put QuantizeLinear and DequantizeLinear around it, or give the float model with --calibration"


@dataclass(frozen=True)
class Format:
    """How numbers become stored integers: value = scale * (integer - zero_point). ``signed``: int8, else uint8, in the user's own model."""

    scale: float
    zero_point: int
    signed: bool

    @property
    def unsigned_zero_point(self) -> int:
        return self.zero_point + 128 if self.signed else self.zero_point


@dataclass(frozen=True)
class Canonical:
    """``model`` is of uint8 alone. ``input``, ``output``: how the user's numbers become integers, ``None`` where the model does not say."""

    model: Model
    input: Format | None
    output: Format | None
    notes: tuple[str, ...]


def canonical(model: Model, output_range: Callable[[], tuple[float, float]] | None = None) -> Canonical:
    """``output_range`` gives the least and the greatest value of the output where the model does not quantize it."""
    return _Canonicalizer(model, output_range).result()


class _Canonicalizer:
    def __init__(self, model: Model, output_range: Callable[[], tuple[float, float]] | None) -> None:
        self.model = model
        self.output_range = output_range
        self.states: dict[str, State] = {}
        self.out = Emitter(model.input, model.input_shape)
        self.tables: dict[str, tuple[Integers, NDArray[np.uint8]]] = {}  # tensors that are a function of another one
        self.input_format: Format | None = None
        self.formats: dict[str, Format] = {}
        self.notes: list[str] = []

    def result(self) -> Canonical:
        model = self.model
        if model.input_type == np.float32:
            self.states[model.input] = Pending(Source())
        else:
            self.states[model.input] = Integers(model.input, model.input_type == np.int8)
            known = model.metadata.get(METADATA)
            if known is not None:
                self._recall(known)
        for node in model.nodes:
            rule = _RULES.get(node.op)
            if rule is None:
                node.refuse("is not supported here")
            self.states[node.output] = rule(self, node)
        integers = self._final(self.states[model.output])
        metadata = {key: value for key, value in model.metadata.items() if key == "labels"}
        output = self.formats.get(integers.name)
        metadata[METADATA] = json.dumps({"input": _told(self.input_format), "output": _told(output)})
        if self.out.origin(integers.name) == model.input:
            refuse("it computes nothing beside quantizing its input", "give a model with a Conv, Gemm or MatMul")
        name = self.out.reshape(integers.name, (1, math.prod(self.out.shapes[integers.name])))
        made = Model(
            model.input,
            model.input_shape,
            np.dtype(np.uint8),
            name,
            self.out.nodes,
            self.out.constants,
            model.labels,
            metadata,
            self.out.shapes,
            self.out.types,
        ).pruned()
        return Canonical(made, self.input_format, output, tuple(self.notes))

    def _recall(self, text: str) -> None:
        """Formats that a canonical model keeps beside its nodes. What can't be read is not known."""
        try:
            told = json.loads(text)
            for key, name in (("input", self.model.input), ("output", self.model.output)):
                scale, zero_point, signed = told[key]
                found = Format(float(scale), int(zero_point), bool(signed))
                if found.scale > 0 and math.isfinite(found.scale) and 0 <= found.unsigned_zero_point <= 255:
                    self.formats[name] = found
        except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
            return
        self.input_format = self.formats.get(self.model.input)

    def _final(self, state: State) -> Integers:
        if isinstance(state, Reals) and isinstance(state.integers, Integers) and not state.pads:
            self.formats.setdefault(state.integers.name, self._format(state.integers, state.scale, state.zero_point))
            return state.integers
        if isinstance(state, Integers):
            return state
        if isinstance(state, Pending):
            return self._quantize_output(state)
        refuse(f"its output {shown(self.model.output)} is none of a layer", "end with a Conv, Gemm, MatMul or an activation")

    def _quantize_output(self, pending: Pending) -> Integers:
        """The last value is not quantized in the model: by its range."""
        if isinstance(pending.core, Source):
            refuse("it computes nothing of its input", "give a model with a Conv, Gemm or MatMul")
        if isinstance(pending.core, Values):
            finite = pending.core.values[np.isfinite(pending.core.values)]
            low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        elif self.output_range is not None:
            low, high = self.output_range()
        else:
            pending.core.node.refuse(
                "makes the model's output, which is not quantized", "give --calibration, or end with QuantizeLinear and DequantizeLinear"
            )
        low, high = min(low, 0.0), max(high, 0.0)
        scale = np.float32((high - low) / 255 if high > low else 1.0)
        point = int(np.clip(round(-low / float(scale)), 0, 255))
        self.notes.append(f"the output is quantized by its range, {low:g} to {high:g}")
        return self._quantized(pending, scale, point, False, pending.core.node)

    # States.

    def _table(self, base: Integers, table: NDArray[np.uint8], signed: bool, node: Node, wanted: str) -> Integers:
        """Integers that are ``table`` of the base's; a Clip, or nothing, where that is the same."""
        every = np.arange(256)
        root, inner = self.tables.get(base.name, (base, every.astype(np.uint8)))
        if np.array_equal(table, every):
            return Integers(base.name, signed)
        low, high = int(table.min()), int(table.max())
        if np.array_equal(table, np.clip(every, low, high)):
            made = self.out.clip(base.name, low, high, node, wanted)
        else:
            index = self.out.emit("Cast", (base.name,), self.out.shapes[base.name], f"{node.name}_index", f"{wanted}_index", np.int32, to=6)
            constant = self.out.constant(table, f"{wanted}_table")
            made = self.out.emit("Gather", (constant, index), self.out.shapes[base.name], node.name, wanted, axis=0)
        self.tables[made] = (root, table[inner])
        return Integers(made, signed)

    def state(self, node: Node, number: int) -> State | None:
        if number >= len(node.inputs) or not node.inputs[number]:
            return None
        name = node.inputs[number]
        return self.states[name] if name in self.states else Fixed(self.model.constants[name])

    def reals(self, node: Node, number: int = 0) -> Reals:
        """A dequantized tensor, which a linear node needs."""
        state = self.state(node, number)
        if isinstance(state, Reals):
            return state
        if isinstance(state, Pending):
            what = "the model's input, which is" if isinstance(state.core, Source) else "values that are"
            node.refuse(f"reads {what} not quantized", UNQUANTIZED)
        if isinstance(state, Fixed):
            node.refuse("works on a constant where the model's values are expected", "exchange its inputs")
        node.refuse("reads integers that are not dequantized", "put DequantizeLinear in front")

    def single(self, node: Node, reals: Reals) -> Integers:
        """The tensor behind it, which must be one, without padding."""
        if isinstance(reals.integers, Pair):
            node.refuse("follows Concat", "let a 1x1 Conv follow Concat")
        if reals.pads:
            node.refuse("follows Pad", "let a Conv follow Pad, or give the node pads of its own")
        return reals.integers

    def _format(self, integers: Integers, scale: np.float32, unsigned_zero_point: int) -> Format:
        return Format(float(scale), unsigned_zero_point - 128 if integers.signed else unsigned_zero_point, integers.signed)

    def _scale(self, node: Node, number: int) -> tuple[np.float32, int, bool]:
        """Scale, zero point as of uint8, and whether the type is int8."""
        scale, point = self.model.constants[node.inputs[number]], None
        if number + 1 < len(node.inputs) and node.inputs[number + 1]:
            point = self.model.constants[node.inputs[number + 1]]
        signed = point is not None and point.dtype == np.int8
        return np.float32(scale.reshape(-1)[0]), (int(point.reshape(-1)[0]) if point is not None else 0) + (128 if signed else 0), signed

    def _values(self, node: Node, reals: Reals) -> Values:
        """The tensor as a function of what it is a table of."""
        integers = self.single(node, reals)
        root, table = self.tables.get(integers.name, (integers, np.arange(256, dtype=np.uint8)))
        values = evaluate("DequantizeLinear", [table, np.array(reals.scale), np.array(reals.zero_point, np.uint8)])
        return Values(node, root, values)

    # Rules.

    def quantize(self, node: Node) -> State:
        state = self.state(node, 0)
        if isinstance(state, Fixed):
            scale, point = (self.model.constants[name] for name in node.inputs[1:3])
            return Fixed(evaluate("QuantizeLinear", [state.values, scale, point], dict(node.attributes), kind=point.dtype))
        scale_, point_, signed = self._scale(node, 1)
        if isinstance(state, Reals):
            integers = self.single(node, state)
            if (state.scale, state.zero_point) == (scale_, point_):
                return Integers(integers.name, signed)
            values = self._values(node, state)
            if values.base.name != integers.name:  # a table of the tensor itself will do
                plain = evaluate(
                    "DequantizeLinear", [np.arange(256, dtype=np.uint8), np.array(state.scale), np.array(state.zero_point, np.uint8)]
                )
                values = Values(node, integers, plain)
            state = Pending(values)
        if not isinstance(state, Pending):
            node.refuse("quantizes integers", "leave it out")
        return self._quantized(state, scale_, point_, signed, node)

    def dequantize(self, node: Node) -> State:
        state = self.state(node, 0)
        if isinstance(state, Fixed):
            scale, point = (self.model.constants[name] for name in node.inputs[1:3])
            axis = node.whole("axis", 0) if scale.size > 1 else None
            shape = [1] * state.values.ndim
            if axis is not None:
                shape[axis] = scale.size
            wide = state.values.astype(np.int64) - point.astype(np.int64).reshape(shape)
            return Fixed(wide.astype(np.float32) * scale.reshape(shape), state.values, scale.reshape(-1), point.reshape(-1), axis)
        scale_, point_, _ = self._scale(node, 1)
        if isinstance(state, Integers | Pair):
            first = state if isinstance(state, Integers) else state.first
            if first.signed != (self.model.constants[node.inputs[2]].dtype == np.int8):
                node.refuse("has a zero point of another type than its values", "quantize the model again")
            if isinstance(state, Integers):
                self._remember(state, scale_, point_)
            return Reals(state, scale_, point_)
        node.refuse("dequantizes what is not quantized", "leave it out")

    def _remember(self, integers: Integers, scale: np.float32, zero_point: int) -> None:
        found = self._format(integers, scale, zero_point)
        self.formats.setdefault(integers.name, found)
        if integers.name == self.model.input and self.input_format is None:
            self.input_format = found

    def _quantized(self, pending: Pending, scale: np.float32, zero_point: int, signed: bool, node: Node) -> Integers:
        """What is pending, as integers of this scale and zero point."""
        core, followers = pending.core, pending.followers
        last = not any(follower.kind == "pool" for follower in followers)
        low, high = 0, 255
        for follower in followers:
            if follower.kind == "clip":
                bounds = np.array([follower.low, follower.high], np.float32)
                quantized = evaluate("QuantizeLinear", [bounds, np.array(scale), np.array(zero_point, np.uint8)], kind=np.uint8)
                low, high = (int(np.clip(bound, *quantized)) for bound in (low, high))
        followers = tuple(follower for follower in followers if follower.kind != "clip")
        wanted = node.output if last else f"{node.output}_first"
        if isinstance(core, Source):
            name = self._quantized_input(scale, zero_point, signed, node)
            name = self.out.clip(name, low, high, node, f"{name}_clipped")
        elif isinstance(core, Values):
            if np.isnan(core.values).any():
                core.node.refuse("is not defined for all values that it can get", "clip its input before")
            table = evaluate("QuantizeLinear", [core.values, np.array(scale), np.array(zero_point, np.uint8)], kind=np.uint8)
            name = self._table(core.base, np.clip(table, low, high).astype(np.uint8), signed, core.node, wanted).name
        else:
            linear = self._as_linear(core, scale, zero_point, signed) if isinstance(core, Sum) else core
            name = self.out.conv(linear, scale, zero_point, low, high, wanted)
        for follower in followers:
            name = self._follow(name, follower)
        integers = Integers(name, signed)
        self.formats.setdefault(name, self._format(integers, scale, zero_point))
        return integers

    def _quantized_input(self, scale: np.float32, zero_point: int, signed: bool, node: Node) -> str:
        found = self._format(Integers(self.model.input, signed), scale, zero_point)
        if self.input_format is not None and (self.input_format.scale, self.input_format.unsigned_zero_point) != (found.scale, zero_point):
            node.refuse("quantizes the model's input another time, with another scale", "quantize the input once")
        self.input_format = found
        self.formats[self.model.input] = found
        return self.model.input

    def _follow(self, tensor: str, follower: Follower) -> str:
        if follower.kind == "reshape":
            return self.out.reshape(tensor, follower.shape)
        if follower.kind == "transpose":
            order = follower.node.numbers("perm")
            assert order is not None
            return self.out.transpose(tensor, order)
        return self.out.pool(tensor, follower.node, follower.shape)

    # Linear nodes.

    def conv(self, node: Node) -> State:
        reals = self.reals(node)
        return self._convolution(node, reals, self.state(node, 1), self.state(node, 2))

    def _convolution(self, node: Node, reals: Reals, weights_state: State | None, bias_state: State | None) -> Pending:
        integers = self._weights(node, weights_state, 0)
        strides, pads, dilations = (node.numbers(key) for key in ("strides", "pads", "dilations"))
        assert strides is not None and pads is not None and dilations is not None
        weights, weight_scale = integers
        weights = _dilated(weights, dilations)
        shape = self.model.shapes[node.output]
        if len(shape) == 3:
            weights, strides, pads = weights[:, :, None, :], (1, *strides), (0, pads[0], 0, pads[1])
        if reals.pads:
            pads = tuple(a + b for a, b in zip(pads, reals.pads, strict=True))
        groups = node.whole("group", 1)
        if isinstance(reals.integers, Pair):
            if weights.shape[2:] != (1, 1) or any(pads) or tuple(strides) != (1, 1) or groups != 1:
                node.refuse("follows Concat and has more than one place, or groups", "let a 1x1 Conv of one group follow Concat")
            inputs: tuple[str, ...] = (self.out.image(reals.integers.first.name), self.out.image(reals.integers.second.name))
        else:
            inputs = (self.out.image(reals.integers.name),)
        linear = Linear(
            node,
            inputs,
            reals.scale,
            reals.zero_point,
            weights,
            weight_scale,
            np.zeros(len(weights)),
            (strides[0], strides[1]),
            (pads[0], pads[1], pads[2], pads[3]),
            groups,
            image_shape(shape),
        )
        return self._after(replace(linear, bias=self._bias(node, linear, bias_state)), shape)

    def _after(self, linear: Linear, shape: Dimensions) -> Pending:
        return Pending(
            linear, () if linear.shape == shape else (Follower("reshape", Node(f"{linear.node.name}_shape", "Reshape", (), ()), shape),)
        )

    def _weights(self, node: Node, state: State | None, axis: int) -> tuple[Int64, Float32]:
        """Weights without their zero point and their scales; ``axis`` is that of the outputs."""
        if not isinstance(state, Fixed):
            node.refuse("has weights that are no constant", "use weights that are constants")
        if state.integers is None or state.scale is None or state.zero_point is None:
            node.refuse("has weights that are not quantized", UNQUANTIZED)
        if state.integers.dtype not in (np.int8, np.uint8):
            node.refuse(f"has weights of {state.integers.dtype}", "quantize its weights to int8 or uint8")
        shape = [1] * state.integers.ndim
        if state.axis is not None and state.scale.size > 1:
            if state.axis != axis:
                node.refuse("has a scale for each input channel of its weights", "use one for each output channel, or one in all")
            shape[axis] = state.scale.size
        points = np.broadcast_to(state.zero_point, state.scale.shape)
        return state.integers.astype(np.int64) - points.astype(np.int64).reshape(
            shape if state.scale.size > 1 else [1] * len(shape)
        ), state.scale

    def _bias(self, node: Node, linear: Linear, state: State | None, factor: float = 1.0) -> NDArray[np.float64]:
        """In steps of the sum. One that is quantized to the sum's own steps is taken as it is."""
        outputs = len(linear.weights)
        if state is None:
            return np.zeros(outputs)
        if not isinstance(state, Fixed):
            node.refuse("has a bias that is no constant", "use a bias that is a constant")
        if not np.isfinite(state.values).all():
            node.refuse("has a bias that is not finite", "train or export the model again")
        try:
            values = np.broadcast_to(state.values.reshape(-1) if state.values.size == outputs else state.values, (outputs,))
        except ValueError:
            node.refuse(f"has a bias of shape {list(state.values.shape)} for {outputs} outputs", "give one number for each output")
        step = linear.scale * linear.weight_scale  # float32, as onnxruntime's quantizer has it
        if state.integers is not None and state.scale is not None and factor == 1.0 and np.allclose(state.scale, step, rtol=1e-5, atol=0):
            if state.integers.dtype == np.int32:
                return np.broadcast_to(state.integers.reshape(-1), (outputs,)).astype(np.float64)
        with np.errstate(over="ignore"):
            return values.astype(np.float64) * factor / step.astype(np.float64)

    def gemm(self, node: Node) -> State:
        return self._dense(node, self.reals(node), self.state(node, 1), self.state(node, 2))

    def matmul(self, node: Node) -> State:
        return self._dense(node, self.reals(node), self.state(node, 1), None)

    def _dense(self, node: Node, reals: Reals, weights_state: State | None, bias_state: State | None) -> Pending:
        tensor = self.single(node, reals).name
        rank3 = len(self.out.shapes[tensor]) == 3
        transposed = node.op in ("Gemm", "QGemm") and node.whole("transB", 0)
        weights, weight_scale = self._weights(node, weights_state, 0 if transposed else 1)
        weights = weights if transposed else weights.T
        alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
        if alpha < 0:
            weights, alpha = -weights, -alpha
        if alpha == 0 or not 1e-6 < alpha < 1e6:
            node.refuse(f"has an alpha of {alpha:g}", "put it into the weights")
        weight_scale = weight_scale * np.float32(alpha)
        if rank3:
            tensor = self.out.transpose(tensor, (0, 2, 1))
        image = self.out.image(tensor)
        shape = (1, len(weights), *self.out.shapes[image][2:])
        linear = Linear(
            node,
            (image,),
            reals.scale,
            reals.zero_point,
            weights[:, :, None, None],
            weight_scale,
            np.zeros(len(weights)),
            (1, 1),
            (0, 0, 0, 0),
            1,
            shape,
        )
        linear = replace(linear, bias=self._bias(node, linear, bias_state, beta))
        out = self.model.shapes[node.output]
        if not rank3:
            return self._after(linear, out)
        pending = self._after(linear, (1, out[2], out[1]))
        return pending.then(Follower("transpose", Node(f"{node.name}_transpose", "Transpose", (), (), {"perm": (0, 2, 1)}), out))

    def average(self, node: Node) -> State:
        reals = self.reals(node)
        if reals.pads:
            node.refuse("follows Pad", "give the node pads of its own, with count_include_pad")
        return self._mean(node, reals, self.model.shapes[node.output])

    def _mean(self, node: Node, reals: Reals, shape: Dimensions) -> Pending:
        image = self.out.image(self.single(node, reals).name)
        channels, rows, columns = self.out.shapes[image][1:]
        kernel, strides, pads = (node.numbers(key) for key in ("kernel_shape", "strides", "pads"))
        if kernel is None or strides is None or pads is None:  # over all places
            kernel, strides, pads = (rows, columns), (1, 1), (0, 0, 0, 0)
        elif len(kernel) == 1:
            kernel, strides, pads = (1, *kernel), (1, *strides), (0, pads[0], 0, pads[1])
        linear = Linear(
            node,
            (image,),
            reals.scale,
            reals.zero_point,
            np.ones((channels, 1, *kernel), np.int64),
            np.array([1 / math.prod(kernel)], np.float32),
            np.zeros(channels),
            (strides[0], strides[1]),
            (pads[0], pads[1], pads[2], pads[3]),
            channels,
            image_shape(shape),
        )
        return self._after(linear, shape)

    def normalization(self, node: Node) -> State:
        reals = self.reals(node)
        parameters = [self.state(node, number) for number in range(1, 5)]
        values = []
        for state in parameters:
            if not isinstance(state, Fixed):
                node.refuse("has parameters that are no constants", "export for inference (torch: model.eval())")
            values.append(state.values.astype(np.float64))
        gain, offset, mean, variance = values
        with np.errstate(all="ignore"):
            factor = gain / np.sqrt(variance + node.number("epsilon", 1e-5))
            shift = offset - mean * factor
        return self._affine(node, reals, factor, shift, 1)

    def _affine(self, node: Node, reals: Reals, factor: Array, shift: Array, axis: int) -> Pending:
        """Each channel of ``axis`` times a factor, plus a shift: a depthwise Conv of one place."""
        if not (np.isfinite(factor).all() and np.isfinite(shift).all()):
            node.refuse("has parameters that are not finite", "train or export the model again")
        tensor = self.single(node, reals).name
        shape = self.out.shapes[tensor]
        order = [0, axis, *(place for place in range(1, len(shape)) if place != axis)]
        moved = self.out.transpose(tensor, order)
        moved_shape = self.out.shapes[moved]
        channels = shape[axis]
        image = self.out.reshape(moved, (1, channels, 1, math.prod(moved_shape[2:])) if len(shape) != 4 else moved_shape)
        factor, shift = (np.broadcast_to(values, (channels,)).astype(np.float64) for values in (factor, shift))
        weight_scale = np.where(factor == 0, 1.0, np.abs(factor) / SHIFT_WEIGHT).astype(np.float32)
        if not ((weight_scale > 1e-18) & (weight_scale < 1e18)).all():
            node.refuse("has factors beyond all measure", "train or export the model again")
        weights = (np.sign(factor) * SHIFT_WEIGHT).astype(np.int64)[:, None, None, None]
        bias = shift / (float(reals.scale) * weight_scale.astype(np.float64))
        linear = Linear(
            node,
            (image,),
            reals.scale,
            reals.zero_point,
            weights,
            weight_scale,
            bias,
            (1, 1),
            (0, 0, 0, 0),
            channels,
            self.out.shapes[image],
        )
        pending = self._after(linear, moved_shape)
        if order == list(range(len(shape))):
            return pending
        back = tuple(int(place) for place in np.argsort(order))
        return pending.then(Follower("transpose", Node(f"{node.name}_transpose", "Transpose", (), (), {"perm": back}), shape))

    def _as_linear(self, core: Sum, scale: np.float32, zero_point: int, signed: bool) -> Linear:
        """The sum as small whole numbers times the two tensors, where that is exact."""
        node, first, second = core.node, core.first, core.second
        tensors = [self.single(node, reals) for reals in (first, second)]
        names = [tensor.name for tensor in tensors]
        found = pair_weights(
            node,
            (first.scale, first.zero_point),
            (second.scale, second.zero_point),
            core.sign,
            (scale, zero_point),
            signed and all(tensor.signed for tensor in tensors),
        )
        shape = self.out.shapes[names[0]]
        images = tuple(self.out.image(name) for name in names)
        channels = self.out.shapes[images[0]][1]
        if channels > MOST_ADDED:
            node.refuse(f"adds tensors of {channels} channels", f"up to {MOST_ADDED} are possible")
        weights = np.zeros((channels, 2 * channels, 1, 1), np.int64)
        every = np.arange(channels)
        weights[every, every, 0, 0] = found.first
        weights[every, channels + every, 0, 0] = found.second
        # Both tensors stand with the first one's zero point; what that is off for the second is a part of the bias.
        bias = np.full(channels, found.second * (first.zero_point - second.zero_point), np.float64)
        weight_scale = np.array([found.weight_scale], np.float32)
        self.notes.append(
            f"{node}: {found.first} * first + {found.second} * second, equal to {found.reference} for all 65,536 pairs of values"
        )
        return Linear(node, images, first.scale, first.zero_point, weights, weight_scale, bias, (1, 1), (0, 0, 0, 0), 1, image_shape(shape))

    # Functions of one value, and of two.

    def unary(self, node: Node) -> State:
        state = self.state(node, 0)
        bounds = self._bounds(node)
        if isinstance(state, Integers):
            return self._clip_integers(node, state)
        if (
            isinstance(state, Pending)
            and bounds is not None
            and (isinstance(state.core, Linear | Sum | Source) or any(f.kind == "pool" for f in state.followers))
        ):
            return state.then(Follower("clip", node, self.model.shapes[node.output], *bounds))
        values = self._as_values(node, state)
        extra = [self.model.constants[name].reshape(()) for name in node.inputs[1:] if name]
        if bounds is not None:
            made = np.clip(values.values, np.float32(bounds[0]), np.float32(bounds[1]))
        else:
            made = self._evaluated(node, [values.values, *extra])
        return Pending(Values(node, values.base, made))

    def _evaluated(self, node: Node, inputs: Sequence[Array]) -> Array:
        try:
            made = evaluate(node.op, inputs, node.attributes, node.domain)
        except Exception as error:  # onnxruntime raises several of its own
            node.refuse(f"can't be computed by onnxruntime ({str(error)[:120]})", "use another function")
        if made.shape != (256,):
            node.refuse("is no function of one value", "use a constant of one number")
        return made

    def _as_values(self, node: Node, state: State | None) -> Values:
        if isinstance(state, Reals):
            return self._values(node, state)
        if isinstance(state, Pending) and isinstance(state.core, Values) and not state.followers:
            return state.core
        if isinstance(state, Pending):
            node.refuse("reads values that are not quantized", UNQUANTIZED)
        node.refuse("reads integers, or a constant", "put DequantizeLinear in front")

    def _bounds(self, node: Node) -> tuple[float, float] | None:
        """Of Relu and Clip."""
        if node.op == "Relu":
            return 0.0, math.inf
        if node.op != "Clip":
            return None
        low, high = (
            float(self.model.constants[node.inputs[number]].reshape(-1)[0])
            if len(node.inputs) > number and node.inputs[number]
            else unbound
            for number, unbound in ((1, -math.inf), (2, math.inf))
        )
        if low > high:
            node.refuse(f"has bounds of {low:g} and {high:g}", "give the lesser one first")
        return low, high

    def _clip_integers(self, node: Node, integers: Integers) -> State:
        if node.op != "Clip":
            node.refuse("works on integers", "put DequantizeLinear in front")
        offset = 128 if integers.signed else 0
        low, high = self._bounds(node) or (0.0, 0.0)
        low, high = max(low + offset, 0), min(high + offset, 255)
        return Integers(self.out.clip(integers.name, int(low), int(high), node, node.output), integers.signed)

    def binary(self, node: Node) -> State:
        states = [self.state(node, 0), self.state(node, 1)]
        if all(isinstance(state, Fixed) for state in states):
            node.refuse("works on constants only", "let the exporter fold constants")
        for number in (0, 1):
            fixed, other = states[number], states[1 - number]
            if isinstance(fixed, Fixed) and fixed.values.size == 1 and self._scalar_ok(other):
                if self.model.shapes[node.inputs[1 - number]] != self.model.shapes[node.output]:
                    node.refuse("changes the rank of its input", "give the constant no more dimensions than the tensor")
                values = self._as_values(node, other)
                pair = [values.values, values.values]
                pair[number] = fixed.values.reshape(())
                return Pending(Values(node, values.base, self._evaluated(node, pair)))
            if isinstance(fixed, Fixed):
                return self._with_constant(node, fixed, other, number)
        return self._of_two(node, *states)

    def _scalar_ok(self, state: State | None) -> bool:
        """Whether it can be worked out value by value; a sum that is pending takes a constant as a part of its bias instead."""
        return not isinstance(state, Pending) or (isinstance(state.core, Values) and not state.followers)

    def _of_two(self, node: Node, *states: State | None) -> State:
        shape = self.model.shapes[node.output]
        if any(self.model.shapes[name] != shape for name in node.inputs):
            node.refuse("has two inputs of different shapes", "give both inputs one shape")
        values = [self._try_values(node, state) for state in states]
        first, second = values
        if first is not None and second is not None and first.base == second.base:
            return Pending(Values(node, first.base, self._evaluated(node, [first.values, second.values])))
        if node.op not in ("Add", "Sub"):
            node.refuse("works on two different tensors", "use Add, or a function of one value")
        for state in states:
            if isinstance(state, Pending):
                node.refuse("reads values that are not quantized", UNQUANTIZED)
        a, b = (self.reals(node, number) for number in (0, 1))
        self.single(node, a), self.single(node, b)
        return self._sum(node, a, b, -1 if node.op == "Sub" else 1)

    def _sum(self, node: Node, a: Reals, b: Reals, sign: int) -> Pending:
        core = Sum(node, a, b, sign)
        shape = self.model.shapes[node.output]
        if image_shape(shape) == shape:
            return Pending(core)
        return Pending(core, (Follower("reshape", Node(f"{node.name}_shape", "Reshape", (), ()), shape),))

    def _try_values(self, node: Node, state: State | None) -> Values | None:
        if isinstance(state, Reals) and isinstance(state.integers, Integers) and not state.pads:
            return self._values(node, state)
        if isinstance(state, Pending) and isinstance(state.core, Values) and not state.followers:
            return state.core
        return None

    def _with_constant(self, node: Node, fixed: Fixed, other: State | None, number: int) -> State:
        """A constant for each channel, or one for all onto a sum that is pending."""
        if node.op not in ("Add", "Sub", "Mul", "Div") or (node.op == "Div" and number == 0):
            node.refuse("works on a tensor and a constant of several numbers", "use Add, Sub, Mul or Div with one number for each channel")
        if not np.isfinite(fixed.values).all():
            node.refuse("has a constant that is not finite", "train or export the model again")
        shape = self.model.shapes[node.output]
        if self.model.shapes[node.inputs[1 - number]] != shape:
            node.refuse("changes the rank of its input", "give the constant no more dimensions than the tensor")
        constant = np.broadcast_to(fixed.values.astype(np.float64), shape)
        if isinstance(other, Pending) and isinstance(other.core, Linear):
            return self._onto_linear(node, constant, other, number)
        if not isinstance(other, Reals):
            node.refuse("reads values that are not quantized", UNQUANTIZED)
        padded = (1,) * (len(shape) - fixed.values.ndim) + fixed.values.shape
        axes = [place for place, size in enumerate(padded) if size > 1]
        if len(axes) != 1 or axes[0] == 0:
            node.refuse("has a constant that is not one number for each channel", "use one number for each channel, or one for all")
        values = fixed.values.astype(np.float64).reshape(-1)
        with np.errstate(all="ignore"):
            factor, shift = {
                "Add": (np.ones(1), values),
                "Sub": (np.ones(1), -values) if number == 1 else (-np.ones(1), values),
                "Mul": (values, np.zeros(1)),
                "Div": (1 / values, np.zeros(1)),
            }[node.op]
        return self._affine(node, other, factor, shift, axes[0])

    def _onto_linear(self, node: Node, constant: Array, pending: Pending, number: int) -> State:
        linear = pending.core
        assert isinstance(linear, Linear)
        if (
            node.op not in ("Add", "Sub")
            or (node.op == "Sub" and number == 0)
            or any(f.kind in ("clip", "pool") for f in pending.followers)
        ):
            node.refuse("reads values that are not quantized", UNQUANTIZED)
        outputs = len(linear.weights)
        channel = np.broadcast_to(np.arange(outputs)[None, :, None, None], linear.shape)
        for follower in pending.followers:
            channel = channel.reshape(follower.shape) if follower.kind == "reshape" else channel.transpose(follower.node.numbers("perm"))
        each = np.zeros(outputs)
        each[channel.reshape(-1)] = constant.reshape(-1)
        if not np.array_equal(each[channel.reshape(-1)], constant.reshape(-1)):
            node.refuse("adds a constant that is not one number for each channel", "use one number for each channel")
        step = linear.scale * linear.weight_scale
        more = (-each if node.op == "Sub" else each) / step.astype(np.float64)
        return replace(pending, core=replace(linear, bias=np.rint(linear.bias) + more if number >= 0 else linear.bias))

    # Layout.

    def layout(self, node: Node) -> State:
        state = self.state(node, 0)
        shape = self.model.shapes[node.output]
        order = node.numbers("perm") if node.op == "Transpose" else None
        if isinstance(state, Fixed):
            return _fixed_layout(state, shape, order)
        if len(shape) < 2 or shape[0] != 1 or (order is not None and order[0] != 0):
            node.refuse("moves the batch or takes it away", "leave the batch in front: [1, ...]")
        if isinstance(state, Pending) and not isinstance(state.core, Values):
            return state.then(Follower("reshape" if order is None else "transpose", node, shape))
        if isinstance(state, Pending):
            if state.followers:
                return state.then(Follower("reshape" if order is None else "transpose", node, shape))
            assert isinstance(state.core, Values)
            moved = self._moved(state.core.base, shape, order)
            return Pending(replace(state.core, base=moved))
        if isinstance(state, Reals):
            return replace(state, integers=self._moved(self.single(node, state), shape, order))
        if isinstance(state, Integers):
            return self._moved(state, shape, order)
        node.refuse("follows Concat", "let a 1x1 Conv follow Concat")

    def _moved(self, integers: Integers, shape: Dimensions, order: Sequence[int] | None) -> Integers:
        name = self.out.reshape(integers.name, shape) if order is None else self.out.transpose(integers.name, order)
        if integers.name in self.formats:
            self.formats.setdefault(name, self.formats[integers.name])
        return Integers(name, integers.signed)

    def max_pool(self, node: Node) -> State:
        state = self.state(node, 0)
        shape = self.model.shapes[node.output]
        if isinstance(state, Pending):
            return state.then(Follower("pool", node, shape))
        integers = state if isinstance(state, Integers) else self.single(node, self.reals(node))
        made = Integers(self.out.pool(integers.name, node, shape), integers.signed)
        return replace(state, integers=made) if isinstance(state, Reals) else made

    def pad(self, node: Node) -> State:
        reals = self.reals(node)
        pads = self.model.constants[node.inputs[1]]
        rank = len(self.model.shapes[node.output])
        begin, end = [int(n) for n in pads[2:rank]], [int(n) for n in pads[rank + 2 :]]
        full = (0, *begin, 0, *end) if rank == 3 else (*begin, *end)
        if isinstance(reals.integers, Pair):
            node.refuse("follows Concat", "let a 1x1 Conv follow Concat")
        before = reals.pads or (0, 0, 0, 0)
        return replace(reals, pads=tuple(a + b for a, b in zip(before, full, strict=True)))

    def concat(self, node: Node) -> State:
        first, second = (self.state(node, number) for number in (0, 1))
        if isinstance(first, Integers) and isinstance(second, Integers):
            return Pair(first, second)
        a, b = (self.reals(node, number) for number in (0, 1))
        if (a.scale, a.zero_point) != (b.scale, b.zero_point):
            node.refuse("joins tensors of two scales", "quantize both with the same scale and zero point")
        return Reals(Pair(self.single(node, a), self.single(node, b)), a.scale, a.zero_point)

    def cast(self, node: Node) -> State:
        state = self.state(node, 0)
        if not isinstance(state, Integers) or self.model.types[node.output] not in (np.int32, np.int64):
            node.refuse("converts to another type", "leave it out")
        return Indices(state)

    def gather(self, node: Node) -> State:
        state = self.state(node, 1)
        if not isinstance(state, Indices):
            node.refuse("is not supported")
        table = self.model.constants[node.inputs[0]]
        signed = table.dtype == np.int8
        unsigned = (table.astype(np.int64) + (128 if signed else 0)).astype(np.uint8)
        if state.integers.signed:  # index -1 is the last entry
            unsigned = np.roll(unsigned, 128)
        return self._table(state.integers, unsigned, signed, node, node.output)

    # Quantized operators.

    def _operand(self, node: Node, number: int, point: int) -> Reals:
        state = self.state(node, number)
        if not isinstance(state, Integers | Pair):
            node.refuse("reads what is no quantized tensor", "put QuantizeLinear in front")
        scale, zero_point, _ = self._scale(node, point)
        if isinstance(state, Integers):
            self._remember(state, scale, zero_point)
        return Reals(state, scale, zero_point)

    def _fixed_weights(self, node: Node, axis: int) -> Fixed:
        integers, scale, point = (self.model.constants[name] for name in node.inputs[3:6])
        return Fixed(integers, integers, scale.reshape(-1), point.reshape(-1), axis if scale.size > 1 else None)

    def _integer_bias(self, pending: Pending, node: Node, number: int) -> Pending:
        """The bias of a quantized operator is in steps of the sum."""
        if number >= len(node.inputs) or not node.inputs[number]:
            return pending
        assert isinstance(pending.core, Linear)
        return replace(pending, core=replace(pending.core, bias=self.model.constants[node.inputs[number]].reshape(-1).astype(np.float64)))

    def qlinear_conv(self, node: Node) -> State:
        pending = self._convolution(node, self._operand(node, 0, 1), self._fixed_weights(node, 0), None)
        return self._quantized(self._integer_bias(pending, node, 8), *self._scale(node, 6), node)

    def qlinear_matmul(self, node: Node) -> State:
        pending = self._dense(node, self._operand(node, 0, 1), self._fixed_weights(node, 1), None)
        return self._quantized(pending, *self._scale(node, 6), node)

    def qgemm(self, node: Node) -> State:
        axis = 0 if node.whole("transB", 0) else 1
        pending = self._dense(node, self._operand(node, 0, 1), self._fixed_weights(node, axis), None)
        pending = self._integer_bias(pending, node, 6)
        return self._quantized(pending, *self._scale(node, 7), node) if len(node.inputs) > 7 and node.inputs[7] else pending

    def qlinear_add(self, node: Node) -> State:
        a, b = self._operand(node, 0, 1), self._operand(node, 3, 4)
        self.single(node, a), self.single(node, b)
        return self._quantized(self._sum(node, a, b, 1), *self._scale(node, 6), node)

    def qlinear_unary(self, node: Node) -> State:
        reals = self._operand(node, 0, 1)
        integers = self.single(node, reals)
        scale, zero_point, signed = self._scale(node, 3)
        if node.op in ("QLinearAveragePool", "QLinearGlobalAveragePool"):
            return self._quantized(self._mean(node, reals, self.model.shapes[node.output]), scale, zero_point, signed, node)
        every = np.arange(256, dtype=np.uint8)
        given: list[Array] = [
            every,
            np.array(reals.scale),
            np.array(reals.zero_point, np.uint8),
            np.array(scale),
            np.array(zero_point, np.uint8),
        ]
        table = self._evaluated_integers(node, given)
        return self._table(integers, table, signed, node, node.output)

    def _evaluated_integers(self, node: Node, given: Sequence[Array]) -> NDArray[np.uint8]:
        return evaluate(node.op, given, node.attributes, MICROSOFT, np.uint8).astype(np.uint8)


def _dilated(weights: Int64, dilations: Sequence[int]) -> Int64:
    """A kernel with zeros between its taps."""
    if all(d == 1 for d in dilations):
        return weights
    sizes = [(size - 1) * d + 1 for size, d in zip(weights.shape[2:], dilations, strict=True)]
    wide = np.zeros((*weights.shape[:2], *sizes), np.int64)
    wide[(slice(None), slice(None), *(slice(None, None, d) for d in dilations))] = weights
    return wide


def _fixed_layout(fixed: Fixed, shape: Dimensions, order: Sequence[int] | None) -> Fixed:
    move: Callable[[Array], Array] = (lambda value: value.transpose(order)) if order is not None else (lambda value: value.reshape(shape))
    if fixed.integers is None or (order is None and fixed.axis is not None):
        return Fixed(move(fixed.values))
    axis = fixed.axis if fixed.axis is None or order is None else list(order).index(fixed.axis)
    return replace(fixed, values=move(fixed.values), integers=move(fixed.integers), axis=axis)


def _told(found: Format | None) -> list[object] | None:
    return None if found is None else [found.scale, found.zero_point, found.signed]


_RULES: dict[str, Callable[[_Canonicalizer, Node], State]] = {
    **dict.fromkeys(UNARY, _Canonicalizer.unary),
    **dict.fromkeys(BINARY, _Canonicalizer.binary),
    **dict.fromkeys(("Reshape", "Transpose"), _Canonicalizer.layout),
    "AveragePool": _Canonicalizer.average,
    "BatchNormalization": _Canonicalizer.normalization,
    "Cast": _Canonicalizer.cast,
    "Concat": _Canonicalizer.concat,
    "Conv": _Canonicalizer.conv,
    "DequantizeLinear": _Canonicalizer.dequantize,
    "Gather": _Canonicalizer.gather,
    "Gemm": _Canonicalizer.gemm,
    "MatMul": _Canonicalizer.matmul,
    "MaxPool": _Canonicalizer.max_pool,
    "Pad": _Canonicalizer.pad,
    "QGemm": _Canonicalizer.qgemm,
    "QLinearAdd": _Canonicalizer.qlinear_add,
    "QLinearConv": _Canonicalizer.qlinear_conv,
    "QLinearMatMul": _Canonicalizer.qlinear_matmul,
    "QuantizeLinear": _Canonicalizer.quantize,
    **dict.fromkeys(("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearSigmoid"), _Canonicalizer.qlinear_unary),
}
