"""What is worked out where all inputs of a node are constants: shapes, mostly, as exporters leave them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from reflexarc.compiler.graph import Array, Node


def constant_value(node: Node) -> Array:
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


FOLDED: dict[str, Callable[[Node, list[Array]], Any]] = {
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
