"""Rules for functions of one value, which become bounds or tables, and of two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from reflexarc.compiler.emit import image_shape
from reflexarc.compiler.graph import Array, Node
from reflexarc.compiler.linear_rules import LinearRules
from reflexarc.compiler.quantities import UNQUANTIZED
from reflexarc.compiler.runtime import evaluate
from reflexarc.compiler.states import Fixed, Follower, Integers, Linear, Pending, Reals, Source, State, Sum, Values


class ValueRules(LinearRules):
    def unary(self, node: Node) -> State:
        state = self.state(node, 0)
        bounds = self._bounds(node)
        if isinstance(state, Integers):
            return self._clip_integers(node, state)
        if (
            isinstance(state, Pending)
            and bounds is not None
            and (isinstance(state.core, Linear | Sum | Source) or any(f.kind == "pool" for f in state.followers))
        ):
            return state.then(Follower("clip", node, self.model.shapes[node.output], *bounds))
        values = self._as_values(node, state)
        extra = [self.model.constants[name].reshape(()) for name in node.inputs[1:] if name]
        if bounds is not None:
            made = np.clip(values.values, np.float32(bounds[0]), np.float32(bounds[1]))
        else:
            made = self._evaluated(node, [values.values, *extra])
        return Pending(Values(node, values.base, made))

    def _evaluated(self, node: Node, inputs: Sequence[Array]) -> Array:
        try:
            made = evaluate(node.op, inputs, node.attributes, node.domain)
        except Exception as error:  # onnxruntime raises several of its own
            node.refuse(f"can't be computed by onnxruntime ({str(error)[:120]})", "use another function")
        if made.shape != (256,):
            node.refuse("is no function of one value", "use a constant of one number")
        return made

    def _as_values(self, node: Node, state: State | None) -> Values:
        if isinstance(state, Reals):
            return self._values(node, state)
        if isinstance(state, Pending) and isinstance(state.core, Values) and not state.followers:
            return state.core
        if isinstance(state, Pending):
            node.refuse("reads values that are not quantized", UNQUANTIZED)
        node.refuse("reads integers, or a constant", "put DequantizeLinear in front")

    def _bounds(self, node: Node) -> tuple[float, float] | None:
        """Of Relu and Clip."""
        if node.op == "Relu":
            return 0.0, math.inf
        if node.op != "Clip":
            return None
        low, high = (
            float(self.model.constants[node.inputs[number]].reshape(-1)[0])
            if len(node.inputs) > number and node.inputs[number]
            else unbound
            for number, unbound in ((1, -math.inf), (2, math.inf))
        )
        if low > high:
            node.refuse(f"has bounds of {low:g} and {high:g}", "give the lesser one first")
        return low, high

    def _clip_integers(self, node: Node, integers: Integers) -> State:
        if node.op != "Clip":
            node.refuse("works on integers", "put DequantizeLinear in front")
        offset = 128 if integers.signed else 0
        low, high = self._bounds(node) or (0.0, 0.0)
        low, high = max(low + offset, 0), min(high + offset, 255)
        return Integers(self.out.clip(integers.name, int(low), int(high), node, node.output), integers.signed)

    def binary(self, node: Node) -> State:
        states = [self.state(node, 0), self.state(node, 1)]
        if all(isinstance(state, Fixed) for state in states):
            node.refuse("works on constants only", "let the exporter fold constants")
        for number in (0, 1):
            fixed, other = states[number], states[1 - number]
            if isinstance(fixed, Fixed) and fixed.values.size == 1 and self._scalar_ok(other):
                if self.model.shapes[node.inputs[1 - number]] != self.model.shapes[node.output]:
                    node.refuse("changes the rank of its input", "give the constant no more dimensions than the tensor")
                values = self._as_values(node, other)
                pair = [values.values, values.values]
                pair[number] = fixed.values.reshape(())
                return Pending(Values(node, values.base, self._evaluated(node, pair)))
            if isinstance(fixed, Fixed):
                return self._with_constant(node, fixed, other, number)
        return self._of_two(node, *states)

    def _scalar_ok(self, state: State | None) -> bool:
        """Whether it can be worked out value by value; a sum that is pending takes a constant as a part of its bias instead."""
        return not isinstance(state, Pending) or (isinstance(state.core, Values) and not state.followers)

    def _of_two(self, node: Node, *states: State | None) -> State:
        shape = self.model.shapes[node.output]
        if any(self.model.shapes[name] != shape for name in node.inputs):
            node.refuse("has two inputs of different shapes", "give both inputs one shape")
        values = [self._try_values(node, state) for state in states]
        first, second = values
        if first is not None and second is not None and first.base == second.base:
            return Pending(Values(node, first.base, self._evaluated(node, [first.values, second.values])))
        if node.op not in ("Add", "Sub"):
            node.refuse("works on two different tensors", "use Add, or a function of one value")
        for state in states:
            if isinstance(state, Pending):
                node.refuse("reads values that are not quantized", UNQUANTIZED)
        a, b = (self.reals(node, number) for number in (0, 1))
        self.single(node, a), self.single(node, b)
        return self._sum(node, a, b, -1 if node.op == "Sub" else 1)

    def _sum(self, node: Node, a: Reals, b: Reals, sign: int) -> Pending:
        core = Sum(node, a, b, sign)
        shape = self.model.shapes[node.output]
        if image_shape(shape) == shape:
            return Pending(core)
        return Pending(core, (Follower("reshape", Node(f"{node.name}_shape", "Reshape", (), ()), shape),))

    def _try_values(self, node: Node, state: State | None) -> Values | None:
        if isinstance(state, Reals) and isinstance(state.integers, Integers) and not state.pads:
            return self._values(node, state)
        if isinstance(state, Pending) and isinstance(state.core, Values) and not state.followers:
            return state.core
        return None

    def _with_constant(self, node: Node, fixed: Fixed, other: State | None, number: int) -> State:
        """A constant for each channel, or one for all onto a sum that is pending."""
        if node.op not in ("Add", "Sub", "Mul", "Div") or (node.op == "Div" and number == 0):
            node.refuse("works on a tensor and a constant of several numbers", "use Add, Sub, Mul or Div with one number for each channel")
        if not np.isfinite(fixed.values).all():
            node.refuse("has a constant that is not finite", "train or export the model again")
        shape = self.model.shapes[node.output]
        if self.model.shapes[node.inputs[1 - number]] != shape:
            node.refuse("changes the rank of its input", "give the constant no more dimensions than the tensor")
        constant = np.broadcast_to(fixed.values.astype(np.float64), shape)
        if isinstance(other, Pending) and isinstance(other.core, Linear):
            return self._onto_linear(node, constant, other, number)
        if not isinstance(other, Reals):
            node.refuse("reads values that are not quantized", UNQUANTIZED)
        padded = (1,) * (len(shape) - fixed.values.ndim) + fixed.values.shape
        axes = [place for place, size in enumerate(padded) if size > 1]
        if len(axes) != 1 or axes[0] == 0:
            node.refuse("has a constant that is not one number for each channel", "use one number for each channel, or one for all")
        values = fixed.values.astype(np.float64).reshape(-1)
        with np.errstate(all="ignore"):
            factor, shift = {
                "Add": (np.ones(1), values),
                "Sub": (np.ones(1), -values) if number == 1 else (-np.ones(1), values),
                "Mul": (values, np.zeros(1)),
                "Div": (1 / values, np.zeros(1)),
            }[node.op]
        return self._affine(node, other, factor, shift, axes[0])

    def _onto_linear(self, node: Node, constant: Array, pending: Pending, number: int) -> State:
        linear = pending.core
        assert isinstance(linear, Linear)
        if (
            node.op not in ("Add", "Sub")
            or (node.op == "Sub" and number == 0)
            or any(f.kind in ("clip", "pool") for f in pending.followers)
        ):
            node.refuse("reads values that are not quantized", UNQUANTIZED)
        outputs = len(linear.weights)
        channel = np.broadcast_to(np.arange(outputs)[None, :, None, None], linear.shape)
        for follower in pending.followers:
            channel = channel.reshape(follower.shape) if follower.kind == "reshape" else channel.transpose(follower.node.numbers("perm"))
        each = np.zeros(outputs)
        each[channel.reshape(-1)] = constant.reshape(-1)
        if not np.array_equal(each[channel.reshape(-1)], constant.reshape(-1)):
            node.refuse("adds a constant that is not one number for each channel", "use one number for each channel")
        step = linear.scale * linear.weight_scale
        more = (-each if node.op == "Sub" else each) / step.astype(np.float64)
        return replace(pending, core=replace(linear, bias=np.rint(linear.bias) + more if number >= 0 else linear.bias))
