"""The canonical model while it is written: nodes on uint8 tensors, each with its shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reflexarc.compiler.graph import Array, Attribute, Dimensions, Names, Node
from reflexarc.compiler.network import Int64
from reflexarc.compiler.refusal import refuse
from reflexarc.compiler.states import Linear

MOST_ADDED = 2048  # channels: each has weights for all


class Emitter:
    def __init__(self, given: str, shape: Dimensions) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[str, Array] = {}
        self.shapes: dict[str, Dimensions] = {given: shape}
        self.types: dict[str, np.dtype[Any]] = {given: np.dtype(np.uint8)}
        self.names = Names([given])
        self.node_names = Names()
        self.made: dict[tuple[object, ...], str] = {}  # reshapes and transposes that are there already
        self.reshaped: dict[str, str] = {}  # of what is made by Reshape, what it is made of

    def emit(
        self, op: str, inputs: Sequence[str], shape: Dimensions, name: str, wanted: str, kind: Any = np.uint8, **attributes: Attribute
    ) -> str:
        output = self.names.fresh(wanted)
        self.nodes.append(Node(self.node_names.fresh(name), op, tuple(inputs), (output,), attributes))
        self.shapes[output], self.types[output] = tuple(int(size) for size in shape), np.dtype(kind)
        return output

    def constant(self, value: Array, wanted: str) -> str:
        name = self.names.fresh(wanted)
        self.constants[name] = value
        self.shapes[name], self.types[name] = value.shape, value.dtype
        return name

    def reshape(self, tensor: str, shape: Dimensions) -> str:
        shape = tuple(int(size) for size in shape)
        tensor = self.origin(tensor)
        if self.shapes[tensor] == shape:
            return tensor
        key = ("reshape", tensor, shape)
        if key not in self.made:
            constant = self.constant(np.array(shape, np.int64), f"{tensor}_shape")
            made = self.emit("Reshape", (tensor, constant), shape, f"{tensor}_reshape", f"{tensor}_reshaped")
            self.made[key], self.reshaped[made] = made, tensor
        return self.made[key]

    def origin(self, tensor: str) -> str:
        """The tensor of which it is but another shape."""
        return self.reshaped.get(tensor, tensor)

    def transpose(self, tensor: str, order: Sequence[int]) -> str:
        order = tuple(order)
        if order == tuple(range(len(order))):
            return tensor
        key = ("transpose", tensor, order)
        if key not in self.made:
            shape = tuple(self.shapes[tensor][place] for place in order)
            self.made[key] = self.emit("Transpose", (tensor,), shape, f"{tensor}_transpose", f"{tensor}_transposed", perm=order)
        return self.made[key]

    def image(self, tensor: str) -> str:
        """The tensor as [1, channels, rows, columns]."""
        shape = self.shapes[tensor]
        return self.reshape(tensor, image_shape(shape))

    def clip(self, tensor: str, low: int, high: int, node: Node, wanted: str) -> str:
        if (low, high) == (0, 255):
            return tensor
        bounds = [self.constant(np.array(bound, np.uint8), f"{wanted}_{what}") for what, bound in (("low", low), ("high", high))]
        return self.emit("Clip", (tensor, *bounds), self.shapes[tensor], node.name, wanted)

    def pool(self, tensor: str, node: Node, shape: Dimensions) -> str:
        kernel, strides, pads = (node.numbers(key) for key in ("kernel_shape", "strides", "pads"))
        assert kernel is not None and strides is not None and pads is not None
        if len(shape) == 3:
            kernel, strides, pads = (1, *kernel), (1, *strides), (0, pads[0], 0, pads[1])
        attributes: dict[str, Attribute] = {"kernel_shape": kernel, "strides": strides, "pads": pads}
        made = self.emit("MaxPool", (self.image(tensor),), image_shape(shape), node.name, node.output, **attributes)
        return self.reshape(made, shape)

    def conv(self, linear: Linear, scale: np.float32, zero_point: int, low: int, high: int, wanted: str) -> str:
        node = linear.node
        weights, weight_point = unsigned_weights(node, linear.weights)
        bias = np.rint(linear.bias)
        if not (np.abs(bias) < 2**31).all():
            worst = int(np.nanargmax(np.abs(bias))) if np.isfinite(bias).any() else 0
            node.refuse(
                f"has a bias that is {bias[worst]:.3g} steps of its sum (output {worst})",
                "use a larger scale for input or weights: a bias has to be below 2^24 steps",
            )
        per_output = linear.weight_scale.size > 1
        given: list[tuple[Array, str]] = [
            (np.array(linear.scale, np.float32), "x_scale"),
            (np.array(linear.zero_point, np.uint8), "x_zero_point"),
            (weights, "weights"),
            (linear.weight_scale if per_output else linear.weight_scale.reshape(()), "weight_scale"),
            (np.full(len(weights) if per_output else (), weight_point, np.uint8), "weight_zero_point"),
            (np.array(scale, np.float32), "scale"),
            (np.array(zero_point, np.uint8), "zero_point"),
            (bias.astype(np.int32), "bias"),
        ]
        attributes: dict[str, Attribute] = {
            "kernel_shape": weights.shape[2:],
            "strides": linear.strides,
            "pads": linear.pads,
            "group": linear.groups,
            "dilations": (1, 1),
        }
        tensor = linear.inputs[0]
        if len(linear.inputs) == 2:
            _, channels, rows, columns = self.shapes[tensor]
            tensor = self.emit("Concat", linear.inputs, (1, 2 * channels, rows, columns), f"{node.name}_inputs", f"{wanted}_inputs", axis=1)
        clipped = (low, high) != (0, 255)
        inputs = (tensor, *(self.constant(value, f"{node.name}_{what}") for value, what in given))
        made = self.emit("QLinearConv", inputs, linear.shape, node.name, f"{wanted}_sum" if clipped else wanted, **attributes)
        return self.clip(made, low, high, replace(node, name=f"{node.name}_clip"), wanted)


def unsigned_weights(node: Node, weights: Int64) -> tuple[NDArray[np.uint8], int]:
    """As uint8 with one zero point for all."""
    least, greatest = int(weights.min(initial=0)), int(weights.max(initial=0))
    point = 128 if -128 <= least and greatest <= 127 else -least
    if greatest + point > 255:
        node.refuse(
            f"has weights of {least} to {greatest} steps around their zero points",
            "quantize its weights to int8 with zero points of 0, or with one zero point for all channels",
        )
    return (weights + point).astype(np.uint8), point


def image_shape(shape: Dimensions) -> Dimensions:
    """[1, channels, rows, columns] of what has fewer dimensions: a length is columns, single values are channels."""
    if len(shape) == 3:
        return (1, shape[1], 1, shape[2])
    if len(shape) == 2:
        return (1, shape[1], 1, 1)
    if len(shape) != 4:
        refuse(
            f"a layer works on a tensor of shape {list(shape)}", "use [1, values], [1, channels, length] or [1, channels, rows, columns]"
        )
    return shape
