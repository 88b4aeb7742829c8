"""A model as the compiler handles it: nodes in order, constants, shapes that are known. What comes from a file is checked while it becomes this.

It has one input and one output, and no other tensors than those its nodes make. Written as ONNX again it holds nothing that was in the file but
what is understood here, so that onnxruntime never sees what someone else has written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from reflexarc.compiler.refusal import instead_of, refuse, shown

Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | NDArray[Any]
Array = NDArray[Any]
Dimensions = tuple[int, ...]

MICROSOFT = "com.microsoft"
OPSET = 21  # of what is written for onnxruntime; all that is understood here means the same in it
IR_VERSION = 10


@dataclass(frozen=True)
class Node:
    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    domain: str = ""

    @property
    def output(self) -> str:
        return self.outputs[0]

    def __str__(self) -> str:
        return f"node {shown(self.name)} ({shown(self.op)[1:-1]})"

    def refuse(self, why: str, instead: str | None = None) -> NoReturn:
        refuse(f"{self} {why}", instead_of(self.op) if instead is None else instead)

    def whole(self, attribute: str, default: int | None = None) -> int:
        """An attribute that is a whole number."""
        value = self.attributes.get(attribute, default)
        if not isinstance(value, int):
            self.refuse(f"has no whole number as its attribute {attribute}", "give one")
        return value

    def number(self, attribute: str, default: float) -> float:
        value = self.attributes.get(attribute, default)
        if not isinstance(value, int | float) or not np.isfinite(value):
            self.refuse(f"has no finite number as its attribute {attribute}", "give one")
        return float(value)

    def text(self, attribute: str, default: str) -> str:
        value = self.attributes.get(attribute, default)
        if not isinstance(value, str):
            self.refuse(f"has no text as its attribute {attribute}", "give one")
        return value

    def numbers(self, attribute: str, default: Sequence[int] | None = None) -> tuple[int, ...] | None:
        """An attribute that is a list of whole numbers; ``default`` where it is not there."""
        value = self.attributes.get(attribute)
        if value is None:
            return None if default is None else tuple(default)
        if not isinstance(value, tuple) or not all(isinstance(number, int) for number in value):
            self.refuse(f"has no list of whole numbers as its attribute {attribute}", "give one")
        return cast("tuple[int, ...]", value)


@dataclass
class Model:
    """``input_shape`` has the batch, which is 1, in front. ``shapes`` and ``types`` know each tensor once ``simplify`` has been over it."""

    input: str
    input_shape: Dimensions
    input_type: np.dtype[Any]
    output: str
    nodes: list[Node]
    constants: dict[str, Array]
    labels: tuple[str, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    shapes: dict[str, Dimensions] = field(default_factory=dict)
    types: dict[str, np.dtype[Any]] = field(default_factory=dict)

    def consumers(self) -> dict[str, list[Node]]:
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                found.setdefault(name, []).append(node)
        return found

    def producers(self) -> dict[str, Node]:
        return {name: node for node in self.nodes for name in node.outputs if name}

    def pruned(self) -> Model:
        """Without nodes and constants that nothing needs."""
        needed = {self.output}
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                kept.append(node)
                needed.update(name for name in node.inputs if name)
        constants = {name: value for name, value in self.constants.items() if name in needed}
        return replace(self, nodes=kept[::-1], constants=constants)

    def to_onnx(self, opset: int = OPSET, also: Iterable[str] = ()) -> bytes:
        """The model as a file; ``also`` names tensors that shall be outputs beside the output."""
        from onnx import TensorProto, helper, numpy_helper

        def describe(name: str) -> Any:
            kind = helper.np_dtype_to_tensor_dtype(self.types[name]) if name in self.types else TensorProto.UNDEFINED
            return helper.make_tensor_value_info(name, kind, self.shapes.get(name))

        make_node: Any = helper.make_node
        names = Names()
        nodes = [
            make_node(
                node.op,
                node.inputs,
                node.outputs,
                name=names.fresh(node.name),
                domain=node.domain,
                **{
                    key: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
                    for key, value in node.attributes.items()
                },
            )
            for node in self.nodes
        ]
        described = [name for node in self.nodes for name in node.outputs if name in self.shapes]
        outputs = list(dict.fromkeys((self.output, *also)))
        self.types.setdefault(self.input, self.input_type)
        graph = helper.make_graph(
            nodes,
            "network",
            [helper.make_tensor_value_info(self.input, helper.np_dtype_to_tensor_dtype(self.input_type), self.input_shape)],
            [describe(name) for name in outputs],
            [numpy_helper.from_array(np.asarray(value, order="C"), name) for name, value in self.constants.items()],
            value_info=[describe(name) for name in described if name not in outputs],
        )
        imports = [helper.make_opsetid("", opset)]
        if any(node.domain == MICROSOFT for node in self.nodes):
            imports.append(helper.make_opsetid(MICROSOFT, 1))
        model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION if opset > 15 else 8, producer_name="reflexarc")
        if self.metadata:
            helper.set_model_props(model, self.metadata)
        content: bytes = model.SerializeToString(deterministic=True)
        return content


class Names:
    """Names that are not taken yet."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken = set(taken)

    def fresh(self, wanted: str) -> str:
        name, number = wanted, 1
        while not name or name in self.taken:
            number += 1
            name = f"{wanted}_{number}"
        self.taken.add(name)
        return name
