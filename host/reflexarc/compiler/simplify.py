"""The same model with fewer kinds of nodes: shapes known, what is constant worked out, what does nothing left out, paddings in numbers.

What is left: Conv, Gemm, MatMul, MaxPool, AveragePool, BatchNormalization, Pad, Concat, Reshape, Transpose, functions of one or two values, Cast
and Gather where they make a table, QuantizeLinear, DequantizeLinear, the QLinear operators, and Softmax, ArgMax and the like. Anything else is
refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from reflexarc.compiler.fold_constants import FOLDED, constant_value
from reflexarc.compiler.graph import Model, Node
from reflexarc.compiler.layer_shapes import MOST_PRODUCTS, axis_of, products
from reflexarc.compiler.quantized_shapes import QuantizedShapes
from reflexarc.compiler.refusal import refuse, shown

MOST_FOLDED = 65536  # values of a constant that is worked out from others
KINDS = tuple(np.dtype(kind) for kind in (np.float32, np.int8, np.uint8, np.int32, np.int64, np.bool_))

UNARY = frozenset(
    "Abs Acos Acosh Asin Asinh Atan Atanh Ceil Celu Clip Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Mish Neg Reciprocal Relu "
    "Round Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Tan Tanh ThresholdedRelu".split()
)
BINARY = frozenset("Add Div Max Min Mul PRelu Pow Sub".split())
LAST = frozenset({"Softmax", "LogSoftmax", "ArgMax", "Hardmax", "QLinearSoftmax"})


def simplify(model: Model) -> Model:
    return _Simplifier(model).result()


class _Simplifier(QuantizedShapes):
    def result(self) -> Model:
        used = {name for node in self.model.nodes for name in node.inputs} | {self.model.output}
        for node in self.model.nodes:
            for name in node.outputs[1:]:
                if name in used:
                    node.refuse(f"has a second output {shown(name)} that is used", "use only the first one")
            inputs = tuple(self.same.get(name, name) for name in node.inputs)
            self._take(replace(node, inputs=inputs, outputs=node.outputs[:1]))
        output = self.same.get(self.model.output, self.model.output)
        found = products(self.nodes, self.shapes)
        if found > MOST_PRODUCTS:
            refuse(f"an evaluation of it takes {found:,} products", f"up to {MOST_PRODUCTS:,} are possible")
        if output in self.constants:
            refuse(f"its output {shown(output)} is constant", "give a model whose output depends on its input")
        if output == self.model.input:
            refuse("its output is its input", "give a model that computes something")
        return replace(
            self.model, output=output, nodes=self.nodes, constants=self.constants, shapes=dict(self.shapes), types=dict(self.types)
        ).pruned()

    def _take(self, node: Node) -> None:
        if not node.output:
            return
        present = [name for name in node.inputs if name]
        if node.op == "Constant":
            self._set_constant(node, constant_value(node))
            return
        if node.op == "Shape":
            shape = self._shape(node, 0)
            if not shape:
                node.refuse("has nothing to tell the shape of", "export the model again")
            whole = np.array(shape, np.int64)[node.whole("start", 0) : node.attributes.get("end")]  # type: ignore[misc]
            self._set_constant(node, whole)
            return
        if present and all(name in self.constants for name in present) and node.op in FOLDED:
            self._fold(node)
            return
        rule = _RULES.get(node.op)
        if rule is None:
            node.refuse("is not supported")
        if not present or not node.inputs[0]:
            node.refuse("has no input", "export the model again")
        least, most = _INPUTS.get(node.op, (1, 1))
        while len(node.inputs) > least and not node.inputs[-1]:
            node = replace(node, inputs=node.inputs[:-1])
        if not least <= len(node.inputs) <= most or not all(node.inputs[:least]):
            node.refuse(f"has {len(present)} inputs", f"give {least}" if least == most else f"give {least} to {most}")
        rule(self, node)

    def _fold(self, node: Node) -> None:
        values = [self.constants[name] for name in node.inputs if name]
        largest = max(MOST_FOLDED, max(value.size for value in values))
        try:
            if node.op in BINARY:
                size = math.prod(np.broadcast_shapes(*(value.shape for value in values)))
            else:
                size = sum(value.size for value in values) * (values[1].size if node.op == "Gather" else 1)
            if size > 2 * largest:
                node.refuse("makes a large constant out of others", "let the exporter fold constants")
            with np.errstate(all="ignore"):
                made = np.asarray(FOLDED[node.op](node, values))
        except (ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError):
            node.refuse("does not fit its constants", "export the model again")
        if made.size > largest or made.dtype not in KINDS:
            node.refuse("makes a constant that is too large or of another type", "let the exporter fold constants")
        self._set_constant(node, made)

    def identity(self, node: Node) -> None:
        training = self._optional(node, 2) if node.op == "Dropout" else None
        if training is not None and training.any():
            node.refuse("is in training mode", "export for inference (torch: model.eval())")
        self._alias(node)

    def cast(self, node: Node) -> None:
        from onnx import TensorProto

        kinds: dict[int, Any] = {
            TensorProto.FLOAT: np.float32,
            TensorProto.INT32: np.int32,
            TensorProto.INT64: np.int64,
            TensorProto.INT8: np.int8,
            TensorProto.UINT8: np.uint8,
        }
        kind = kinds.get(node.whole("to"))
        if kind is None:
            node.refuse("converts to another type", "leave it out: what is computed is float32 or quantized")
        if self.types[node.inputs[0]] == kind:
            self._alias(node)
        else:
            self._add(replace(node, attributes={"to": node.whole("to")}), self._shape(node, 0), kind)

    def gather(self, node: Node) -> None:
        table, indices = self.constants.get(node.inputs[0]), node.inputs[1] if len(node.inputs) > 1 else ""
        if table is None or table.shape != (256,) or table.dtype not in (np.int8, np.uint8) or node.whole("axis", 0) != 0 or not indices:
            node.refuse("is not supported")
        self._add(node, self._shape(node, 1), table.dtype)

    def unary(self, node: Node) -> None:
        self._value(node)
        for number in range(1, len(node.inputs)):
            bound = self._optional(node, number)
            if bound is not None and (bound.size != 1 or bound.dtype != self.types[node.inputs[0]] or np.isnan(bound).any()):
                node.refuse("has a bound that is no single number of its input's type", "give numbers")
        if node.op != "Clip":
            self._real(node)
        self._add(node, self._shape(node, 0))

    def binary(self, node: Node) -> None:
        if len(node.inputs) != 2 or not all(node.inputs):
            node.refuse("has another number of inputs than two", "chain several of them")
        shapes = [self._shape(node, number) for number in (0, 1)]
        try:
            shape = np.broadcast_shapes(*shapes)
        except ValueError:
            node.refuse(f"has inputs of the shapes {list(shapes[0])} and {list(shapes[1])}", "give shapes that go together")
        for name, own in zip(node.inputs, shapes, strict=True):
            if self.types[name] != np.float32:
                node.refuse(f"works on {self.types[name]}", "use float32, with DequantizeLinear in front where the values are quantized")
            if name not in self.fixed and math.prod(own) != math.prod(shape):
                node.refuse(f"spreads values of shape {list(own)} over {list(shape)}", "give both inputs one shape")
        self._add(node, shape, np.float32)

    def reshape(self, node: Node) -> None:
        old = self._shape(node, 0)
        self._value(node)
        rank = len(old)
        if node.op == "Reshape":
            wanted = self._required(node, 1)
            if wanted.dtype != np.int64 or wanted.ndim != 1 or wanted.size > 8:
                node.refuse("has no short list of whole numbers as its shape", "export the model again")
            new = [int(size) for size in wanted]
            if not node.whole("allowzero", 0):
                new = [old[place] if size == 0 and place < rank else size for place, size in enumerate(new)]
        elif node.op == "Flatten":
            axis = axis_of(node, node.whole("axis", 1), rank + 1) if node.whole("axis", 1) != rank else rank
            new = [math.prod(old[:axis]), math.prod(old[axis:])]
        else:
            axes = self._whole_numbers(node, 1, "axes")
            if node.op == "Squeeze":
                gone = (
                    {place for place, size in enumerate(old) if size == 1} if axes is None else {axis_of(node, axis, rank) for axis in axes}
                )
                if any(old[place] != 1 for place in gone):
                    node.refuse("takes away a dimension that is not 1", "export the model again")
                new = [size for place, size in enumerate(old) if place not in gone]
            else:
                if axes is None:
                    node.refuse("has no axes", "export the model again")
                places = {axis_of(node, axis, rank + len(axes)) for axis in axes}
                rest = iter(old)
                if len(places) != len(axes):
                    node.refuse("names an axis twice", "export the model again")
                new = [1 if place in places else next(rest) for place in range(rank + len(axes))]
        self._reshape(node, new)

    def transpose(self, node: Node) -> None:
        old = self._shape(node, 0)
        self._value(node)
        order = node.numbers("perm", range(len(old))[::-1])
        assert order is not None
        if sorted(order) != list(range(len(old))):
            node.refuse(f"has the order {list(order)}, which is none of {len(old)} axes", "export the model again")
        if order == tuple(range(len(old))):
            self._alias(node)
        else:
            self._add(Node(node.name, "Transpose", node.inputs, node.outputs, {"perm": order}), [old[place] for place in order])

    def concat(self, node: Node) -> None:
        self._value(node)
        shapes = [self._shape(node, number) for number in range(len(node.inputs))]
        axis = axis_of(node, node.whole("axis"), len(shapes[0]))
        if len(shapes) == 1:
            self._alias(node)
            return
        if len(shapes) != 2 or axis != 1 or shapes[0] != shapes[1] or any(name in self.constants for name in node.inputs):
            node.refuse("is not supported")
        if self.types[node.inputs[0]] != self.types[node.inputs[1]]:
            node.refuse("joins tensors of two types", "quantize both to the same type")
        self._add(replace(node, attributes={"axis": 1}), (1, 2 * shapes[0][1], *shapes[0][2:]))


# Least and greatest number of inputs where they are not one.
_INPUTS = {
    **dict.fromkeys(BINARY, (2, 2)),
    **dict.fromkeys(("Conv", "Gemm"), (2, 3)),
    **dict.fromkeys(("MatMul", "Reshape", "Gather"), (2, 2)),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), (2, 3)),
    **dict.fromkeys(("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax"), (4, 5)),
    **dict.fromkeys(("Squeeze", "Unsqueeze", "ReduceMean", "ReduceMax"), (1, 2)),
    **dict.fromkeys(("Clip", "Dropout"), (1, 3)),
    "BatchNormalization": (5, 5),
    "Concat": (1, 2),
    "Pad": (2, 4),
    "QGemm": (6, 9),
    "QLinearAdd": (7, 8),
    "QLinearConv": (8, 9),
    "QLinearMatMul": (8, 8),
}

_RULES: dict[str, Callable[[_Simplifier, Node], None]] = {
    **dict.fromkeys(UNARY, _Simplifier.unary),
    **dict.fromkeys(BINARY, _Simplifier.binary),
    **dict.fromkeys(LAST, _Simplifier.last),
    **dict.fromkeys(("Identity", "Dropout"), _Simplifier.identity),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _Simplifier.reshape),
    **dict.fromkeys(("MaxPool", "AveragePool"), _Simplifier.pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _Simplifier.global_pool),
    **dict.fromkeys(("ReduceMean", "ReduceMax"), _Simplifier.reduce),
    "BatchNormalization": _Simplifier.normalization,
    "Cast": _Simplifier.cast,
    "Concat": _Simplifier.concat,
    "Conv": _Simplifier.conv,
    "DequantizeLinear": _Simplifier.dequantize,
    "Gather": _Simplifier.gather,
    "Gemm": _Simplifier.gemm,
    "MatMul": _Simplifier.matmul,
    "Pad": _Simplifier.pad,
    "QGemm": _Simplifier.qgemm,
    "QLinearAdd": _Simplifier.qlinear_add,
    "QLinearConv": _Simplifier.qlinear_conv,
    "QLinearMatMul": _Simplifier.qlinear_matmul,
    "QuantizeLinear": _Simplifier.quantize,
    "Transpose": _Simplifier.transpose,
    **dict.fromkeys(
        ("QLinearAveragePool", "QLinearGlobalAveragePool", "QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax"),
        _Simplifier.qlinear_unary,
    ),
}


def without_last(model: Model) -> tuple[Model, str | None]:
    """The model up to what only finds the greatest output or leaves it the greatest, which the head does; and a note of what was taken off."""
    producers = model.producers()
    at, cut = model.output, None
    while (node := producers.get(at)) is not None:
        if node.op in LAST:
            cut = node
        elif node.op not in ("QuantizeLinear", "DequantizeLinear", "Cast", "Reshape", "Transpose"):
            break
        at = node.inputs[0]
    if cut is None:
        return _without_reshape(model), None
    shape, axis = model.shapes[cut.inputs[0]], cut.whole("axis")
    if shape[axis] != math.prod(shape):
        cut.refuse(f"is over {shape[axis]} of {math.prod(shape)} values", "the model's output is one value for each class: [1, classes]")
    if cut.op == "ArgMax" and cut.whole("select_last_index", 0):
        cut.refuse("takes the last of equal values", "export without select_last_index: the first of equals counts")
    note = f"{cut} is taken off: the head finds the greatest output, which it leaves the same"
    return _without_reshape(replace(model, output=cut.inputs[0])), note


def _without_reshape(model: Model) -> Model:
    """The order of the outputs stays the same."""
    producers = model.producers()
    while model.output in producers and producers[model.output].op == "Reshape":
        model = replace(model, output=producers[model.output].inputs[0])
    return model.pruned()
