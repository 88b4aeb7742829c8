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

from reflexarc.compiler.graph import MICROSOFT, Array, Dimensions, Model, Node
from reflexarc.compiler.quantities import Format
from reflexarc.compiler.refusal import refuse, shown
from reflexarc.compiler.runtime import evaluate
from reflexarc.compiler.simplify import BINARY, UNARY
from reflexarc.compiler.states import Fixed, Follower, Indices, Integers, Linear, Pair, Pending, Reals, Source, State, Values
from reflexarc.compiler.value_rules import ValueRules

__all__ = ["Canonical", "Format", "canonical"]

OPSET = 13
METADATA = "reflexarc"


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


class _Canonicalizer(ValueRules):
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
