"""What a network computes, in whole numbers: the specification of the engine. Nothing here is clever.

Stored values are int8 arrays [n, channels, rows, columns]; n stands for as many evaluations, each for itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reflexarc.compiler.exact import requantize, split
from reflexarc.compiler.network import Int8, Int64, Layer, Network, Window


def run(network: Network, values: Int8) -> Int8:
    """The output for each of n inputs, [n, channels, rows, columns]."""
    return run_all(network, values)[network.output]


def run_all(network: Network, values: Int8) -> dict[str, Int8]:
    """All tensors by name."""
    tensors = {network.input: values}
    for layer in network.layers:
        tensors[layer.target] = run_layer(layer, [tensors[name] for name in layer.sources])
    return tensors


def run_layer(layer: Layer, sources: list[Int8]) -> Int8:
    sums = weighted_sums(layer, np.concatenate(sources, axis=1))
    if layer.pool is not None:
        sums = greatest(sums, layer.pool)
    return requantized(layer, sums)


def weighted_sums(layer: Layer, values: Int8) -> Int64:
    """Of each output and place the sum of weights times values, [n, outputs, rows, columns]."""
    kernel, groups = layer.window.kernel, layer.groups
    places = padded(values.astype(np.int64), layer.window, layer.pad_value)
    rows, columns = layer.window.output(*values.shape[2:])
    outputs, inputs = layer.weights.shape[:2]
    weights = layer.weights.astype(np.int64).reshape(groups, outputs // groups, inputs, *kernel)
    sums = np.zeros((len(values), groups, outputs // groups, rows, columns), np.int64)
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            seen = window_places(places, layer.window, row, column, rows, columns).reshape(len(values), groups, inputs, rows, columns)
            sums += np.einsum("goi,ngirc->ngorc", weights[..., row, column], seen, optimize=True)
    return sums.reshape(len(values), outputs, rows, columns)


def greatest(sums: Int64, pool: Window) -> Int64:
    """Of each window the greatest sum. What lies beyond counts for nothing."""
    rows, columns = pool.output(*sums.shape[2:])
    places = padded(sums, pool, np.iinfo(np.int64).min)
    kernel = [(row, column) for row in range(pool.kernel[0]) for column in range(pool.kernel[1])]
    return np.asarray(np.max([window_places(places, pool, row, column, rows, columns) for row, column in kernel], axis=0))


def requantized(layer: Layer, sums: Int64) -> Int8:
    """The sums with their bias, multiplied as onnxruntime rounds, within bounds, through the table."""
    mantissa, shift = (each.reshape(1, -1, 1, 1) for each in split(layer.multiplier))
    total = sums + layer.bias.reshape(1, -1, 1, 1)
    stored = requantize(total, mantissa, shift, layer.zero_point, layer.low, layer.high).astype(np.int8)
    return stored if layer.table is None else layer.table[stored.astype(np.int64) + 128]


def padded(values: NDArray[np.int64], window: Window, pad: int) -> NDArray[np.int64]:
    top, left, bottom, right = window.pads
    return np.pad(values, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=pad)


def window_places(places: NDArray[np.int64], window: Window, row: int, column: int, rows: int, columns: int) -> NDArray[np.int64]:
    """Of each place of the window what lies under one of its cells."""
    down, across = window.stride
    return places[:, :, row : row + (rows - 1) * down + 1 : down, column : column + (columns - 1) * across + 1 : across]
