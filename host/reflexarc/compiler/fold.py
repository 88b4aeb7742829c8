"""A float model made such that the quantizer takes all of it: what can be is folded into the layers before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from reflexarc.compiler.graph import Array, Model, Names, Node
from reflexarc.compiler.refusal import shown


def prepared(model: Model) -> Model:
    """The same function with BatchNormalization, Pad and what is added after a MatMul folded into the layer before or after."""
    return _Folder(model).result()


class _Folder:
    def __init__(self, model: Model) -> None:
        self.model = model
        self.constants = dict(model.constants)
        self.names = Names([*model.constants, model.input, *model.shapes])
        self.nodes: list[Node] = []

    def result(self) -> Model:
        for name, value in self.constants.items():
            if value.dtype == np.float32 and not np.isfinite(value).all():
                self._refuse_constant(name)
        for node in self.model.nodes:
            self._take(node)
        return replace(self.model, nodes=self.nodes, constants=self.constants).pruned()

    def _refuse_constant(self, name: str) -> None:
        for node in self.model.nodes:
            if name in node.inputs and node.op != "Clip":
                node.refuse(f"has a constant {shown(name)} that is not finite", "train or export the model again")

    def _take(self, node: Node) -> None:
        match node.op:
            case "BatchNormalization":
                self._normalization(node)
            case "MatMul" if node.inputs[1] in self.constants:
                self._matmul(node)
            case "Add" | "Sub" | "Mul" | "Div":
                self._channelwise(node)
            case "Conv":
                self._conv(node)
            case _:
                self.nodes.append(node)

    def _constant(self, value: Array, wanted: str) -> str:
        name = self.names.fresh(wanted)
        self.constants[name] = value
        return name

    def _before(self, name: str) -> int | None:
        """Number of the node that makes the tensor, if only one reads it."""
        readers = [node for node in self.model.nodes if name in node.inputs]
        if len(readers) != 1 or name == self.model.output:
            return None
        return next((number for number, node in enumerate(self.nodes) if node.output == name), None)

    def _conv(self, node: Node) -> None:
        """Pads in front become its own."""
        number = self._before(node.inputs[0])
        if number is not None and self.nodes[number].op == "Pad":
            pad = self.nodes.pop(number)
            full = [int(size) for size in self.constants[pad.inputs[1]]]
            rank = len(full) // 2
            more = full[2:rank] + full[rank + 2 :]
            own = node.numbers("pads") or (0,) * len(more)
            pads = tuple(a + b for a, b in zip(own, more, strict=True))
            node = replace(node, inputs=(pad.inputs[0], *node.inputs[1:]), attributes={**node.attributes, "pads": pads})
        self.nodes.append(node)

    def _matmul(self, node: Node) -> None:
        """As a Gemm, or, over a length, as a Conv of one place."""
        shape = self.model.shapes[node.inputs[0]]
        weights = self.constants[node.inputs[1]]
        if len(shape) == 2:
            self.nodes.append(Node(node.name, "Gemm", node.inputs, node.outputs, {"alpha": 1.0, "beta": 1.0, "transB": 0}))
            return
        moved, made = (self.names.fresh(f"{node.output}_{what}") for what in ("input", "sum"))
        kernel = self._constant(np.ascontiguousarray(weights.T)[:, :, None], f"{node.output}_weights")
        self.nodes.append(Node(f"{node.name}_input", "Transpose", node.inputs[:1], (moved,), {"perm": (0, 2, 1)}))
        self.nodes.append(Node(node.name, "Conv", (moved, kernel), (made,), {"kernel_shape": (1,), "group": 1}))
        self.nodes.append(Node(f"{node.name}_output", "Transpose", (made,), node.outputs, {"perm": (0, 2, 1)}))

    def _normalization(self, node: Node) -> None:
        gain, offset, mean, variance = (self.constants[name].astype(np.float64) for name in node.inputs[1:5])
        with np.errstate(all="ignore"):
            factor = gain / np.sqrt(variance + node.number("epsilon", 1e-5))
            shift = offset - mean * factor
        self._scaled(node, node.inputs[0], factor, shift, 1)

    def _channelwise(self, node: Node) -> None:
        """A constant for each channel is a part of the layer before, or a layer."""
        fixed = [name in self.constants for name in node.inputs]
        shape = self.model.shapes[node.output]
        if sum(fixed) != 1 or (node.op == "Div" and fixed[0]):
            self.nodes.append(node)
            return
        constant, tensor = (node.inputs[0], node.inputs[1]) if fixed[0] else (node.inputs[1], node.inputs[0])
        values = self.constants[constant].astype(np.float64)
        padded = (1,) * (len(shape) - values.ndim) + values.shape
        axes = [place for place, size in enumerate(padded) if size > 1]
        before = self._before(tensor)
        linear = before is not None and self._linear_axis(before, shape) is not None
        if self.model.shapes[tensor] != shape or len(axes) > 1 or (not axes and not linear) or (axes and axes[0] == 0):
            self.nodes.append(node)
            return
        flat = values.reshape(-1)
        one, none = np.ones(1), np.zeros(1)
        with np.errstate(all="ignore"):
            factor, shift = {
                "Add": (one, flat),
                "Sub": (-one, flat) if fixed[0] else (one, -flat),
                "Mul": (flat, none),
                "Div": (1 / flat, none),
            }[node.op]
        axis = axes[0] if axes else self._linear_axis(before, shape) if before is not None else None
        assert axis is not None
        self._scaled(node, tensor, factor, shift, axis)

    def _linear_axis(self, number: int, shape: Sequence[int]) -> int | None:
        """The axis of a linear node's outputs; of a Conv over a length that was a MatMul it is the last one."""
        node = self.nodes[number]
        if node.op in ("Conv", "Gemm"):
            return 1
        if (
            node.op == "Transpose"
            and number
            and self.nodes[number - 1].output == node.inputs[0]
            and self.nodes[number - 1].name + "_output" == node.name
        ):
            return len(shape) - 1
        return None

    def _scaled(self, node: Node, tensor: str, factor: Array, shift: Array, axis: int) -> None:
        """Each channel times ``factor`` plus ``shift``."""
        shape = self.model.shapes[tensor]
        channels = shape[axis]
        factor, shift = (np.broadcast_to(values, (channels,)) for values in (factor, shift))
        if not (np.isfinite(factor).all() and np.isfinite(shift).all()):
            node.refuse("has parameters that are not finite", "train or export the model again")
        number = self._before(tensor)
        if number is not None and self._linear_axis(number, shape) == axis and self._folded(number, factor, shift):
            self.nodes[number] = replace(self.nodes[number], outputs=node.outputs)
            return
        self._depthwise(node, tensor, factor, shift, axis)

    def _folded(self, number: int, factor: Array, shift: Array) -> bool:
        """Multiply weights and bias of the linear node; whether it could be."""
        if self.nodes[number].op == "Transpose":
            number -= 1
        node = self.nodes[number]
        if node.inputs[1] not in self.constants or any(name not in self.constants for name in node.inputs[2:] if name):
            return False
        weights = self.constants[node.inputs[1]].astype(np.float64)
        axis = 0 if node.op == "Conv" or node.whole("transB", 0) else 1
        outputs = weights.shape[axis]
        alpha, beta = (node.number(key, 1.0) for key in ("alpha", "beta"))
        bias = self.constants[node.inputs[2]].astype(np.float64) * beta if len(node.inputs) > 2 and node.inputs[2] else np.zeros(outputs)
        try:
            bias = np.broadcast_to(bias.reshape(-1) if bias.size in (1, outputs) else bias, (outputs,))
        except ValueError:
            node.refuse(f"has a bias of shape {list(bias.shape)} for {outputs} outputs", "give one number for each output")
        sides = [1] * weights.ndim
        sides[axis] = outputs
        with np.errstate(over="ignore"):
            names = (
                self._constant((weights * alpha * factor.reshape(sides)).astype(np.float32), f"{node.name}_weights"),
                self._constant((bias * factor + shift).astype(np.float32), f"{node.name}_bias"),
            )
        if not all(np.isfinite(self.constants[name]).all() for name in names):
            node.refuse("has weights that are not finite once what follows is folded in", "train or export the model again")
        attributes = {**node.attributes, **({"alpha": 1.0, "beta": 1.0} if node.op == "Gemm" else {})}
        self.nodes[number] = replace(node, inputs=(node.inputs[0], *names), attributes=attributes)
        return True

    def _depthwise(self, node: Node, tensor: str, factor: Array, shift: Array, axis: int) -> None:
        shape = self.model.shapes[tensor]
        order = (0, axis, *(place for place in range(1, len(shape)) if place != axis))
        channels = shape[axis]
        if len(shape) == 2:
            weights = self._constant(factor.astype(np.float32).reshape(-1, 1, 1), f"{node.output}_factor")
        else:
            weights = self._constant(factor.astype(np.float32).reshape(-1, 1, *(1,) * (len(shape) - 2)), f"{node.output}_factor")
        bias = self._constant(shift.astype(np.float32), f"{node.output}_shift")
        steps: list[tuple[str, tuple[str, ...], dict[str, Any]]] = []
        if order != tuple(range(len(shape))):
            steps.append(("Transpose", (), {"perm": order}))
        if len(shape) == 2:
            steps.append(("Reshape", (self._constant(np.array([1, channels, 1], np.int64), f"{node.output}_wide"),), {}))
        places = (1,) * max(len(shape) - 2, 1)
        steps.append(("Conv", (weights, bias), {"group": channels, "kernel_shape": places}))
        if len(shape) == 2:
            steps.append(("Reshape", (self._constant(np.array([1, channels], np.int64), f"{node.output}_flat"),), {}))
        if order != tuple(range(len(shape))):
            steps.append(("Transpose", (), {"perm": tuple(int(place) for place in np.argsort(order))}))
        for number, (op, more, attributes) in enumerate(steps):
            last = number == len(steps) - 1
            output = node.output if last else self.names.fresh(f"{node.output}_{number}")
            self.nodes.append(Node(node.name if op == "Conv" else f"{node.name}_{number}", op, (tensor, *more), (output,), attributes))
            tensor = output
