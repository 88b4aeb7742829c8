"""The same for nodes that are quantized: their scales and zero points are checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from reflexarc.compiler.graph import Attribute, Node
from reflexarc.compiler.layer_shapes import LARGEST_SCALE, SMALLEST_SCALE, LayerShapes, axis_of


class QuantizedShapes(LayerShapes):
    def last(self, node: Node) -> None:
        """What is taken off later, or refused."""
        self._value(node)
        shape = self._shape(node, 0)
        default = 0 if node.op == "ArgMax" else -1
        axis = axis_of(node, node.whole("axis", default), len(shape))
        if node.op != "ArgMax":
            self._add(replace(node, attributes={**node.attributes, "axis": axis}), shape)
            return
        keep = node.whole("keepdims", 1)
        out = [1 if place == axis else size for place, size in enumerate(shape)] if keep else [n for i, n in enumerate(shape) if i != axis]
        attributes: dict[str, Attribute] = {"axis": axis, "keepdims": keep, "select_last_index": node.whole("select_last_index", 0)}
        self._add(replace(node, attributes=attributes), out, np.int64)

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
        axis = axis_of(node, node.whole("axis", 1), len(shape)) if len(shape) > 1 else 0
        if not shape or scale.size != shape[axis]:
            node.refuse(f"has {scale.size} scales for a tensor of shape {list(shape)}", "give one, or one for each channel of the axis")
        if node.inputs[0] not in self.fixed:
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
            attributes = {"axis": axis_of(node, node.whole("axis", 1), rank) if rank > 1 else 0}
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
