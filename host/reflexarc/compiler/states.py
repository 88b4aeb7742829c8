"""What a tensor of a quantized model is while its nodes are gone through, on the way to the canonical model."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reflexarc.compiler.graph import Array, Dimensions, Node
from reflexarc.compiler.network import Float32, Int64


@dataclass(frozen=True)
class Integers:
    """A tensor of the canonical model; ``signed`` says how the user's model has it."""

    name: str
    signed: bool


@dataclass(frozen=True)
class Indices:
    """Integers as the indices of a table."""

    integers: Integers


@dataclass(frozen=True)
class Pair:
    """Two tensors behind each other in the channels."""

    first: Integers
    second: Integers


@dataclass(frozen=True)
class Reals:
    """What DequantizeLinear makes of integers. ``zero_point`` is that of uint8; ``pads`` as ONNX has them, of rows and columns."""

    integers: Integers | Pair
    scale: np.float32
    zero_point: int
    pads: tuple[int, ...] = ()


@dataclass(frozen=True)
class Fixed:
    """A constant; ``integers`` and what follows where it is dequantized."""

    values: Array
    integers: Array | None = None
    scale: Float32 | None = None
    zero_point: Array | None = None
    axis: int | None = None


@dataclass(frozen=True)
class Linear:
    """A weighted sum that is not quantized yet. ``inputs``: tensors [1, channels, rows, columns] of the canonical model, one or two."""

    node: Node
    inputs: tuple[str, ...]
    scale: np.float32
    zero_point: int
    weights: Int64
    weight_scale: Float32
    bias: NDArray[np.float64]  # in steps of scale * weight_scale
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    groups: int
    shape: Dimensions  # [1, outputs, rows, columns]


@dataclass(frozen=True)
class Sum:
    """Of two tensors, or their difference, not quantized yet."""

    node: Node
    first: Reals
    second: Reals
    sign: int


@dataclass(frozen=True)
class Values:
    """A function of one value, not quantized yet: its value for each of the 256 that the base can have."""

    node: Node
    base: Integers
    values: Float32


@dataclass(frozen=True)
class Source:
    """The model's input, not quantized yet."""


@dataclass(frozen=True)
class Follower:
    """What follows a value that is not quantized yet, and can as well follow the quantized one."""

    kind: str  # "clip", "pool", "reshape", "transpose"
    node: Node
    shape: Dimensions
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class Pending:
    core: Linear | Sum | Values | Source
    followers: tuple[Follower, ...] = ()

    def then(self, follower: Follower) -> Pending:
        return replace(self, followers=(*self.followers, follower))


State = Integers | Indices | Pair | Reals | Fixed | Pending
