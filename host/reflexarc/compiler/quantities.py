"""What each tensor of a quantized model is, and how a value that is not quantized yet becomes integers of the canonical model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reflexarc.compiler.emit import MOST_ADDED, Emitter, image_shape
from reflexarc.compiler.graph import Model, Node
from reflexarc.compiler.pairs import pair_weights
from reflexarc.compiler.runtime import evaluate
from reflexarc.compiler.states import Fixed, Follower, Integers, Linear, Pair, Pending, Reals, Source, State, Sum, Values

UNQUANTIZED = "put QuantizeLinear and DequantizeLinear around it, or give the float model with --calibration"


@dataclass(frozen=True)
class Format:
    """How numbers become stored integers: value = scale * (integer - zero_point). ``signed``: int8, else uint8, in the user's own model."""

    scale: float
    zero_point: int
    signed: bool

    @property
    def unsigned_zero_point(self) -> int:
        return self.zero_point + 128 if self.signed else self.zero_point


class Quantities:
    """What the rules for nodes stand on."""

    def __init__(self, model: Model, output_range: Callable[[], tuple[float, float]] | None) -> None:
        self.model = model
        self.output_range = output_range
        self.states: dict[str, State] = {}
        self.out = Emitter(model.input, model.input_shape)
        self.tables: dict[str, tuple[Integers, NDArray[np.uint8]]] = {}  # tensors that are a function of another one
        self.input_format: Format | None = None
        self.formats: dict[str, Format] = {}
        self.notes: list[str] = []

    def _table(self, base: Integers, table: NDArray[np.uint8], signed: bool, node: Node, wanted: str) -> Integers:
        """Integers that are ``table`` of the base's; a Clip, or nothing, where that is the same."""
        every = np.arange(256)
        root, inner = self.tables.get(base.name, (base, every.astype(np.uint8)))
        if np.array_equal(table, every):
            return Integers(base.name, signed)
        low, high = int(table.min()), int(table.max())
        if np.array_equal(table, np.clip(every, low, high)):
            made = self.out.clip(base.name, low, high, node, wanted)
        else:
            index = self.out.emit("Cast", (base.name,), self.out.shapes[base.name], f"{node.name}_index", f"{wanted}_index", np.int32, to=6)
            constant = self.out.constant(table, f"{wanted}_table")
            made = self.out.emit("Gather", (constant, index), self.out.shapes[base.name], node.name, wanted, axis=0)
        self.tables[made] = (root, table[inner])
        return Integers(made, signed)

    def state(self, node: Node, number: int) -> State | None:
        if number >= len(node.inputs) or not node.inputs[number]:
            return None
        name = node.inputs[number]
        return self.states[name] if name in self.states else Fixed(self.model.constants[name])

    def reals(self, node: Node, number: int = 0) -> Reals:
        """A dequantized tensor, which a linear node needs."""
        state = self.state(node, number)
        if isinstance(state, Reals):
            return state
        if isinstance(state, Pending):
            what = "the model's input, which is" if isinstance(state.core, Source) else "values that are"
            node.refuse(f"reads {what} not quantized", UNQUANTIZED)
        if isinstance(state, Fixed):
            node.refuse("works on a constant where the model's values are expected", "exchange its inputs")
        node.refuse("reads integers that are not dequantized", "put DequantizeLinear in front")

    def single(self, node: Node, reals: Reals) -> Integers:
        """The tensor behind it, which must be one, without padding."""
        if isinstance(reals.integers, Pair):
            node.refuse("follows Concat", "let a 1x1 Conv follow Concat")
        if reals.pads:
            node.refuse("follows Pad", "let a Conv follow Pad, or give the node pads of its own")
        return reals.integers

    def _format(self, integers: Integers, scale: np.float32, unsigned_zero_point: int) -> Format:
        return Format(float(scale), unsigned_zero_point - 128 if integers.signed else unsigned_zero_point, integers.signed)

    def _scale(self, node: Node, number: int) -> tuple[np.float32, int, bool]:
        """Scale, zero point as of uint8, and whether the type is int8."""
        scale, point = self.model.constants[node.inputs[number]], None
        if number + 1 < len(node.inputs) and node.inputs[number + 1]:
            point = self.model.constants[node.inputs[number + 1]]
        signed = point is not None and point.dtype == np.int8
        return np.float32(scale.reshape(-1)[0]), (int(point.reshape(-1)[0]) if point is not None else 0) + (128 if signed else 0), signed

    def _values(self, node: Node, reals: Reals) -> Values:
        """The tensor as a function of what it is a table of."""
        integers = self.single(node, reals)
        root, table = self.tables.get(integers.name, (integers, np.arange(256, dtype=np.uint8)))
        values = evaluate("DequantizeLinear", [table, np.array(reals.scale), np.array(reals.zero_point, np.uint8)])
        return Values(node, root, values)

    def _remember(self, integers: Integers, scale: np.float32, zero_point: int) -> None:
        found = self._format(integers, scale, zero_point)
        self.formats.setdefault(integers.name, found)
        if integers.name == self.model.input and self.input_format is None:
            self.input_format = found

    def _quantized(self, pending: Pending, scale: np.float32, zero_point: int, signed: bool, node: Node) -> Integers:
        """What is pending, as integers of this scale and zero point."""
        core, followers = pending.core, pending.followers
        last = not any(follower.kind == "pool" for follower in followers)
        low, high = 0, 255
        for follower in followers:
            if follower.kind == "clip":
                bounds = np.array([follower.low, follower.high], np.float32)
                quantized = evaluate("QuantizeLinear", [bounds, np.array(scale), np.array(zero_point, np.uint8)], kind=np.uint8)
                low, high = (int(np.clip(bound, *quantized)) for bound in (low, high))
        followers = tuple(follower for follower in followers if follower.kind != "clip")
        wanted = node.output if last else f"{node.output}_first"
        if isinstance(core, Source):
            name = self._quantized_input(scale, zero_point, signed, node)
            name = self.out.clip(name, low, high, node, f"{name}_clipped")
        elif isinstance(core, Values):
            if np.isnan(core.values).any():
                core.node.refuse("is not defined for all values that it can get", "clip its input before")
            table = evaluate("QuantizeLinear", [core.values, np.array(scale), np.array(zero_point, np.uint8)], kind=np.uint8)
            name = self._table(core.base, np.clip(table, low, high).astype(np.uint8), signed, core.node, wanted).name
        else:
            linear = self._as_linear(core, scale, zero_point, signed) if isinstance(core, Sum) else core
            name = self.out.conv(linear, scale, zero_point, low, high, wanted)
        for follower in followers:
            name = self._follow(name, follower)
        integers = Integers(name, signed)
        self.formats.setdefault(name, self._format(integers, scale, zero_point))
        return integers

    def _quantized_input(self, scale: np.float32, zero_point: int, signed: bool, node: Node) -> str:
        found = self._format(Integers(self.model.input, signed), scale, zero_point)
        if self.input_format is not None and (self.input_format.scale, self.input_format.unsigned_zero_point) != (found.scale, zero_point):
            node.refuse("quantizes the model's input another time, with another scale", "quantize the input once")
        self.input_format = found
        self.formats[self.model.input] = found
        return self.model.input

    def _follow(self, tensor: str, follower: Follower) -> str:
        if follower.kind == "reshape":
            return self.out.reshape(tensor, follower.shape)
        if follower.kind == "transpose":
            order = follower.node.numbers("perm")
            assert order is not None
            return self.out.transpose(tensor, order)
        return self.out.pool(tensor, follower.node, follower.shape)

    def _as_linear(self, core: Sum, scale: np.float32, zero_point: int, signed: bool) -> Linear:
        """The sum as small whole numbers times the two tensors, where that is exact."""
        node, first, second = core.node, core.first, core.second
        tensors = [self.single(node, reals) for reals in (first, second)]
        names = [tensor.name for tensor in tensors]
        found = pair_weights(
            node,
            (first.scale, first.zero_point),
            (second.scale, second.zero_point),
            core.sign,
            (scale, zero_point),
            signed and all(tensor.signed for tensor in tensors),
        )
        shape = self.out.shapes[names[0]]
        images = tuple(self.out.image(name) for name in names)
        channels = self.out.shapes[images[0]][1]
        if channels > MOST_ADDED:
            node.refuse(f"adds tensors of {channels} channels", f"up to {MOST_ADDED} are possible")
        weights = np.zeros((channels, 2 * channels, 1, 1), np.int64)
        every = np.arange(channels)
        weights[every, every, 0, 0] = found.first
        weights[every, channels + every, 0, 0] = found.second
        # Both tensors stand with the first one's zero point; what that is off for the second is a part of the bias.
        bias = np.full(channels, found.second * (first.zero_point - second.zero_point), np.float64)
        weight_scale = np.array([found.weight_scale], np.float32)
        self.notes.append(
            f"{node}: {found.first} * first + {found.second} * second, equal to {found.reference} for all 65,536 pairs of values"
        )
        return Linear(node, images, first.scale, first.zero_point, weights, weight_scale, bias, (1, 1), (0, 0, 0, 0), 1, image_shape(shape))
