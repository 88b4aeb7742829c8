"""A layer as the array sees it: which values meet which weights, and forms of it that give the same bytes in fewer steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reflexarc.compiler.network import Float32, Int64, Layer, Shape, Window
from reflexarc.contract.model import OUTPUTS

Bool = NDArray[np.bool_]
Int8Array = NDArray[np.int8]
Int16 = NDArray[np.int16]


@dataclass(frozen=True)
class Stream:
    """One source times one set of weights. A weight that is no int8 takes several streams over the same source.

    ``weights``: [outputs, channels // groups, rows, columns], within int8.
    """

    source: int
    weights: Int16
    groups: int = 1

    def dense(self) -> Int8Array:
        """[outputs, channels, rows, columns], 0 between the groups."""
        outputs, inputs, rows, columns = self.weights.shape
        if self.groups == 1:
            return self.weights.astype(np.int8)
        whole = np.zeros((self.groups, outputs // self.groups, self.groups, inputs, rows, columns), np.int8)
        index = np.arange(self.groups)
        whole[index, :, index] = self.weights.reshape(self.groups, outputs // self.groups, inputs, rows, columns)
        return whole.reshape(outputs, self.groups * inputs, rows, columns)

    @cached_property
    def occupied(self) -> Bool:
        """[columns, rows, channels]: whether any output needs the value."""
        outputs, inputs, rows, columns = self.weights.shape
        taken: Bool = (self.weights != 0).reshape(self.groups, outputs // self.groups, inputs, rows, columns).any(axis=1)
        return taken.reshape(self.groups * inputs, rows, columns).transpose(2, 1, 0)


@dataclass(frozen=True)
class Geometry:
    """``shape`` is each source's; ``places`` rows and columns of what is written; ``pad`` what stands where nothing is."""

    shape: Shape
    streams: tuple[Stream, ...]
    bias: Int64
    multiplier: Float32
    window: Window
    pool: Window
    pad: int
    places: tuple[int, int]

    @property
    def outputs(self) -> int:
        return len(self.bias)

    @property
    def column_bytes(self) -> int:
        return self.shape.rows * self.shape.channels

    @property
    def pools(self) -> bool:
        return self.pool.kernel != (1, 1)


def int8_parts(weights: Int16) -> Iterator[Int16]:
    """Weights as a sum of such that are int8; of one sign each, so that no sum of parts is beyond the whole's range."""
    rest = weights
    while True:
        part = np.clip(rest, -128, 127).astype(np.int16)
        yield part
        rest = rest - part
        if not rest.any():
            return


def geometry_of(layer: Layer, shape: Shape) -> Geometry:
    """``shape``: of each source."""
    pool = layer.pool or Window()
    weights, groups = layer.weights, layer.groups
    if len(layer.sources) > 1 and groups > 1:  # sources lie one behind the other in the channels, groups don't end where a source does
        weights, groups = Stream(0, weights, groups).dense().astype(np.int16), 1
    streams = [
        Stream(number, part, groups)
        for number, of_source in enumerate(np.split(weights, len(layer.sources), axis=1) if len(layer.sources) > 1 else [weights])
        for part in int8_parts(of_source)
    ]
    summed = layer.window.output(shape.rows, shape.columns)
    return Geometry(shape, tuple(streams), layer.bias, layer.multiplier, layer.window, pool, layer.pad_value, pool.output(*summed))


def pool_hangs_over(layer: Layer, shape: Shape) -> bool:
    """Whether a window of the pool has places at which there is no sum."""
    if layer.pool is None:
        return False
    summed = layer.window.output(shape.rows, shape.columns)
    pooled = layer.pool.output(*summed)
    return any(
        before > 0 or (places - 1) * stride - before + kernel > size
        for before, places, stride, kernel, size in zip(layer.pool.pads, pooled, layer.pool.stride, layer.pool.kernel, summed, strict=False)
    )


def _same(values: NDArray[np.generic]) -> bool:
    return bool((values == values.flat[0]).all())


def _by_channel(geometry: Geometry) -> bool:
    """Whether each output needs its own channel alone, and all do the same with it."""
    channels = geometry.shape.channels
    if geometry.outputs != channels or not _same(geometry.bias) or not _same(geometry.multiplier):
        return False
    for stream in geometry.streams:
        if stream.groups == channels:
            own = stream.weights
        elif stream.groups == 1 and stream.weights.shape[2:] == (1, 1):
            square = stream.weights[:, :, 0, 0]
            own = np.diagonal(square).copy().reshape(channels, 1, 1, 1)
            if np.count_nonzero(square) != np.count_nonzero(own):
                return False
        else:
            return False
        if not bool((own == own[:1]).all()):
            return False
    return True


def _first_channel(stream: Stream) -> Int16:
    return stream.weights[:1, :1]


def equivalents(geometry: Geometry) -> list[Geometry]:
    """Geometries that write the same bytes in the same order; the first is the given one."""
    found = [geometry]
    shape = geometry.shape
    if not _by_channel(geometry):
        return found
    if geometry.window == Window() and geometry.pool == Window():
        # The place does not matter either: one channel, however many values.
        found.append(
            replace(
                geometry,
                shape=Shape(1, 1, shape.size),
                streams=tuple(Stream(stream.source, _first_channel(stream)) for stream in geometry.streams),
                bias=geometry.bias[:1],
                multiplier=geometry.multiplier[:1],
                places=(1, shape.size),
            )
        )
    whole = geometry.window.kernel == (shape.rows, shape.columns) and geometry.window.pads == (0, 0, 0, 0)
    if whole and not geometry.pools and shape.channels > OUTPUTS:
        # One place: blocks of channels can stand for rows, and the places for columns.
        block = max(size for size in range(1, OUTPUTS + 1) if shape.channels % size == 0)
        blocks, places = shape.channels // block, shape.rows * shape.columns
        if block > 1:
            found.append(
                replace(
                    geometry,
                    shape=Shape(block, blocks, places),
                    streams=tuple(
                        Stream(
                            stream.source,
                            # [column][row] is the order in which places lie.
                            np.repeat(_first_channel(stream).transpose(0, 1, 3, 2).reshape(1, 1, 1, places), block, axis=0),
                            block,
                        )
                        for stream in geometry.streams
                    ),
                    bias=geometry.bias[:block],
                    multiplier=geometry.multiplier[:block],
                    window=Window((1, places)),
                    pool=Window(),
                    places=(blocks, 1),
                )
            )
    return found
