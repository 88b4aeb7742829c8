"""From a network to what the engine's memories hold, layer by layer; where things lie in memory is decided afterwards."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reflexarc.compiler.cycles import LAYER_CYCLES
from reflexarc.compiler.exact import SUM_MAX, split
from reflexarc.compiler.geometry import Geometry, equivalents, geometry_of, pool_hangs_over
from reflexarc.compiler.network import Int64, Layer, Network, Shape, Window
from reflexarc.compiler.refusal import refuse, shown
from reflexarc.compiler.tiling import Plan, Tile, plans
from reflexarc.contract.model import PARAMETERS, RUNS, WEIGHT_BYTES

LAYER_CHANGE_CYCLES = LAYER_CYCLES + 3  # with its quads, about; what a layer more costs when ways are compared


class Aim(enum.Enum):
    """What there should be few of."""

    CYCLES = "cycles"
    WEIGHTS = "weights"  # and bytes of tensors
    RUNS = "runs"


@dataclass(frozen=True)
class LoweredLayer:
    """A layer that is cut into tiles. ``mantissa`` and ``shift``: by column of the array, as ``tile.bias``."""

    layer: Layer
    plan: Plan
    tile: Tile
    mantissa: Int64
    shift: Int64
    ring: bool
    final: bool
    products: int  # of a value and a weight that the layer is made of, wherever they are done

    @property
    def weight_rows(self) -> int:
        groups, rows, _, _ = self.tile.weights.shape
        return int(groups * rows)

    @property
    def output_bytes(self) -> int:
        """As many as are drained, which is the target tensor's size."""
        return self.plan.geometry.outputs * self.plan.geometry.places[0] * self.plan.geometry.places[1]


@dataclass(frozen=True)
class Lowered:
    layers: tuple[LoweredLayer, ...]
    shapes: dict[str, Shape]


def identity(name: str, source: str, target: str, channels: int) -> Layer:
    """Stored values as they are."""
    return Layer(
        name,
        (source,),
        target,
        weights=np.ones((channels, 1, 1, 1), np.int16),
        bias=np.zeros(channels, np.int64),
        multiplier=np.ones(channels, np.float32),
        zero_point=0,
        low=-128,
        high=127,
        groups=channels,
    )


def split_pool(layer: Layer) -> tuple[Layer, Layer]:
    """The sums, stored; and the greatest of the stored values, which is the stored greatest, since what stores them never falls.

    Only a table may do that, so it comes after. What is not there is -128 to the second one, which no value is below.
    """
    between = f"{layer.target}.sums"
    pool = identity(f"{layer.name}.pool", between, layer.target, len(layer.bias))
    return replace(layer, target=between, pool=None, table=None), replace(pool, pool=layer.pool, table=layer.table, pad_value=-128)


def _one_positive_tap(layer: Layer) -> bool:
    """Whether a sum falls where its value does: then -128 for what is not there is below all sums, or equal to them."""
    by_output = layer.weights.reshape(len(layer.weights), -1)
    return (
        layer.window == Window()
        and len(layer.sources) == 1
        and bool((by_output >= 0).all())
        and bool((np.count_nonzero(by_output, axis=1) <= 1).all())
    )


def in_order(network: Network) -> tuple[Layer, ...]:
    """The layers that the output needs, the one that makes it last. What is added to the input needs a copy of it."""
    wanted = {network.output}
    needed: list[Layer] = []
    copy = f"{network.input}.copy"
    copies = False
    for layer in reversed(network.layers):
        if layer.target not in wanted:
            continue
        if network.input in layer.sources and set(layer.sources) != {network.input}:
            layer = replace(layer, sources=tuple(copy if source == network.input else source for source in layer.sources))
            copies = True
        wanted |= set(layer.sources)
        needed.append(layer)
    if copies:
        needed.append(identity("input", network.input, copy, network.shapes[network.input].channels))
    return tuple(reversed(needed))


def products_of(layer: Layer, shape: Shape) -> int:
    """Multiplications that the layer's definition has, those with what is not there included."""
    rows, columns = layer.window.output(shape.rows, shape.columns)
    return layer.weights.size * rows * columns


def _early_refusals(layer: Layer) -> None:
    """What no way of cutting would mend, before memory is spent on it."""
    count, outputs = layer.weights.size, len(layer.bias)
    if count > WEIGHT_BYTES:
        refuse(
            f"layer {shown(layer.name)} has {count:,} weights, {count - WEIGHT_BYTES:,} more than the {WEIGHT_BYTES:,} bytes for all layers",
            f"{outputs * WEIGHT_BYTES // count} outputs instead of {outputs} or {100 * WEIGHT_BYTES // count} % of its inputs would fit, alone",
        )
    if outputs > PARAMETERS:
        refuse(f"layer {shown(layer.name)} has {outputs:,} outputs", f"accepted: {PARAMETERS:,} in all layers together")


def _cost(plan: Plan, last_bytes: int, aim: Aim) -> tuple[int, ...]:
    """Cycles with all inputs there, and those after the last one, count alike."""
    cycles = plan.steps + (plan.after(last_bytes) if plan.ring else plan.steps)
    if aim is Aim.WEIGHTS:
        return plan.weight_rows, cycles
    if aim is Aim.RUNS:
        return plan.run_count, cycles
    return cycles, plan.weight_rows, plan.run_count


def _cheapest(layer: Layer, shape: Shape, lanes: int, ring: bool, last_bytes: int, aim: Aim) -> Plan:
    found = plans(equivalents(geometry_of(layer, shape)), lanes, ring)
    if not found:
        pooled = math.prod(layer.pool.kernel) if layer.pool is not None else 1
        if pooled > RUNS:
            refuse(
                f"layer {shown(layer.name)}: a pool of {pooled:,} values takes more than the {RUNS} runs",
                "use two pools one behind the other",
            )
        refuse(
            f"layer {shown(layer.name)}: a tensor of {shape.channels}x{shape.rows}x{shape.columns} is beyond what a layer's numbers hold",
            "choose a smaller window or fewer channels",
        )
    if ring and aim is Aim.CYCLES:
        # Those that take much longer are not looked at in detail.
        least = min(plan.steps for plan in found)
        found = [plan for plan in found if plan.steps <= 2 * least]
    return min(found, key=lambda plan: _cost(plan, last_bytes, aim))


def _value_range(network: Network, layers: tuple[Layer, ...]) -> dict[str, tuple[int, int]]:
    """Least and greatest stored value of each tensor."""
    found = {network.input: (-128, 127)}
    for layer in layers:
        values: NDArray[np.signedinteger] = np.arange(layer.low, layer.high + 1)
        if layer.table is not None:
            values = layer.table[values + 128]
        found[layer.target] = int(values.min()), int(values.max())
    return found


def _check_sums(layer: Layer, geometry: Geometry, tile: Tile, ranges: list[tuple[int, int]]) -> None:
    """That no sum of the layer can leave the accumulator, neither before its bias nor after it."""
    low: Int64 = np.zeros(geometry.outputs, np.int64)
    high: Int64 = np.zeros(geometry.outputs, np.int64)
    for stream in geometry.streams:
        least, greatest = ranges[stream.source]
        # 0: by line, rows that are not there are left out.
        least, greatest = min(least, geometry.pad, 0), max(greatest, geometry.pad, 0)
        up = np.maximum(stream.weights, 0).sum(axis=(1, 2, 3), dtype=np.int64)
        down = np.minimum(stream.weights, 0).sum(axis=(1, 2, 3), dtype=np.int64)
        low += up * least + down * greatest
        high += up * greatest + down * least
    bias = tile.bias.reshape(-1)[: len(tile.output)]
    low, high = low[tile.output], high[tile.output]
    reach = int(np.max(np.maximum.reduce([-low, high, -(low + bias), high + bias])))
    if reach > SUM_MAX:
        refuse(
            f"layer {shown(layer.name)}: a sum may reach {reach:,}, which the accumulator does not hold",
            f"accepted: up to {SUM_MAX:,}, with fewer inputs to an output or smaller weights",
        )


def _lowered(layer: Layer, plan: Plan, shape: Shape, final: bool, ranges: dict[str, tuple[int, int]]) -> LoweredLayer:
    tile = plan.build()
    _check_sums(layer, plan.geometry, tile, [ranges[source] for source in layer.sources])
    unused = len(tile.bias) - len(tile.output)
    multiplier = np.concatenate([plan.geometry.multiplier[tile.output], np.ones(unused, np.float32)])
    return LoweredLayer(layer, plan, tile, *split(multiplier), plan.ring, final, products_of(layer, shape))


def lower(network: Network, lanes: int, last_bytes: int, aim: Aim = Aim.CYCLES) -> Lowered:
    """``last_bytes``: of the window, those that come last of all."""
    layers = in_order(network)
    if not layers:
        refuse("the network has no layer between its input and its output", "give it at least one")
    shapes = dict(network.shapes)
    shapes[f"{network.input}.copy"] = shapes[network.input]
    cut: list[tuple[Layer, Plan]] = []

    def cheapest(layer: Layer) -> Plan:
        ring = layer.sources[0] == network.input
        return _cheapest(layer, shapes[layer.sources[0]], lanes, ring, last_bytes, aim)

    def cost(*parts: Plan) -> int:
        return sum(_cost(part, last_bytes, Aim.CYCLES)[0] for part in parts) + 2 * LAYER_CHANGE_CYCLES * (len(parts) - 1)

    for layer in layers:
        _early_refusals(layer)
        shape = shapes[layer.sources[0]]
        hangs = pool_hangs_over(layer, shape)
        if hangs and _one_positive_tap(layer):
            layer, hangs = replace(layer, pad_value=-128), False
        ways: list[list[tuple[Layer, Plan]]] = []
        if not hangs:
            ways.append([(layer, cheapest(layer))])
        if hangs or (layer.pool is not None and layer.window != Window() and aim is Aim.CYCLES):
            sums, pool = split_pool(layer)
            shapes[sums.target] = Shape(len(layer.bias), *layer.window.output(shape.rows, shape.columns))
            ways.append([(part, cheapest(part)) for part in (sums, pool)])
        cut += min(ways, key=lambda way: cost(*(plan for _, plan in way)))
    ranges = _value_range(network, tuple(layer for layer, _ in cut))
    for layer, plan in cut:
        row_bytes = plan.weight_rows * 16 * lanes
        if row_bytes > 8 * WEIGHT_BYTES:  # not to spend memory on what can't fit; else it is counted exactly, once it is there
            refuse(
                f"layer {shown(layer.name)} needs about {row_bytes:,} bytes of weights, {row_bytes - WEIGHT_BYTES:,} more than there are",
                f"accepted: {WEIGHT_BYTES:,} in all",
            )
    return Lowered(
        tuple(_lowered(layer, plan, shapes[layer.sources[0]], number == len(cut) - 1, ranges) for number, (layer, plan) in enumerate(cut)),
        shapes,
    )
