"""The same model with fewer kinds of nodes: shapes known, what is constant worked out, what does nothing left out, paddings in numbers.

What is left: Conv, Gemm, MatMul, MaxPool, AveragePool, BatchNormalization, Pad, Concat, Reshape, Transpose, functions of one or two values, Cast
and Gather where they make a table, QuantizeLinear, DequantizeLinear, the QLinear operators, and Softmax, ArgMax and the like. Anything else is
refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from reflexarc.compiler.graph import MICROSOFT, Array, Attribute, Dimensions, Model, Names, Node
from reflexarc.compiler.refusal import refuse, shown

MOST_DILATION = 64
MOST_STRIDE = 16
MOST_VALUES = 2**22  # of one tensor
MOST_ALL_VALUES = 2**25  # of all tensors
MOST_PRODUCTS = 2**31  # of an evaluation
MOST_FOLDED = 65536  # values of a constant that is worked out from others

UNARY = frozenset(
    "Abs Acos Acosh Asin Asinh Atan Atanh Ceil Celu Clip Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish LeakyRelu Log Mish Neg Reciprocal Relu "
    "Round Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Tan Tanh ThresholdedRelu".split()
)
BINARY = frozenset("Add Div Max Min Mul PRelu Pow Sub".split())
LAST = frozenset({"Softmax", "LogSoftmax", "ArgMax", "Hardmax", "QLinearSoftmax"})


def simplify(model: Model) -> Model:
    return _Simplifier(model).result()


class _Simplifier:
    def __init__(self, model: Model) -> None:
        self.model = model
        self.constants = dict(model.constants)
        self.shapes: dict[str, Dimensions] = {name: value.shape for name, value in self.constants.items()}
        self.types: dict[str, np.dtype[Any]] = {name: value.dtype for name, value in self.constants.items()}
        self.shapes[model.input], self.types[model.input] = model.input_shape, model.input_type
        self.same: dict[str, str] = {}  # tensors that are another one
        self.fixed = set(self.constants)  # what depends on constants alone
        self.nodes: list[Node] = []
        self.values = 0  # of all tensors so far
        self.names = Names([*self.constants, model.input, *(name for node in model.nodes for name in node.outputs)])

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

    # Bookkeeping.

    def _take(self, node: Node) -> None:
        if not node.output:
            return
        present = [name for name in node.inputs if name]
        if node.op == "Constant":
            self._set_constant(node, _constant_value(node))
            return
        if node.op == "Shape":
            shape = self._shape(node, 0)
            if not shape:
                node.refuse("has nothing to tell the shape of", "export the model again")
            whole = np.array(shape, np.int64)[node.whole("start", 0) : node.attributes.get("end")]  # type: ignore[misc]
            self._set_constant(node, whole)
            return
        if present and all(name in self.constants for name in present) and node.op in _FOLDED:
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
                made = np.asarray(_FOLDED[node.op](node, values))
        except (ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError):
            node.refuse("does not fit its constants", "export the model again")
        if made.size > largest or made.dtype not in _KINDS:
            node.refuse("makes a constant that is too large or of another type", "let the exporter fold constants")
        self._set_constant(node, made)

    def _set_constant(self, node: Node, value: Array) -> None:
        self.fixed.add(node.output)
        self.constants[node.output] = value
        self.shapes[node.output], self.types[node.output] = value.shape, value.dtype

    def _add(self, node: Node, shape: Sequence[int], kind: Any = None) -> None:
        shape = tuple(int(size) for size in shape)
        if min(shape, default=1) < 1:
            node.refuse(f"would make a tensor of shape {list(shape)}", "choose kernel, stride and padding so that something is left")
        if math.prod(shape) > MOST_VALUES and not self.fixed.issuperset(name for name in node.inputs if name):
            node.refuse(f"would make {math.prod(shape):,} values", f"up to {MOST_VALUES:,} are possible")
        if self.fixed.issuperset(name for name in node.inputs if name):
            self.fixed.add(node.output)
        else:
            self.values += math.prod(shape)
        if self.values > MOST_ALL_VALUES:
            node.refuse(f"makes the values of the model more than {MOST_ALL_VALUES:,}", "use a smaller model")
        self.nodes.append(node)
        self.shapes[node.output] = shape
        self.types[node.output] = self.types[node.inputs[0]] if kind is None else np.dtype(kind)

    def _alias(self, node: Node) -> None:
        self.same[node.output] = node.inputs[0]

    def _shape(self, node: Node, number: int) -> Dimensions:
        if number >= len(node.inputs) or not node.inputs[number]:
            node.refuse(f"has no input number {number + 1}", "export the model again")
        return self.shapes[node.inputs[number]]

    def _optional(self, node: Node, number: int) -> Array | None:
        """An input that must be constant if it is there."""
        if number >= len(node.inputs) or not node.inputs[number]:
            return None
        value = self.constants.get(node.inputs[number])
        if value is None:
            node.refuse(f"has an input {shown(node.inputs[number])} that is no constant", "give it as a constant")
        return value

    def _required(self, node: Node, number: int) -> Array:
        value = self._optional(node, number)
        if value is None:
            node.refuse(f"has no input number {number + 1}", "export the model again")
        return value

    def _whole_numbers(self, node: Node, number: int, attribute: str) -> tuple[int, ...] | None:
        """Of an input in newer opsets, of an attribute in older ones."""
        given = self._optional(node, number)
        if given is None:
            return node.numbers(attribute)
        if given.dtype.kind not in "iu" or given.ndim > 1 or given.size > 8:
            node.refuse(f"has no short list of whole numbers as its {attribute}", "export the model again")
        return tuple(int(value) for value in given.reshape(-1))

    def _value(self, node: Node) -> None:
        """The first input must be a tensor that depends on the model's input."""
        if node.inputs[0] in self.constants:
            node.refuse(
                "works on a constant where the model's values are expected", "exchange its inputs, or let the exporter fold constants"
            )

    def _real(self, node: Node) -> None:
        self._value(node)
        if self.types[node.inputs[0]] != np.float32:
            node.refuse(
                f"works on {self.types[node.inputs[0]]}", "use float32, with DequantizeLinear in front where the values are quantized"
            )

    # Rules, a group of operators each.

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
            axis = _axis(node, node.whole("axis", 1), rank + 1) if node.whole("axis", 1) != rank else rank
            new = [math.prod(old[:axis]), math.prod(old[axis:])]
        else:
            axes = self._whole_numbers(node, 1, "axes")
            if node.op == "Squeeze":
                gone = (
                    {place for place, size in enumerate(old) if size == 1} if axes is None else {_axis(node, axis, rank) for axis in axes}
                )
                if any(old[place] != 1 for place in gone):
                    node.refuse("takes away a dimension that is not 1", "export the model again")
                new = [size for place, size in enumerate(old) if place not in gone]
            else:
                if axes is None:
                    node.refuse("has no axes", "export the model again")
                places = {_axis(node, axis, rank + len(axes)) for axis in axes}
                rest = iter(old)
                if len(places) != len(axes):
                    node.refuse("names an axis twice", "export the model again")
                new = [1 if place in places else next(rest) for place in range(rank + len(axes))]
        self._reshape(node, new)

    def _reshape(self, node: Node, new: Sequence[int]) -> None:
        """To a shape in which one size may be -1."""
        old = self._shape(node, 0)
        size, new = math.prod(old), list(new)
        known = math.prod(n for n in new if n != -1)
        if new.count(-1) == 1 and known > 0 and size % known == 0:
            new[new.index(-1)] = size // known
        if min(new, default=1) < 1 or math.prod(new) != size or len(new) > 6:
            node.refuse(f"can't make {new} of {list(old)}", "give a shape of as many values, with the batch in front")
        if tuple(new) == old:
            self._alias(node)
            return
        name = self.names.fresh(f"{node.output}_shape")
        self.constants[name] = np.array(new, np.int64)
        self._add(Node(node.name, "Reshape", (node.inputs[0], name), node.outputs), new)

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

    def conv(self, node: Node) -> None:
        self._real(node)
        shape, weights = self._shape(node, 0), self._shape(node, 1)
        if len(shape) not in (3, 4) or len(weights) != len(shape):
            node.refuse(
                f"has an input of rank {len(shape)} and weights of rank {len(weights)}", "use 1-D ([1, channels, length]) or 2-D ones"
            )
        self._convolution(node, shape, weights, np.float32)

    def _convolution(self, node: Node, shape: Dimensions, weights: Dimensions, kind: Any) -> None:
        group = node.whole("group", 1)
        kernel = node.numbers("kernel_shape", weights[2:])
        if kernel != weights[2:]:
            node.refuse("has weights of another size than its kernel_shape", "export the model again")
        bias = self._shape(node, 2) if node.op == "Conv" and len(node.inputs) > 2 else (weights[0],)
        if bias != (weights[0],):
            node.refuse(f"has a bias of shape {list(bias)} for {weights[0]} outputs", "give one number for each output")
        if group < 1 or weights[0] % group or shape[1] != weights[1] * group:
            node.refuse(
                f"has {shape[1]} channels, weights for {weights[1]} and {weights[0]} outputs in {group} groups",
                "give sizes that go together",
            )
        places = len(shape) - 2
        dilations = node.numbers("dilations", [1] * places)
        assert dilations is not None
        if len(dilations) != places or not all(1 <= d <= MOST_DILATION for d in dilations):
            node.refuse(f"has dilations {list(dilations)}", "use a dilation of 1")
        reach = tuple((k - 1) * d + 1 for k, d in zip(weights[2:], dilations, strict=True))
        if math.prod(weights[:2]) * math.prod(reach) > MOST_VALUES and reach != weights[2:]:
            node.refuse(f"has dilations {list(dilations)}", "use a dilation of 1")
        attributes, out = self._window(node, shape, reach)
        attributes |= {"group": group, "kernel_shape": weights[2:], "dilations": dilations}
        self._add(replace(node, attributes=attributes), (1, weights[0], *out), kind)

    def _window(
        self, node: Node, shape: Dimensions, kernel: Sequence[int], ceil: bool = False
    ) -> tuple[dict[str, Attribute], tuple[int, ...]]:
        """Strides and paddings in numbers, and the places that there are."""
        places = len(shape) - 2
        strides = node.numbers("strides", [1] * places)
        pads = node.numbers("pads", [0] * (2 * places))
        assert strides is not None and pads is not None
        if len(kernel) != places or not all(1 <= k for k in kernel):
            node.refuse(f"has a kernel {list(kernel)} for {places} dimensions", "give one size for each")
        if len(strides) != places or not all(1 <= s <= MOST_STRIDE for s in strides):
            node.refuse(f"has strides {list(strides)}", f"use 1 to {MOST_STRIDE}, one for each dimension")
        if len(pads) != 2 * places or not all(0 <= p < LARGEST_PAD for p in pads):
            node.refuse(f"has pads {list(pads)}", f"give 0 to {LARGEST_PAD - 1} on each side")
        auto = node.text("auto_pad", "NOTSET")
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            needed = [max((-(-size // s) - 1) * s + k - size, 0) for size, k, s in zip(shape[2:], kernel, strides, strict=True)]
            less, more = [n // 2 for n in needed], [n - n // 2 for n in needed]
            pads = tuple(less + more if auto == "SAME_UPPER" else more + less)
        elif auto == "VALID":
            pads = (0,) * (2 * places)
        elif auto not in ("NOTSET", ""):
            node.refuse(f"has auto_pad {shown(auto)}", "use NOTSET, SAME_UPPER, SAME_LOWER or VALID")
        begin, end = list(pads[:places]), list(pads[places:])
        out = []
        for axis, (size, k, s) in enumerate(zip(shape[2:], kernel, strides, strict=True)):
            room = size + begin[axis] + end[axis] - k
            if ceil and room >= 0:
                count = -(-room // s) + 1
                if (count - 1) * s >= size + begin[axis]:
                    count -= 1  # a window that would lie in the padding alone is none
                end[axis] = max(end[axis], (count - 1) * s + k - size - begin[axis])
                room = size + begin[axis] + end[axis] - k
            out.append(room // s + 1 if room >= 0 else 0)
        return {"strides": strides, "pads": (*begin, *end)}, tuple(out)

    def pool(self, node: Node) -> None:
        self._value(node)
        shape = self._shape(node, 0)
        if len(shape) not in (3, 4):
            node.refuse(f"has an input of rank {len(shape)}", "use [1, channels, length] or [1, channels, rows, columns]")
        kernel = node.numbers("kernel_shape")
        if kernel is None:
            node.refuse("has no kernel_shape", "give one")
        if any(d != 1 for d in node.numbers("dilations", [1]) or ()):
            node.refuse("has dilations", "use a dilation of 1")
        if node.whole("storage_order", 0):
            node.refuse("has a storage_order", "leave it out")
        ceil = bool(node.whole("ceil_mode", 0))
        floor_attributes, _ = self._window(node, shape, kernel)
        attributes, out = self._window(node, shape, kernel, ceil)
        if node.op != "MaxPool":
            if attributes != floor_attributes:
                node.refuse("has ceil_mode and a window that is not whole", "choose sizes so that the windows fit, or leave ceil_mode out")
            if any(value > 0 for value in _pads(attributes)) and not node.whole("count_include_pad", 0):
                node.refuse("leaves its padding out of the mean", "use no padding, or count_include_pad")
            attributes["count_include_pad"] = 1
        else:
            pads = _pads(attributes)
            places = len(shape) - 2
            if any(pads[axis] >= k or pads[places + axis] >= k for axis, k in enumerate(kernel)):
                node.refuse("pads as much as its kernel is large", "pad less, so that each window has a value")
        attributes["kernel_shape"] = tuple(kernel)
        if node.domain == MICROSOFT and node.whole("channels_last", 0):
            node.refuse("has its channels last", "use channels first")
        self._add(replace(node, attributes=attributes), (1, shape[1], *out))

    def global_pool(self, node: Node) -> None:
        self._value(node)
        shape = self._shape(node, 0)
        if len(shape) not in (3, 4):
            node.refuse(f"has an input of rank {len(shape)}", "use [1, channels, length] or [1, channels, rows, columns]")
        if node.domain == MICROSOFT and node.whole("channels_last", 0):
            node.refuse("has its channels last", "use channels first")
        op = {"GlobalAveragePool": "AveragePool", "GlobalMaxPool": "MaxPool"}.get(node.op, node.op)
        attributes = {} if op == node.op else _whole_window(shape, op)
        self._add(replace(node, op=op, attributes=attributes), (*shape[:2], *(1 for _ in shape[2:])))

    def reduce(self, node: Node) -> None:
        """The mean or greatest over all places, as a pool."""
        self._value(node)
        shape = self._shape(node, 0)
        rank = len(shape)
        axes = self._whole_numbers(node, 1, "axes")
        if axes is None and node.whole("noop_with_empty_axes", 0):
            self._alias(node)
            return
        places = {_axis(node, axis, rank) for axis in (axes if axes is not None else range(rank))}
        op = "AveragePool" if node.op == "ReduceMean" else "MaxPool"
        if rank not in (3, 4) or places != set(range(2, rank)):
            node.refuse(
                f"is over the axes {sorted(places)} of {rank}", "take it over all places of each channel: [2, 3], or [2] of a 1-D model"
            )
        kept = (*shape[:2], *(1 for _ in shape[2:]))
        if node.whole("keepdims", 1):
            self._add(Node(node.name, op, node.inputs[:1], node.outputs, _whole_window(shape, op)), kept)
            return
        inner = self.names.fresh(f"{node.output}_pooled")
        self._add(Node(node.name, op, node.inputs[:1], (inner,), _whole_window(shape, op)), kept)
        self._reshape(Node(f"{node.name}_shape", "Reshape", (inner,), node.outputs), shape[:2])

    def matmul(self, node: Node) -> None:
        self._real(node)
        shape, weights = self._shape(node, 0), self._shape(node, 1)
        if len(weights) != 2 or len(shape) not in (2, 3) or shape[-1] != weights[0]:
            node.refuse(f"multiplies {list(shape)} with {list(weights)}", "accepted: [1, K] or [1, T, K] with constant weights [K, N]")
        self._add(node, (*shape[:-1], weights[1]))

    def gemm(self, node: Node) -> None:
        self._real(node)
        shape, weights = self._shape(node, 0), self._shape(node, 1)
        attributes = self._gemm(node, shape, weights)
        self._add(replace(node, attributes=attributes), (shape[0], weights[0 if attributes["transB"] else 1]))

    def _gemm(self, node: Node, shape: Dimensions, weights: Dimensions) -> dict[str, Attribute]:
        transposed = 1 if node.whole("transB", 0) else 0
        if node.whole("transA", 0):
            node.refuse("transposes its input", "export without transA")
        if len(shape) != 2 or len(weights) != 2 or shape[0] != 1 or shape[1] != weights[1 if transposed else 0]:
            node.refuse(
                f"multiplies {list(shape)} with {list(weights)}", "accepted: [1, K] with constant weights of K inputs; use Flatten in front"
            )
        outputs = weights[0 if transposed else 1]
        bias = self._shape(node, 2) if node.op == "Gemm" and len(node.inputs) > 2 else ()
        if bias not in ((), (1,), (1, 1), (outputs,), (1, outputs)):
            node.refuse(f"has a bias of shape {list(bias)} for {outputs} outputs", "give one number for each output")
        return {"transB": transposed, "alpha": node.number("alpha", 1.0), "beta": node.number("beta", 1.0)}

    def normalization(self, node: Node) -> None:
        self._real(node)
        shape = self._shape(node, 0)
        if node.whole("training_mode", 0):
            node.refuse("is in training mode", "export for inference (torch: model.eval())")
        if len(shape) < 2:
            node.refuse(f"has an input of rank {len(shape)}", "use [1, channels, ...]")
        for number in range(1, 5):
            if self._required(node, number).shape != (shape[1],):
                node.refuse(f"has parameters that are not {shape[1]} numbers each", "export the model again")
        self._add(Node(node.name, node.op, node.inputs, node.outputs, {"epsilon": node.number("epsilon", 1e-5)}), shape)

    def pad(self, node: Node) -> None:
        self._value(node)
        shape = self._shape(node, 0)
        rank = len(shape)
        if node.text("mode", "constant") != "constant":
            node.refuse(f"has the mode {shown(node.text('mode', 'constant'))}", "pad with zeros")
        given = self._whole_numbers(node, 1, "pads")
        value = self._optional(node, 2)
        if value is not None and (value.size != 1 or value.any()):
            node.refuse("pads with something else than zero", "pad with zeros")
        axes = self._whole_numbers(node, 3, "axes")
        places = [_axis(node, axis, rank) for axis in (range(rank) if axes is None else axes)]
        if (
            given is None
            or len(given) != 2 * len(places)
            or len(set(places)) != len(places)
            or not all(0 <= n < LARGEST_PAD for n in given)
        ):
            node.refuse("has paddings that do not fit its input", f"give 0 to {LARGEST_PAD - 1} on each side")
        full = [0] * (2 * rank)
        for number, place in enumerate(places):
            full[place], full[rank + place] = given[number], given[len(places) + number]
        if rank not in (3, 4) or full[0] or full[1] or full[rank] or full[rank + 1]:
            node.refuse("pads something else than rows and columns", "pad [1, channels, ...] around its places only")
        if not any(full):
            self._alias(node)
            return
        name = self.names.fresh(f"{node.output}_pads")
        self.constants[name] = np.array(full, np.int64)
        self._add(
            Node(node.name, "Pad", (node.inputs[0], name), node.outputs), [size + full[i] + full[rank + i] for i, size in enumerate(shape)]
        )

    def concat(self, node: Node) -> None:
        self._value(node)
        shapes = [self._shape(node, number) for number in range(len(node.inputs))]
        axis = _axis(node, node.whole("axis"), len(shapes[0]))
        if len(shapes) == 1:
            self._alias(node)
            return
        if len(shapes) != 2 or axis != 1 or shapes[0] != shapes[1] or any(name in self.constants for name in node.inputs):
            node.refuse("is not supported")
        if self.types[node.inputs[0]] != self.types[node.inputs[1]]:
            node.refuse("joins tensors of two types", "quantize both to the same type")
        self._add(replace(node, attributes={"axis": 1}), (1, 2 * shapes[0][1], *shapes[0][2:]))

    def last(self, node: Node) -> None:
        """What is taken off later, or refused."""
        self._value(node)
        shape = self._shape(node, 0)
        default = 0 if node.op == "ArgMax" else -1
        axis = _axis(node, node.whole("axis", default), len(shape))
        if node.op != "ArgMax":
            self._add(replace(node, attributes={**node.attributes, "axis": axis}), shape)
            return
        keep = node.whole("keepdims", 1)
        out = [1 if place == axis else size for place, size in enumerate(shape)] if keep else [n for i, n in enumerate(shape) if i != axis]
        attributes: dict[str, Attribute] = {"axis": axis, "keepdims": keep, "select_last_index": node.whole("select_last_index", 0)}
        self._add(replace(node, attributes=attributes), out, np.int64)

    # Quantized operators.

    def quantization(self, node: Node, number: int, kinds: Sequence[Any] = (np.int8, np.uint8), zero: bool = True) -> np.dtype[Any]:
        """Check the scale at input ``number`` and the zero point behind it; the zero point's type."""
        scale = self._optional(node, number)
        if scale is None:
            node.refuse("has no scale", "give a scale that is a constant")
        if scale.dtype != np.float32 or scale.ndim > 1 or scale.size == 0:
            node.refuse(
                f"has a scale of type {scale.dtype} and shape {list(scale.shape)}", "accepted: one float32, or one for each channel"
            )
        if not (np.isfinite(scale) & (scale > 0)).all():
            wrong = scale.reshape(-1)[~(np.isfinite(scale) & (scale > 0)).reshape(-1)][0]
            node.refuse(f"has a scale of {wrong}", "scales are finite and above 0; quantize the model again")
        if (scale < SMALLEST_SCALE).any() or (scale > LARGEST_SCALE).any():
            node.refuse(f"has a scale of {scale.min():g} to {scale.max():g}", f"accepted: {SMALLEST_SCALE:g} to {LARGEST_SCALE:g}")
        point = self._optional(node, number + 1) if zero else None
        if point is None:
            return np.dtype(np.uint8)
        if point.dtype not in kinds:
            node.refuse(f"has a zero point of type {point.dtype}", "quantize to int8 or uint8")
        if point.size != scale.size or point.ndim > 1:
            node.refuse(f"has {point.size} zero points for {scale.size} scales", "give as many")
        return point.dtype

    def quantize(self, node: Node) -> None:
        self._plain_quantization(node)
        kind = self.quantization(node, 1)
        if len(node.inputs) < 3 or not node.inputs[2]:
            kind = self._own_type(node)
        if self.types[node.inputs[0]] != np.float32:
            node.refuse(f"quantizes {self.types[node.inputs[0]]}", "quantize float32")
        self._axis_of_scales(node)
        self._quantization_node(node, kind)

    def dequantize(self, node: Node) -> None:
        self._plain_quantization(node)
        source = self.types[node.inputs[0]]
        if source not in (np.int8, np.uint8, np.int32):
            node.refuse(f"works on {source}", "quantize to int8 or uint8, with biases of int32")
        kind = self.quantization(node, 1, (source,))
        if source == np.int32:
            point = self._optional(node, 2)
            if node.inputs[0] not in self.constants or (point is not None and point.any()):
                node.refuse("works on int32 that is no bias, or has a zero point", "quantize to int8 or uint8, with biases of int32")
            kind = source
        elif (len(node.inputs) < 3 or not node.inputs[2]) and source != kind:
            kind = source  # a zero point that is not there is 0 of the input's type
        self._axis_of_scales(node)
        self._quantization_node(node, np.dtype(np.float32), kind)

    def _plain_quantization(self, node: Node) -> None:
        if node.whole("block_size", 0):
            node.refuse("has a scale for each block", "use one scale, or one for each output channel of weights")

    def _own_type(self, node: Node) -> np.dtype[Any]:
        from onnx import TensorProto

        wanted = node.whole("output_dtype", 0)
        if wanted not in (0, TensorProto.UINT8, TensorProto.INT8):
            node.refuse("quantizes to another type than int8 and uint8", "quantize to int8 or uint8")
        return np.dtype(np.int8 if wanted == TensorProto.INT8 else np.uint8)

    def _axis_of_scales(self, node: Node) -> None:
        scale, shape = self._required(node, 1), self._shape(node, 0)
        if scale.size == 1:
            return
        axis = _axis(node, node.whole("axis", 1), len(shape)) if len(shape) > 1 else 0
        if not shape or scale.size != shape[axis]:
            node.refuse(f"has {scale.size} scales for a tensor of shape {list(shape)}", "give one, or one for each channel of the axis")
        if node.inputs[0] not in self.constants:
            node.refuse("has a scale for each channel of the model's values", "use one scale; only weights may have one for each channel")

    def _quantization_node(self, node: Node, kind: np.dtype[Any], zero_kind: np.dtype[Any] | None = None) -> None:
        """With a zero point in any case; what has one scale has it as a single number."""
        scale = self._required(node, 1)
        point = self._optional(node, 2)
        if point is None:
            point = np.zeros(scale.shape, kind if zero_kind is None else zero_kind)
        attributes: dict[str, Attribute] = {}
        if scale.size == 1:
            scale, point = scale.reshape(()), point.reshape(())
        else:
            rank = len(self._shape(node, 0))
            attributes = {"axis": _axis(node, node.whole("axis", 1), rank) if rank > 1 else 0}
        names = [self.names.fresh(f"{node.output}_{what}") for what in ("scale", "zero_point")]
        for name, value in zip(names, (scale, point), strict=True):
            self.constants[name], self.shapes[name], self.types[name] = value, value.shape, value.dtype
            self.fixed.add(name)
        self._add(Node(node.name, node.op, (node.inputs[0], *names), node.outputs, attributes), self._shape(node, 0), kind)

    def _with_zero_points(self, node: Node, *numbers: int) -> Node:
        """The node with all its zero points, for onnxruntime stumbles over some that are left out. ``numbers``: those of the scales."""
        inputs = list(node.inputs)
        for number in numbers:
            inputs += [""] * (number + 2 - len(inputs))
            if not inputs[number + 1]:
                kind = self.types[inputs[number - 1]] if number != numbers[-1] else self.types[inputs[0]]
                name = inputs[number + 1] = self.names.fresh(f"{node.output}_zero_point")
                self.constants[name] = np.zeros(self._required(node, number).shape, kind)
                self.shapes[name], self.types[name] = self.constants[name].shape, np.dtype(kind)
                self.fixed.add(name)
        return replace(node, inputs=tuple(inputs))

    def _integers(self, node: Node, number: int, point: int) -> None:
        if self.types.get(node.inputs[number]) != self._required(node, point).dtype:
            node.refuse("has a zero point of another type than its values", "quantize the model again")

    def _one_scale(self, node: Node, *numbers: int) -> None:
        for number in numbers:
            if self._required(node, number).size != 1:
                node.refuse("has several scales for the model's values", "use one scale; only weights may have one for each channel")

    def qlinear_conv(self, node: Node) -> None:
        self._value(node)
        self.quantization(node, 1)
        self.quantization(node, 4)
        kind = self.quantization(node, 6)
        self._required(node, 3)
        self._integers(node, 0, 2)
        self._integers(node, 3, 5)
        self._one_scale(node, 1, 6)
        shape, weights = self._shape(node, 0), self._shape(node, 3)
        if len(shape) not in (3, 4) or len(weights) != len(shape):
            node.refuse(
                f"has an input of rank {len(shape)} and weights of rank {len(weights)}", "use 1-D ([1, channels, length]) or 2-D ones"
            )
        if self._required(node, 4).size not in (1, weights[0]):
            node.refuse(f"has {self._required(node, 4).size} scales for {weights[0]} outputs", "give one, or one for each")
        bias = self._optional(node, 8)
        if bias is not None and (bias.dtype != np.int32 or bias.shape != (weights[0],)):
            node.refuse(f"has a bias of type {bias.dtype} and shape {list(bias.shape)}", f"give {weights[0]} of int32")
        self._convolution(node, shape, weights, kind)

    def qlinear_matmul(self, node: Node) -> None:
        self._value(node)
        self.quantization(node, 1)
        self.quantization(node, 4)
        kind = self.quantization(node, 6)
        self._required(node, 3)
        self._integers(node, 0, 2)
        self._integers(node, 3, 5)
        self._one_scale(node, 1, 6)
        shape, weights = self._shape(node, 0), self._shape(node, 3)
        if len(weights) != 2 or len(shape) not in (2, 3) or shape[-1] != weights[0]:
            node.refuse(f"multiplies {list(shape)} with {list(weights)}", "accepted: [1, K] or [1, T, K] with constant weights [K, N]")
        if self._required(node, 4).size not in (1, weights[1]):
            node.refuse(f"has {self._required(node, 4).size} scales for {weights[1]} outputs", "give one, or one for each")
        self._add(node, (*shape[:-1], weights[1]), kind)

    def qgemm(self, node: Node) -> None:
        self._value(node)
        self.quantization(node, 1)
        self.quantization(node, 4)
        self._required(node, 3)
        self._integers(node, 0, 2)
        self._integers(node, 3, 5)
        self._one_scale(node, 1)
        shape, weights = self._shape(node, 0), self._shape(node, 3)
        attributes = self._gemm(node, shape, weights)
        outputs = weights[0 if attributes["transB"] else 1]
        if self._required(node, 4).size not in (1, outputs):
            node.refuse(f"has {self._required(node, 4).size} scales for {outputs} outputs", "give one, or one for each")
        bias = self._optional(node, 6)
        if bias is not None and (bias.dtype != np.int32 or bias.size != outputs):
            node.refuse(f"has a bias of type {bias.dtype} and shape {list(bias.shape)}", f"give {outputs} of int32")
        kind: Any = np.float32
        if len(node.inputs) > 7 and node.inputs[7]:
            node = self._with_zero_points(node, 7)
            kind = self.quantization(node, 7)
            self._one_scale(node, 7)
        elif len(node.inputs) > 8:
            node.refuse("has a zero point of its output and no scale", "give both")
        if "alpha" in attributes and attributes["alpha"] != 1.0:
            node.refuse("has an alpha", "put it into the scale of the weights")
        del attributes["beta"]
        self._add(replace(node, attributes=attributes), (1, outputs), kind)

    def qlinear_add(self, node: Node) -> None:
        self._value(node)
        node = self._with_zero_points(node, 1, 4, 6)
        self.quantization(node, 1)
        self.quantization(node, 4)
        kind = self.quantization(node, 6)
        self._integers(node, 0, 2)
        self._integers(node, 3, 5)
        self._one_scale(node, 1, 4, 6)
        if self._shape(node, 0) != self._shape(node, 3):
            node.refuse("adds tensors of two shapes", "give both inputs one shape")
        self._add(node, self._shape(node, 0), kind)

    def qlinear_unary(self, node: Node) -> None:
        self._value(node)
        node = self._with_zero_points(node, 1, 3)
        self.quantization(node, 1)
        kind = self.quantization(node, 3)
        self._integers(node, 0, 2)
        self._one_scale(node, 1, 3)
        if node.op == "QLinearAveragePool":
            self.pool(node)
        elif node.op == "QLinearGlobalAveragePool":
            self.global_pool(node)
        elif node.op == "QLinearSoftmax":
            self.last(node)
        else:
            self._add(node, self._shape(node, 0))
        self.types[node.output] = kind


def products(nodes: Sequence[Node], shapes: Mapping[str, Dimensions]) -> int:
    """Multiplications of an evaluation, in what sums products."""
    found = 0
    for node in nodes:
        weights = {"Conv": 1, "Gemm": 1, "MatMul": 1, "QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3}.get(node.op)
        out = math.prod(shapes[node.output])
        if weights is not None:
            found += out * math.prod(shapes[node.inputs[weights]]) // max(shapes[node.output][-1 if "MatMul" in node.op else 1], 1)
        elif node.op in _POOLS:
            found += out * math.prod(node.numbers("kernel_shape", [1]) or (1,))
    return found


LARGEST_PAD = 256
SMALLEST_SCALE, LARGEST_SCALE = 1e-18, 1e18  # so that no quotient or product of two leaves the normal numbers of float32
_POOLS = frozenset({"MaxPool", "AveragePool", "QLinearAveragePool"})
_KINDS = tuple(np.dtype(kind) for kind in (np.float32, np.int8, np.uint8, np.int32, np.int64, np.bool_))


def _axis(node: Node, axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        node.refuse(f"has the axis {axis}, of {rank}", "export the model again")
    return axis % rank


def _pads(attributes: dict[str, Attribute]) -> tuple[int, ...]:
    pads = attributes["pads"]
    assert isinstance(pads, tuple)
    return tuple(int(pad) for pad in pads)


def _whole_window(shape: Dimensions, op: str) -> dict[str, Attribute]:
    places = len(shape) - 2
    attributes: dict[str, Attribute] = {"kernel_shape": shape[2:], "strides": (1,) * places, "pads": (0,) * (2 * places)}
    return attributes | ({"count_include_pad": 1} if op == "AveragePool" else {})


def _constant_value(node: Node) -> Array:
    if len(node.attributes) == 1:
        ((name, value),) = node.attributes.items()
        if name == "value" and isinstance(value, np.ndarray):
            return value
        if name in ("value_int", "value_ints"):
            return np.array(value, np.int64)
        if name in ("value_float", "value_floats"):
            return np.array(value, np.float32)
    node.refuse("has a value of a kind that is not read", "use a tensor of numbers")


# What is worked out where all inputs are constants.


def _cast_constant(node: Node, values: list[Array]) -> Array:
    from onnx import helper

    return values[0].astype(helper.tensor_dtype_to_np_dtype(node.whole("to")))


def _slice_constant(node: Node, values: list[Array]) -> Array:
    starts, ends = values[1], values[2]
    axes = values[3] if len(values) > 3 else np.arange(starts.size)
    steps = values[4] if len(values) > 4 else np.ones(starts.size, np.int64)
    cuts = [slice(None)] * values[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        cuts[int(axis)] = slice(int(start), int(end), int(step))
    return values[0][tuple(cuts)]


def _reshape_constant(node: Node, values: list[Array]) -> Array:
    wanted = [values[0].shape[place] if size == 0 else int(size) for place, size in enumerate(values[1])]
    return values[0].reshape(wanted)


def _divide_constant(node: Node, values: list[Array]) -> Array:
    if values[0].dtype.kind in "iu":
        return np.asarray(np.trunc(values[0] / values[1])).astype(values[0].dtype)
    return np.asarray(values[0] / values[1])


def _axes_of(node: Node, values: list[Array]) -> tuple[int, ...] | None:
    return tuple(int(axis) for axis in values[1].reshape(-1)) if len(values) > 1 else node.numbers("axes")


def _unsqueeze_constant(node: Node, values: list[Array]) -> Array:
    axes = _axes_of(node, values)
    if axes is None or len(axes) > 6:
        raise ValueError
    return np.expand_dims(values[0], axes)


def _flatten_constant(node: Node, values: list[Array]) -> Array:
    axis = node.whole("axis", 1)
    return values[0].reshape(math.prod(values[0].shape[:axis]), -1)


_FOLDED: dict[str, Callable[[Node, list[Array]], Any]] = {
    "Identity": lambda node, values: values[0],
    "Cast": _cast_constant,
    "Concat": lambda node, values: np.concatenate(values, node.whole("axis")),
    "Gather": lambda node, values: np.take(values[0], values[1], node.whole("axis", 0)),
    "Slice": _slice_constant,
    "Squeeze": lambda node, values: np.squeeze(values[0], _axes_of(node, values)),
    "Unsqueeze": _unsqueeze_constant,
    "Reshape": _reshape_constant,
    "Flatten": _flatten_constant,
    "Transpose": lambda node, values: np.transpose(values[0], node.numbers("perm")),
    "Add": lambda node, values: values[0] + values[1],
    "Sub": lambda node, values: values[0] - values[1],
    "Mul": lambda node, values: values[0] * values[1],
    "Div": _divide_constant,
    "Neg": lambda node, values: -values[0],
    "Sqrt": lambda node, values: np.sqrt(values[0]),
    "ReduceProd": lambda node, values: np.prod(values[0], keepdims=bool(node.whole("keepdims", 1))),
}
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
