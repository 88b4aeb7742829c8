"""From a canonical model to a `Network`: layers as the engine has them.

Values are stored signed, 128 less than the canonical model's. A QLinearConv begins a layer, and what follows it and needs no sums of its own (Clip,
MaxPool, a table) becomes a part of it where nothing else reads what lies between. MaxPool takes the greatest of the sums, before they are
quantized: with multipliers above 0 that is the same. What can't be a part of another layer is one of its own, whose weights are 1.

Reshape and Transpose move nothing. It is known of each tensor where each of its values is stored (`Placed.order`), and a layer that reads a tensor
in another order than it is stored in gets its weights in that order; where that is not possible the model is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from reflexarc.compiler.emit import image_shape
from reflexarc.compiler.graph import Array, Dimensions, Model, Node
from reflexarc.compiler.network import Layer, Network, Shape, Window
from reflexarc.compiler.refusal import refuse, shown
from reflexarc.errors import BadInput

SUM_LIMIT = 2**24  # in magnitude, bias included: below it a float32 is exact
# Beyond these a multiplier gives for each sum what these give: the zero point, or the end of the range for all but 0.
LEAST_MULTIPLIER, GREATEST_MULTIPLIER = np.float32(2.0**-64), np.float32(2.0**16)
MOST_DENSE = 2**25  # weights of a layer that is given others to read another order
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class Placed:
    """Where a tensor of the canonical model lies: ``order`` has its shape without the batch, and of each value the flat place in what is stored."""

    stored: str
    order: Int64
    low: int = -128
    high: int = 127

    def values(self, stored: Array, batch: int) -> Array:
        """The canonical model's values, uint8, out of what is stored for each of a batch."""
        flat = stored.reshape(batch, -1)[:, self.order.reshape(-1)]
        return (flat.astype(np.int64) + 128).astype(np.uint8).reshape(batch, *self.order.shape)


@dataclass(frozen=True)
class Built:
    """``input_order``: [channels, rows, columns], of each value of the network's input the flat place in the model's. ``placed``: of each tensor
    of the canonical model that is stored somewhere."""

    network: Network
    input_order: Int64
    placed: dict[str, Placed]
    reach: dict[str, tuple[int, int]]  # of each layer, by name: least and greatest sum with its bias that its weights allow

    def store(self, values: Array) -> NDArray[np.int8]:
        """Values of the canonical model's input, uint8 [n, ...], as the network's."""
        flat = values.reshape(len(values), -1)[:, self.input_order.reshape(-1)]
        return (flat.astype(np.int64) - 128).astype(np.int8).reshape(len(values), *self.input_order.shape)


class _Misfit(BadInput):
    """A layer can't read the model's input as it is stored; in ``order`` it could."""

    def __init__(self, text: str, order: Int64) -> None:
        super().__init__(text)
        self.order = order


def build(model: Model, view: Shape | None = None) -> Built:
    """``model``: canonical, with its shapes. ``view``: of what records the input is; without it [1, C, R, L] is C channels of R rows,
    [1, C, L] C channels, [1, K] one channel."""
    if view is not None:
        if view.size != math.prod(model.input_shape):
            refuse(
                f"its input has {math.prod(model.input_shape)} values, the view {view.channels} channels x {view.rows} rows x {view.columns} records",
                "choose a view of as many values",
            )
        return _Builder(model, _natural(view)).result()
    shape = model.input_shape[1:]
    first = Shape(shape[0], *shape[1:]) if len(shape) == 3 else Shape(shape[0], 1, shape[1]) if len(shape) == 2 else Shape(1, 1, shape[0])
    try:
        return _Builder(model, _natural(first)).result()
    except _Misfit as misfit:
        return _Builder(model, misfit.order).result()


def _natural(shape: Shape) -> Int64:
    return np.arange(shape.size).reshape(shape.channels, shape.rows, shape.columns)


@dataclass
class _Group:
    """A layer while it is put together, in the frame of the canonical model."""

    node: Node
    sources: tuple[Placed, ...]
    weights: Int64
    bias: Int64  # as in the canonical model
    multiplier: NDArray[np.float32]
    input_zero_point: int  # of uint8
    zero_point: int  # of what is stored
    window: Window
    groups: int
    out: Dimensions  # [channels, rows, columns] of the sums
    low: int = -128
    high: int = 127
    pool: Window | None = None
    table: NDArray[np.int8] | None = None


class _Builder:
    def __init__(self, model: Model, input_order: Int64) -> None:
        self.model = model
        self.input_order = input_order
        self.consumers = model.consumers()
        self.layers: list[Layer] = []
        self.shapes: dict[str, Shape] = {model.input: Shape(*input_order.shape)}
        inverse = np.empty(input_order.size, np.int64)
        inverse[input_order.reshape(-1)] = np.arange(input_order.size)
        self.placed: dict[str, Placed] = {model.input: Placed(model.input, inverse.reshape(model.input_shape[1:]))}
        self.pairs: dict[str, tuple[Placed, Placed]] = {}
        self.absorbed: set[str] = set()
        self.reach: dict[str, tuple[int, int]] = {}

    def result(self) -> Built:
        for node in self.model.nodes:
            if node.output not in self.absorbed:
                self._take(node)
        output = self._output()
        network = Network(self.model.input, output, self.shapes, tuple(self.layers), self.model.labels)
        return Built(network, self.input_order, self.placed, self.reach)

    def _take(self, node: Node) -> None:
        match node.op:
            case "Reshape" | "Transpose":
                source = self.placed[node.inputs[0]]
                self.placed[node.output] = replace(source, order=self._laid_out(node, source.order))
            case "Concat":
                first, second = (self.placed[name] for name in node.inputs)
                self.pairs[node.output] = (first, second)
            case "Cast":
                self.placed[node.output] = self.placed[node.inputs[0]]
            case "QLinearConv":
                self._finish(self._conv(node), node.output)
            case "Clip" | "Gather" | "MaxPool":
                source = self.placed[node.inputs[1 if node.op == "Gather" else 0]]
                group = self._identity(node, source, in_stored_order=node.op != "MaxPool")
                if not self._absorb(group, node):
                    node.refuse("can't be a layer")
                order = source.order
                if node.op == "MaxPool":
                    order = np.arange(math.prod(group.out)).reshape(group.out)
                self._finish(group, node.output, None if node.op == "MaxPool" else order)
            case _:
                node.refuse("is not canonical", "give the model through the canonicalizer")

    def _laid_out(self, node: Node, order: Int64) -> Int64:
        if node.op == "Reshape":
            return order.reshape(self.model.shapes[node.output][1:])
        axes = node.numbers("perm")
        assert axes is not None
        if axes[0] != 0:
            node.refuse("moves the batch", "leave the batch in front")
        return order.transpose([axis - 1 for axis in axes[1:]])

    # Groups.

    def _conv(self, node: Node) -> _Group:
        constants = [self.model.constants[name] for name in node.inputs[1:]]
        x_scale, x_point, weights, w_scale, w_point, y_scale, y_point, bias = constants
        with np.errstate(over="ignore", under="ignore"):
            multiplier = np.asarray((x_scale * w_scale.reshape(-1)) / y_scale, np.float32)  # onnxruntime's order
        if not np.isfinite(multiplier).all():
            node.refuse("has scales whose quotient is beyond all measure", "quantize the model again")
        wide = weights.astype(np.int64) - int(w_point.reshape(-1)[0])
        strides, pads = node.numbers("strides"), node.numbers("pads")
        assert strides is not None and pads is not None
        name = node.inputs[0]
        sources = self.pairs[name] if name in self.pairs else (self.placed[name],)
        return _Group(
            node,
            sources,
            wide,
            bias.astype(np.int64),
            np.clip(np.broadcast_to(multiplier, (len(wide),)), LEAST_MULTIPLIER, GREATEST_MULTIPLIER),
            int(x_point.reshape(-1)[0]),
            int(y_point.reshape(-1)[0]) - 128,
            Window((wide.shape[2], wide.shape[3]), (strides[0], strides[1]), (pads[0], pads[1], pads[2], pads[3])),
            node.whole("group", 1),
            self.model.shapes[node.output][1:],
        )

    def _identity(self, node: Node, source: Placed, in_stored_order: bool) -> _Group:
        """A layer that takes the values as they are."""
        if in_stored_order:
            shape = self.shapes[source.stored]
            out: Dimensions = (shape.channels, shape.rows, shape.columns)
            source = replace(source, order=_natural(shape))
        else:
            out = source.order.shape
        channels = out[0]
        return _Group(
            node,
            (source,),
            np.ones((channels, 1, 1, 1), np.int64),
            np.zeros(channels, np.int64),
            np.ones(channels, np.float32),
            128,
            0,
            Window(),
            channels,
            out,
        )

    def _absorb(self, group: _Group, node: Node) -> bool:
        """Make the node a part of the layer, if it can be."""
        match node.op:
            case "Clip":
                low, high = (int(self.model.constants[name]) - 128 for name in node.inputs[1:3])
                if group.table is None:
                    group.low, group.high = (int(np.clip(bound, low, high)) for bound in (group.low, group.high))
                else:
                    group.table = np.clip(group.table, low, high).astype(np.int8)
            case "Gather":
                table = (self.model.constants[node.inputs[0]].astype(np.int64) - 128).astype(np.int8)
                group.table = table if group.table is None else table[group.table.astype(np.int64) + 128]
            case "MaxPool":
                if group.pool is not None or (group.table is not None and (np.diff(group.table.astype(np.int64)) < 0).any()):
                    return False
                kernel, strides, pads = (node.numbers(key) for key in ("kernel_shape", "strides", "pads"))
                assert kernel is not None and strides is not None and pads is not None
                group.pool = Window((kernel[0], kernel[1]), (strides[0], strides[1]), (pads[0], pads[1], pads[2], pads[3]))
                group.out = self.model.shapes[node.output][1:]
            case _:
                return False
        return True

    def _finish(self, group: _Group, tensor: str, order: Int64 | None = None) -> None:
        """Take in what follows, and make the layer. ``order``: of ``tensor`` in what the layer makes, which else is in the canonical order."""
        natural = order is None
        if order is None:
            order = np.arange(math.prod(group.out)).reshape(group.out)
        trail = [(tensor, order)]  # names of what the layer makes
        while tensor != self.model.output and len(self.consumers.get(tensor, ())) == 1:
            (node,) = self.consumers[tensor]
            if node.op in ("Reshape", "Transpose"):
                order = self._laid_out(node, order)
                trail.append((node.output, order))
            elif node.op == "Cast":
                trail.append((node.output, order))
            elif node.op == "MaxPool" and (not natural or not _is_natural(order) or order.shape != group.out):
                break
            elif self._absorb(group, node):
                if node.op == "MaxPool":
                    order = np.arange(math.prod(group.out)).reshape(group.out)
                trail = [(node.output, order)]
            else:
                break
            tensor = node.output
            self.absorbed.add(tensor)
        layer, swapped = self._layer(group, trail[0][0])
        low, high = layer.low, layer.high
        if layer.table is not None:
            reachable = layer.table[low + 128 : high + 129]
            low, high = int(reachable.min()), int(reachable.max())
        self.layers.append(layer)
        places = np.arange(math.prod(group.out))
        if swapped:
            places = places.reshape(group.out[0], group.out[2], group.out[1]).transpose(0, 2, 1).reshape(-1)
        for name, named_order in trail:
            self.placed[name] = Placed(layer.target, places[named_order], low, high)

    # Layers.

    def _layer(self, group: _Group, target: str) -> tuple[Layer, bool]:
        weights, window, groups, swapped = self._fitted(group)
        pool = _swapped(group.pool) if swapped and group.pool is not None else group.pool
        out = (group.out[0], group.out[2], group.out[1]) if swapped else group.out
        per_output = weights.reshape(len(weights), -1)
        bias = group.bias + per_output.sum(axis=1) * (128 - group.input_zero_point)
        self._check_sums(group, per_output, bias)
        self.shapes[target] = Shape(*out)
        layer = Layer(
            group.node.name,
            tuple(source.stored for source in group.sources),
            target,
            weights.astype(np.int16),
            bias,
            group.multiplier,
            group.zero_point,
            group.low,
            group.high,
            window,
            groups,
            group.input_zero_point - 128,
            pool,
            group.table,
        )
        return layer, swapped

    def _fitted(self, group: _Group) -> tuple[Int64, Window, int, bool]:
        """Weights, window and groups for the order in which the source is stored; whether rows and columns change places."""
        source = group.sources[0]
        stored = self.shapes[source.stored]
        natural = _natural(stored)
        order, weights, window, groups = source.order, group.weights, group.window, group.groups
        if order.ndim != 3:
            order = order.reshape(image_shape((1, *order.shape))[1:])
        if len(group.sources) == 2:
            other = group.sources[1]
            same = self.shapes[other.stored] == stored and np.array_equal(other.order, source.order)
            if not same or not (np.array_equal(order, natural) or np.array_equal(order, natural.transpose(0, 2, 1))):
                _refuse(group, "adds tensors that are laid out differently", "add before Flatten, Reshape or Transpose")
            return weights, window, groups, not np.array_equal(order, natural)
        if np.array_equal(order, natural):
            return weights, window, groups, False
        if np.array_equal(order, natural.transpose(0, 2, 1)):
            swapped = _swapped(window)
            return weights.transpose(0, 1, 3, 2), swapped, groups, True
        if max(weights.size * groups, len(weights) * stored.size) <= MOST_DENSE:
            found = _merged(order, stored, weights, window, groups) or _whole(order, stored, weights, window, groups)
            if found is not None:
                return *found, 1, False
        text = (
            f"layer {shown(group.node.name)} reads {_told(order.shape)} values in another order than {_told(natural.shape)} are stored in; "
            "leave out the Transpose or Reshape in front, or let a Gemm over all values follow it"
        )
        if source.stored == self.model.input:
            raise _Misfit(text, source.order if source.order.ndim == 3 else order)
        raise BadInput(text)

    def _check_sums(self, group: _Group, weights: Int64, bias: Int64) -> None:
        """Whatever is stored, a sum is exact: below 2**24 in magnitude with its bias, and in 25 bits without."""
        lows = np.full(weights.shape[1], group.sources[0].low, np.int64)
        highs = np.full(weights.shape[1], group.sources[0].high, np.int64)
        if len(group.sources) == 2:
            half = weights.shape[1] // 2
            lows[half:], highs[half:] = group.sources[1].low, group.sources[1].high
        pad = group.input_zero_point - 128
        if any(group.window.pads):
            lows, highs = np.minimum(lows, pad), np.maximum(highs, pad)
        least = np.minimum(weights * lows, weights * highs).sum(axis=1)
        greatest = np.maximum(weights * lows, weights * highs).sum(axis=1)
        self.reach[group.node.name] = (int((least + bias).min()), int((greatest + bias).max()))
        worst = np.maximum(np.maximum(np.abs(least + bias), np.abs(greatest + bias)), np.maximum(-least - 1, greatest))
        if (worst >= SUM_LIMIT).any():
            output = int(worst.argmax())
            inputs = int(np.count_nonzero(weights[output]))
            _refuse(
                group,
                f"can reach a sum of {int(worst[output]):,} in output {output} ({inputs} weights, bias {int(bias[output]):,})",
                f"sums are exact below {SUM_LIMIT:,}: use fewer inputs, smaller weights (a larger weight scale) or a smaller bias",
            )

    def _output(self) -> str:
        """The last layer's target: the output, which nothing else reads, one value for each class in the model's order."""
        name = self.model.output
        placed = self.placed[name]
        read_too = any(placed.stored in layer.sources for layer in self.layers)
        if read_too or placed.stored == self.model.input:
            node = Node(f"{name}_output", "Identity", (), (name,))
            group = self._identity(node, placed, in_stored_order=True)
            layer, _ = self._layer(group, f"{placed.stored}_output")
            self.layers.append(layer)
            placed = self.placed[name] = replace(placed, stored=layer.target)
        shape = self.shapes[placed.stored]
        if (shape.rows, shape.columns) != (1, 1):
            refuse(
                f"its output has {shape.rows} x {shape.columns} places of {shape.channels} values",
                "end with one value for each class: GlobalAveragePool or Flatten and Gemm",
            )
        if not _is_natural(placed.order):
            refuse("its output is in another order than the last layer makes it", "leave out the Transpose at the end")
        return placed.stored


def _refuse(group: _Group, why: str, instead: str) -> NoReturn:
    refuse(f"layer {shown(group.node.name)} {why}", instead)


def _is_natural(order: Int64) -> bool:
    return bool(np.array_equal(order.reshape(-1), np.arange(order.size)))


def _swapped(window: Window) -> Window:
    top, left, bottom, right = window.pads
    return Window((window.kernel[1], window.kernel[0]), (window.stride[1], window.stride[0]), (left, top, right, bottom))


def dense(weights: Int64, groups: int) -> Int64:
    """The same weights with one group, zeros between groups."""
    if groups == 1:
        return weights
    outputs, inputs, *kernel = weights.shape
    wide = np.zeros((outputs, inputs * groups, *kernel), weights.dtype)
    for group in range(groups):
        rows = slice(group * outputs // groups, (group + 1) * outputs // groups)
        wide[rows, group * inputs : (group + 1) * inputs] = weights[rows]
    return wide


def _merged(order: Int64, stored: Shape, weights: Int64, window: Window, groups: int) -> tuple[Int64, Window] | None:
    """One row whose channels are stored as channels and rows, or one column likewise: a kernel over all rows, or over all columns."""
    top, left, bottom, right = window.pads
    if order.shape[1] == 1 and order.shape[2] == stored.columns and (top, bottom) == (0, 0) and window.kernel[0] == 1:
        line, place = order[:, 0, :] // stored.columns, order[:, 0, :] % stored.columns
        if (place == np.arange(stored.columns)).all() and (line == line[:, :1]).all():
            wide: Int64 = np.zeros((len(weights), stored.channels * stored.rows, window.kernel[1]), np.int64)
            wide[:, line[:, 0]] = dense(weights, groups)[:, :, 0, :]
            return (
                wide.reshape(len(weights), stored.channels, stored.rows, window.kernel[1]),
                Window((stored.rows, window.kernel[1]), (1, window.stride[1]), (0, left, 0, right)),
            )
    if order.shape[2] == 1 and order.shape[1] == stored.rows and (left, right) == (0, 0) and window.kernel[1] == 1:
        by_row = order[:, :, 0]
        channel, row, column = by_row // (stored.rows * stored.columns), by_row // stored.columns % stored.rows, by_row % stored.columns
        if (row == np.arange(stored.rows)).all() and (channel == channel[:, :1]).all() and (column == column[:, :1]).all():
            tall: Int64 = np.zeros((len(weights), stored.channels, window.kernel[0], stored.columns), np.int64)
            tall[:, channel[:, 0], :, column[:, 0]] = dense(weights, groups)[:, :, :, 0].transpose(1, 0, 2)
            return tall, Window((window.kernel[0], stored.columns), (window.stride[0], 1), (top, 0, bottom, 0))
    return None


def _whole(order: Int64, stored: Shape, weights: Int64, window: Window, groups: int) -> tuple[Int64, Window] | None:
    """A single place: one kernel over all that is stored, whatever the order."""
    if window.output(*order.shape[1:]) != (1, 1):
        return None
    top, left, _, _ = window.pads
    wide = np.zeros((len(weights), stored.size), np.int64)
    full = dense(weights, groups)
    for row in range(window.kernel[0]):
        for column in range(window.kernel[1]):
            if 0 <= row - top < order.shape[1] and 0 <= column - left < order.shape[2]:
                wide[:, order[:, row - top, column - left]] = full[:, :, row, column]
    return wide.reshape(len(weights), stored.channels, stored.rows, stored.columns), Window((stored.rows, stored.columns))


def _told(shape: Sequence[Any]) -> str:
    return " x ".join(str(size) for size in shape)
