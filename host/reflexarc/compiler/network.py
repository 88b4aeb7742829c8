"""What lies between the ONNX file and the image: a chain or tree of layers in integers.

Values are stored signed, from -128 to 127: an unsigned tensor's value less 128, its zero point likewise. A layer computes, for each output
channel o and place, with x what is stored::

    sum     = greatest over the pool's window of  sum over taps (weights[o] * x) , with ``pad_value`` where the window leaves the tensor
    product = fl32(fl32(sum + bias[o]) * multiplier[o])
    stored  = table[clamp(round_half_even(product) + zero_point, low, high)]

so that everything that an ONNX node has beside this is folded into ``bias`` (the input's zero point), ``low`` and ``high`` (ReLU, Clip).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reflexarc.contract.model import ViewSource
from reflexarc.contract.packets import Channel

Int8 = NDArray[np.int8]
Int64 = NDArray[np.int64]
Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class Shape:
    """Of a tensor without its batch, as ONNX has it: [channels, rows, columns]. Rows are lines, columns the fast axis or the time."""

    channels: int
    rows: int
    columns: int

    @property
    def size(self) -> int:
        return self.channels * self.rows * self.columns


@dataclass(frozen=True)
class Window:
    """A kernel's or pool's geometry, [rows, columns] each; pads as ONNX orders them: top, left, bottom, right."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)

    def output(self, rows: int, columns: int) -> tuple[int, int]:
        """Places of the window in a tensor of so many rows and columns."""
        top, left, bottom, right = self.pads
        return (
            (rows + top + bottom - self.kernel[0]) // self.stride[0] + 1,
            (columns + left + right - self.kernel[1]) // self.stride[1] + 1,
        )


@dataclass(frozen=True)
class Layer:
    """One weighted sum with all that follows it.

    ``sources``: names of the tensors read: one; or two of the same shape, which are added, and then ``weights`` has both one behind the other in
    its input channels, and ``window`` is one place. ``target``: the tensor that is made.
    ``weights``: int16 [outputs, inputs // groups, kernel rows, kernel columns], the zero point taken off, within -255 to 255.
    ``bias``: int64 [outputs], with the input's zero point folded in. ``multiplier``: float32 [outputs], above 0.
    ``pool``: the greatest of the sums in each of its windows; None: each sum stands for itself. What it pads counts for nothing, and each of
    its windows has at least one sum.
    ``table``: int8 [256] by stored value + 128, or None.
    """

    name: str
    sources: tuple[str, ...]
    target: str
    weights: NDArray[np.int16]
    bias: Int64
    multiplier: Float32
    zero_point: int
    low: int
    high: int
    window: Window = Window()
    groups: int = 1
    pad_value: int = 0
    pool: Window | None = None
    table: Int8 | None = None


@dataclass(frozen=True)
class View:
    """What of the stream a model looks at.

    The model's input is [channels, rows, records]; an evaluation is due each ``hop`` records, once ``records`` of them are there.
    ``thresholds``: int32 [channels, 255], ascending: a measured value's stored number is how many of them are not above it, less 128.
    """

    source: ViewSource
    channels: tuple[Channel, ...]
    rows: int
    records: int
    hop: int
    thresholds: NDArray[np.int32]
    backward: bool = False
    line_mean: bool = False


@dataclass(frozen=True)
class Head:
    """What becomes of the last layer's outputs; see ``SETTINGS_LAYOUT``."""

    classes: int
    members: int = 1
    floor: int = -128
    least_margin: int = 1
    class_base: int = 0
    eventful: frozenset[int] = frozenset()  # numbers of classes that make an event
    disagreement_class: int | None = None


@dataclass(frozen=True)
class Network:
    """Layers in an order in which they can be done; ``input`` and ``output`` are names of tensors, ``shapes`` has all of them."""

    input: str
    output: str
    shapes: dict[str, Shape]
    layers: tuple[Layer, ...]
    labels: tuple[str, ...] = field(default=())  # of the classes, for people
