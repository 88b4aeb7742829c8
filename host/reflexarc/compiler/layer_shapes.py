"""Shapes of layers, and their attributes in numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from reflexarc.compiler.graph import MICROSOFT, Array, Attribute, Dimensions, Model, Names, Node
from reflexarc.compiler.refusal import shown

MOST_DILATION = 64
MOST_STRIDE = 16
MOST_VALUES = 2**22  # of one tensor
MOST_ALL_VALUES = 2**25  # of all tensors
MOST_PRODUCTS = 2**31  # of an evaluation

LARGEST_PAD = 256
SMALLEST_SCALE, LARGEST_SCALE = 1e-18, 1e18  # so that no quotient or product of two leaves the normal numbers of float32
POOLS = frozenset({"MaxPool", "AveragePool", "QLinearAveragePool"})


class LayerShapes:
    """The model while it is simplified, and the rules for what sums, pools and pads."""

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

    def _set_constant(self, node: Node, value: Array) -> None:
        self.fixed.add(node.output)
        self.constants[node.output] = value
        self.shapes[node.output], self.types[node.output] = value.shape, value.dtype

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
        places = {axis_of(node, axis, rank) for axis in (axes if axes is not None else range(rank))}
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
        places = [axis_of(node, axis, rank) for axis in (range(rank) if axes is None else axes)]
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


def axis_of(node: Node, axis: int, rank: int) -> int:
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


def products(nodes: Sequence[Node], shapes: Mapping[str, Dimensions]) -> int:
    """Multiplications of an evaluation, in what sums products."""
    found = 0
    for node in nodes:
        weights = {"Conv": 1, "Gemm": 1, "MatMul": 1, "QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3}.get(node.op)
        out = math.prod(shapes[node.output])
        if weights is not None:
            found += out * math.prod(shapes[node.inputs[weights]]) // max(shapes[node.output][-1 if "MatMul" in node.op else 1], 1)
        elif node.op in POOLS:
            found += out * math.prod(node.numbers("kernel_shape", [1]) or (1,))
    return found
