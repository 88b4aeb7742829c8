"""Rules for nodes that sum products: each becomes a `Linear` that waits for its scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from reflexarc.compiler.emit import image_shape
from reflexarc.compiler.graph import Array, Dimensions, Node
from reflexarc.compiler.network import Float32, Int64
from reflexarc.compiler.quantities import UNQUANTIZED, Quantities
from reflexarc.compiler.states import Fixed, Follower, Linear, Pair, Pending, Reals, State

SHIFT_WEIGHT = 64  # weight of a channel that is only multiplied and shifted: the bias then has a resolution of 1/64 step


class LinearRules(Quantities):
    def conv(self, node: Node) -> State:
        reals = self.reals(node)
        return self._convolution(node, reals, self.state(node, 1), self.state(node, 2))

    def _convolution(self, node: Node, reals: Reals, weights_state: State | None, bias_state: State | None) -> Pending:
        integers = self._weights(node, weights_state, 0)
        strides, pads, dilations = (node.numbers(key) for key in ("strides", "pads", "dilations"))
        assert strides is not None and pads is not None and dilations is not None
        weights, weight_scale = integers
        weights = _dilated(weights, dilations)
        shape = self.model.shapes[node.output]
        if len(shape) == 3:
            weights, strides, pads = weights[:, :, None, :], (1, *strides), (0, pads[0], 0, pads[1])
        if reals.pads:
            pads = tuple(a + b for a, b in zip(pads, reals.pads, strict=True))
        groups = node.whole("group", 1)
        if isinstance(reals.integers, Pair):
            if weights.shape[2:] != (1, 1) or any(pads) or tuple(strides) != (1, 1) or groups != 1:
                node.refuse("follows Concat and has more than one place, or groups", "let a 1x1 Conv of one group follow Concat")
            inputs: tuple[str, ...] = (self.out.image(reals.integers.first.name), self.out.image(reals.integers.second.name))
        else:
            inputs = (self.out.image(reals.integers.name),)
        linear = Linear(
            node,
            inputs,
            reals.scale,
            reals.zero_point,
            weights,
            weight_scale,
            np.zeros(len(weights)),
            (strides[0], strides[1]),
            (pads[0], pads[1], pads[2], pads[3]),
            groups,
            image_shape(shape),
        )
        return self._after(replace(linear, bias=self._bias(node, linear, bias_state)), shape)

    def _after(self, linear: Linear, shape: Dimensions) -> Pending:
        return Pending(
            linear, () if linear.shape == shape else (Follower("reshape", Node(f"{linear.node.name}_shape", "Reshape", (), ()), shape),)
        )

    def _weights(self, node: Node, state: State | None, axis: int) -> tuple[Int64, Float32]:
        """Weights without their zero point and their scales; ``axis`` is that of the outputs."""
        if not isinstance(state, Fixed):
            node.refuse("has weights that are no constant", "use weights that are constants")
        if state.integers is None or state.scale is None or state.zero_point is None:
            node.refuse("has weights that are not quantized", UNQUANTIZED)
        if state.integers.dtype not in (np.int8, np.uint8):
            node.refuse(f"has weights of {state.integers.dtype}", "quantize its weights to int8 or uint8")
        shape = [1] * state.integers.ndim
        if state.axis is not None and state.scale.size > 1:
            if state.axis != axis:
                node.refuse("has a scale for each input channel of its weights", "use one for each output channel, or one in all")
            shape[axis] = state.scale.size
        points = np.broadcast_to(state.zero_point, state.scale.shape)
        return state.integers.astype(np.int64) - points.astype(np.int64).reshape(
            shape if state.scale.size > 1 else [1] * len(shape)
        ), state.scale

    def _bias(self, node: Node, linear: Linear, state: State | None, factor: float = 1.0) -> NDArray[np.float64]:
        """In steps of the sum. One that is quantized to the sum's own steps is taken as it is."""
        outputs = len(linear.weights)
        if state is None:
            return np.zeros(outputs)
        if not isinstance(state, Fixed):
            node.refuse("has a bias that is no constant", "use a bias that is a constant")
        if not np.isfinite(state.values).all():
            node.refuse("has a bias that is not finite", "train or export the model again")
        try:
            values = np.broadcast_to(state.values.reshape(-1) if state.values.size == outputs else state.values, (outputs,))
        except ValueError:
            node.refuse(f"has a bias of shape {list(state.values.shape)} for {outputs} outputs", "give one number for each output")
        step = linear.scale * linear.weight_scale  # float32, as onnxruntime's quantizer has it
        if state.integers is not None and state.scale is not None and factor == 1.0 and np.allclose(state.scale, step, rtol=1e-5, atol=0):
            if state.integers.dtype == np.int32:
                return np.broadcast_to(state.integers.reshape(-1), (outputs,)).astype(np.float64)
        with np.errstate(over="ignore"):
            return values.astype(np.float64) * factor / step.astype(np.float64)

    def gemm(self, node: Node) -> State:
        return self._dense(node, self.reals(node), self.state(node, 1), self.state(node, 2))

    def matmul(self, node: Node) -> State:
        return self._dense(node, self.reals(node), self.state(node, 1), None)

    def _dense(self, node: Node, reals: Reals, weights_state: State | None, bias_state: State | None) -> Pending:
        tensor = self.single(node, reals).name
        rank3 = len(self.out.shapes[tensor]) == 3
        transposed = node.op in ("Gemm", "QGemm") and node.whole("transB", 0)
        weights, weight_scale = self._weights(node, weights_state, 0 if transposed else 1)
        weights = weights if transposed else weights.T
        alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
        if alpha < 0:
            weights, alpha = -weights, -alpha
        if alpha == 0 or not 1e-6 < alpha < 1e6:
            node.refuse(f"has an alpha of {alpha:g}", "put it into the weights")
        weight_scale = weight_scale * np.float32(alpha)
        if rank3:
            tensor = self.out.transpose(tensor, (0, 2, 1))
        image = self.out.image(tensor)
        shape = (1, len(weights), *self.out.shapes[image][2:])
        linear = Linear(
            node,
            (image,),
            reals.scale,
            reals.zero_point,
            weights[:, :, None, None],
            weight_scale,
            np.zeros(len(weights)),
            (1, 1),
            (0, 0, 0, 0),
            1,
            shape,
        )
        linear = replace(linear, bias=self._bias(node, linear, bias_state, beta))
        out = self.model.shapes[node.output]
        if not rank3:
            return self._after(linear, out)
        pending = self._after(linear, (1, out[2], out[1]))
        return pending.then(Follower("transpose", Node(f"{node.name}_transpose", "Transpose", (), (), {"perm": (0, 2, 1)}), out))

    def average(self, node: Node) -> State:
        reals = self.reals(node)
        if reals.pads:
            node.refuse("follows Pad", "give the node pads of its own, with count_include_pad")
        return self._mean(node, reals, self.model.shapes[node.output])

    def _mean(self, node: Node, reals: Reals, shape: Dimensions) -> Pending:
        image = self.out.image(self.single(node, reals).name)
        channels, rows, columns = self.out.shapes[image][1:]
        kernel, strides, pads = (node.numbers(key) for key in ("kernel_shape", "strides", "pads"))
        if kernel is None or strides is None or pads is None:  # over all places
            kernel, strides, pads = (rows, columns), (1, 1), (0, 0, 0, 0)
        elif len(kernel) == 1:
            kernel, strides, pads = (1, *kernel), (1, *strides), (0, pads[0], 0, pads[1])
        linear = Linear(
            node,
            (image,),
            reals.scale,
            reals.zero_point,
            np.ones((channels, 1, *kernel), np.int64),
            np.array([1 / math.prod(kernel)], np.float32),
            np.zeros(channels),
            (strides[0], strides[1]),
            (pads[0], pads[1], pads[2], pads[3]),
            channels,
            image_shape(shape),
        )
        return self._after(linear, shape)

    def normalization(self, node: Node) -> State:
        reals = self.reals(node)
        parameters = [self.state(node, number) for number in range(1, 5)]
        values = []
        for state in parameters:
            if not isinstance(state, Fixed):
                node.refuse("has parameters that are no constants", "export for inference (torch: model.eval())")
            values.append(state.values.astype(np.float64))
        gain, offset, mean, variance = values
        with np.errstate(all="ignore"):
            factor = gain / np.sqrt(variance + node.number("epsilon", 1e-5))
            shift = offset - mean * factor
        return self._affine(node, reals, factor, shift, 1)

    def _affine(self, node: Node, reals: Reals, factor: Array, shift: Array, axis: int) -> Pending:
        """Each channel of ``axis`` times a factor, plus a shift: a depthwise Conv of one place."""
        if not (np.isfinite(factor).all() and np.isfinite(shift).all()):
            node.refuse("has parameters that are not finite", "train or export the model again")
        tensor = self.single(node, reals).name
        shape = self.out.shapes[tensor]
        order = [0, axis, *(place for place in range(1, len(shape)) if place != axis)]
        moved = self.out.transpose(tensor, order)
        moved_shape = self.out.shapes[moved]
        channels = shape[axis]
        image = self.out.reshape(moved, (1, channels, 1, math.prod(moved_shape[2:])) if len(shape) != 4 else moved_shape)
        factor, shift = (np.broadcast_to(values, (channels,)).astype(np.float64) for values in (factor, shift))
        weight_scale = np.where(factor == 0, 1.0, np.abs(factor) / SHIFT_WEIGHT).astype(np.float32)
        if not ((weight_scale > 1e-18) & (weight_scale < 1e18)).all():
            node.refuse("has factors beyond all measure", "train or export the model again")
        weights = (np.sign(factor) * SHIFT_WEIGHT).astype(np.int64)[:, None, None, None]
        bias = shift / (float(reals.scale) * weight_scale.astype(np.float64))
        linear = Linear(
            node,
            (image,),
            reals.scale,
            reals.zero_point,
            weights,
            weight_scale,
            bias,
            (1, 1),
            (0, 0, 0, 0),
            channels,
            self.out.shapes[image],
        )
        pending = self._after(linear, moved_shape)
        if order == list(range(len(shape))):
            return pending
        back = tuple(int(place) for place in np.argsort(order))
        return pending.then(Follower("transpose", Node(f"{node.name}_transpose", "Transpose", (), (), {"perm": back}), shape))


def _dilated(weights: Int64, dilations: Sequence[int]) -> Int64:
    """A kernel with zeros between its taps."""
    if all(d == 1 for d in dilations):
        return weights
    sizes = [(size - 1) * d + 1 for size, d in zip(weights.shape[2:], dilations, strict=True)]
    wide = np.zeros((*weights.shape[:2], *sizes), np.int64)
    wide[(slice(None), slice(None), *(slice(None, None, d) for d in dilations))] = weights
    return wide
