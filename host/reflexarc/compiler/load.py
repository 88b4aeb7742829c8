"""From an ONNX file to a `Model`, or one line that says why not. Nothing in the file is believed before it is checked.

Sizes are compared with what is there before anything is allocated; no other file is opened; onnxruntime does not see the file.
"""

from __future__ import annotations

import heapq
import json
import math
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reflexarc.compiler.graph import MICROSOFT, Array, Attribute, Dimensions, Model, Node
from reflexarc.compiler.refusal import INSTEAD, one_line, refuse, shown
from reflexarc.compiler.wire import check_parts
from reflexarc.errors import BadInput

LARGEST_FILE = 64 * 2**20
MOST_NODES = 4096
MOST_CONSTANTS = 8192
MOST_RANK = 6
MOST_VALUES = 2**24  # of one constant, or of the input
MOST_ALL_VALUES = 2**25  # of all constants
LARGEST_DIMENSION = 2**24
OLDEST_OPSET = 13
MOST_LABELS = 256

# Operators of the domain com.microsoft that are understood; all others are of ONNX itself.
MICROSOFT_OPERATORS = frozenset(
    {
        "DequantizeLinear",
        "Gelu",
        "QGemm",
        "QLinearAdd",
        "QLinearAveragePool",
        "QLinearGlobalAveragePool",
        "QLinearLeakyRelu",
        "QLinearSigmoid",
        "QLinearSoftmax",
        "QuantizeLinear",
    }
)
CONTROL_FLOW = frozenset({"If", "Loop", "Scan", "SequenceMap"})


def read_file(path: str | os.PathLike[str], largest: int = LARGEST_FILE) -> bytes:
    """What the file holds; refused where it is no plain file, empty or too large. A pipe or a device is not read and never waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            state = os.fstat(handle)
            if not stat.S_ISREG(state.st_mode):
                refuse("is no plain file", "give the path of a file that can be read")
            if state.st_size > largest:
                refuse(f"has {state.st_size / 2**20:.1f} MiB", f"up to {largest // 2**20} MiB are read")
            with open(handle, "rb", closefd=False) as file:
                content = file.read(largest + 1)
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        refuse(f"can't be opened ({reason})", "give the path of a file that can be read")
    if not content:
        refuse("is empty", "give a file that holds something")
    if len(content) > largest:
        refuse("grows while it is read", f"up to {largest // 2**20} MiB are read")
    return content


def named(path: str | os.PathLike[str], error: BadInput) -> BadInput:
    """The same refusal with the file's name in front."""
    return BadInput(one_line(f"{shown(Path(os.fspath(path)).name)[1:-1]}: {error}"))


def load(path: str | os.PathLike[str]) -> Model:
    try:
        return parse(read_file(path))
    except BadInput as error:
        raise named(path, error) from None


def parse(content: bytes) -> Model:
    """The model in ``content``. Raises `BadInput`, one line."""
    try:
        import onnx
    except ImportError:
        refuse("models are read with the package onnx, which is not installed", "install reflexarc with its extra 'models'")
    from google.protobuf.message import DecodeError

    check_parts(content, onnx.ModelProto.DESCRIPTOR)
    message = onnx.ModelProto()
    try:
        message.ParseFromString(content)
    except (DecodeError, RuntimeError, ValueError):
        refuse("no ONNX model, or one that is damaged or cut off", "export it again, or copy the whole file")
    return _Reader(message).model()


class _Reader:
    def __init__(self, message: Any) -> None:
        self.message = message
        self.graph = message.graph
        self.values = 0  # of all constants so far

    def model(self) -> Model:
        if not self.message.HasField("graph") or not self.graph.node:
            refuse("it holds no graph with nodes, so it is no ONNX model, or one that is damaged", "export the model again")
        if self.message.functions:
            refuse("it defines functions of its own", "export without them (torch: dynamo=False), or inline them with onnx.inliner")
        if len(self.graph.node) > MOST_NODES:
            refuse(f"it has {len(self.graph.node)} nodes", f"up to {MOST_NODES} are read")
        if len(self.graph.initializer) > MOST_CONSTANTS:
            refuse(f"it has {len(self.graph.initializer)} constants", f"up to {MOST_CONSTANTS} are read")
        if self.graph.sparse_initializer:
            refuse("it has sparse constants", "export with dense ones")
        self._check_opset()
        constants = self._constants()
        name, shape, kind = self._input(constants)
        output = self._output()
        nodes = _sorted(self._nodes(), {name, *constants})
        made = {name for node in nodes for name in node.outputs}
        if output not in made:
            refuse(f"its output {shown(output)} is made by no node", "give a model whose output depends on its input")
        metadata = self._metadata()
        return Model(name, shape, kind, output, nodes, constants, _labels(metadata), metadata).pruned()

    def _check_opset(self) -> None:
        versions = {_text(entry.domain) or "ai.onnx": entry.version for entry in self.message.opset_import}
        version = versions.get("ai.onnx")
        if version is None:
            refuse("it does not say which version of ONNX's operators (opset) it uses", f"export with opset {OLDEST_OPSET} or later")
        if version < OLDEST_OPSET:
            refuse(f"it uses opset {version}", f"export with opset {OLDEST_OPSET} or later, or convert with onnx.version_converter")

    def _metadata(self) -> dict[str, str]:
        return {_text(entry.key): _text(entry.value) for entry in self.message.metadata_props}

    def _constants(self) -> dict[str, Array]:
        constants: dict[str, Array] = {}
        for tensor in self.graph.initializer:
            if not _text(tensor.name):
                refuse("one of its constants has no name", "export the model again")
            if tensor.name in constants:
                refuse(f"two of its constants are called {shown(tensor.name)}", "export the model again")
            constants[tensor.name] = self._tensor(tensor, f"constant {shown(tensor.name)}")
        return constants

    def _input(self, constants: dict[str, Array]) -> tuple[str, Dimensions, np.dtype[Any]]:
        inputs = [value for value in self.graph.input if value.name not in constants]
        if len(inputs) != 1:
            names = ", ".join(shown(_text(value.name)) for value in inputs[:4]) or "none"
            refuse(f"it has {len(inputs)} inputs ({names})", "a model has one input; join several along the channels before the model")
        value = inputs[0]
        name = _text(value.name)
        called = f"input {shown(name)}"
        if not name:
            refuse("its input has no name", "export the model again")
        if value.type.WhichOneof("value") != "tensor_type":
            refuse(f"{called} is no tensor", "a model has one tensor as its input")
        kind = _type(value.type.tensor_type.elem_type, called)
        if kind not in (np.float32, np.int8, np.uint8):
            refuse(f"{called} is of type {kind}", "export with an input of float32, int8 or uint8")
        if not value.type.tensor_type.HasField("shape"):
            refuse(f"{called} has no shape", "export with a shape that is fixed but for the batch")
        dims = value.type.tensor_type.shape.dim
        if not 2 <= len(dims) <= 4:
            refuse(
                f"{called} has rank {len(dims)}", "accepted: [batch, values], [batch, channels, length], [batch, channels, rows, columns]"
            )
        shape = []
        for place, dim in enumerate(dims):
            fixed = dim.WhichOneof("value") == "dim_value"
            if place == 0:
                if fixed and dim.dim_value not in (1, -1, 0):
                    refuse(f"{called} has a batch of {dim.dim_value}", "export with a batch of 1 or a dynamic one")
                shape.append(1)
                continue
            if not fixed:
                free = shown(_text(dim.dim_param)) if dim.dim_param else "without a size"
                refuse(f"{called}: dimension {place} is free ({free})", "only the batch may be; export with a fixed shape")
            shape.append(dim.dim_value)
        return name, _dimensions(shape, called), kind

    def _output(self) -> str:
        if len(self.graph.output) != 1:
            names = ", ".join(shown(_text(value.name)) for value in self.graph.output[:4]) or "none"
            refuse(f"it has {len(self.graph.output)} outputs ({names})", "a model has one output; export with the one that is to decide")
        return _text(self.graph.output[0].name)

    def _nodes(self) -> list[Node]:
        nodes = []
        names: set[str] = set()
        for number, entry in enumerate(self.graph.node):
            op = _text(entry.op_type)
            name = _text(entry.name) or f"{op or 'node'}_{number}"
            while name in names:  # names of nodes are for people only
                name += "_"
            names.add(name)
            domain = "" if entry.domain in ("", "ai.onnx") else _text(entry.domain)
            bare = Node(name, op, tuple(map(_text, entry.input)), tuple(map(_text, entry.output)), {}, domain)
            if domain and (domain != MICROSOFT or op not in MICROSOFT_OPERATORS):
                bare.refuse(f"is of the domain {shown(domain)}", INSTEAD.get(op, "use the operators of ONNX itself"))
            if not any(bare.outputs):
                bare.refuse("has no output", "export the model again")
            if bare.op in CONTROL_FLOW:
                bare.refuse("is control flow")
            attributes: dict[str, Attribute] = {}
            for attribute in entry.attribute:
                if _text(attribute.name) in attributes:
                    bare.refuse(f"has two attributes {shown(attribute.name)}", "export the model again")
                attributes[attribute.name] = self._attribute(bare, attribute)
            nodes.append(Node(name, bare.op, bare.inputs, bare.outputs, attributes, domain))
        return nodes

    def _attribute(self, node: Node, attribute: Any) -> Attribute:
        from onnx import AttributeProto as Kind

        if attribute.ref_attr_name:
            node.refuse("takes an attribute from a function", "inline functions with onnx.inliner")
        match attribute.type:
            case Kind.INT:
                return int(attribute.i)
            case Kind.FLOAT:
                return float(attribute.f)
            case Kind.STRING:
                return bytes(attribute.s).decode("utf-8", "replace")
            case Kind.INTS:
                return tuple(int(value) for value in attribute.ints)
            case Kind.FLOATS:
                return tuple(float(value) for value in attribute.floats)
            case Kind.TENSOR:
                return self._tensor(attribute.t, f"attribute {shown(attribute.name)} of {node}")
            case Kind.GRAPH | Kind.GRAPHS:
                node.refuse("holds a graph, which is control flow", "export without control flow")
            case _:
                node.refuse(f"has an attribute {shown(attribute.name)} of a kind that is not read", "export the model again")

    def _tensor(self, tensor: Any, called: str) -> Array:
        """The tensor's values. That there are as many as its shape says is checked before any are made."""
        from onnx import TensorProto

        if tensor.external_data or tensor.data_location == TensorProto.EXTERNAL:
            refuse(f"{called} lies in another file", "save the model as one file (onnx.save with save_as_external_data=False)")
        if tensor.HasField("segment"):
            refuse(f"{called} is only a segment of a tensor", "export the model again")
        kind = _type(tensor.data_type, called)
        shape = _dimensions(tensor.dims, called, empty=True)
        size = math.prod(shape)
        self.values += size
        if self.values > MOST_ALL_VALUES:
            refuse(f"its constants have more than {MOST_ALL_VALUES:,} values", "use a smaller model")
        if tensor.HasField("raw_data"):
            held = len(tensor.raw_data) // kind.itemsize if len(tensor.raw_data) % kind.itemsize == 0 else -1
            source: Any = tensor.raw_data
        else:
            source = getattr(tensor, _FIELDS[kind.type])
            held = len(source)
        if held != size:
            refuse(f"{called} has the shape {list(shape)}, but the file does not hold {size:,} values for it", "copy the whole file")
        if isinstance(source, bytes):
            values = np.frombuffer(source, kind.newbyteorder("<")).astype(kind)
        else:
            wide = np.fromiter(source, np.float64 if kind.kind == "f" else np.int64, size)
            if kind.kind in "iu" and size and (wide.min() < np.iinfo(kind).min or wide.max() > np.iinfo(kind).max):
                refuse(f"{called} has values beyond its type {kind}", "export the model again")
            with np.errstate(over="ignore"):
                values = wide.astype(kind)
        return values.reshape(shape)


_FIELDS: dict[type, str] = {
    np.float32: "float_data",
    np.float64: "double_data",
    np.int8: "int32_data",
    np.uint8: "int32_data",
    np.bool_: "int32_data",
    np.int32: "int32_data",
    np.int64: "int64_data",
}


def _text(value: Any) -> str:
    """Names; protobuf gives bytes for what is no text."""
    if not isinstance(value, str):
        refuse("it has a name that is no text, so it is damaged", "export it again, or copy the whole file")
    return value


def _type(number: int, called: str) -> np.dtype[Any]:
    from onnx import TensorProto

    kinds: dict[int, Any] = {
        TensorProto.FLOAT: np.float32,
        TensorProto.DOUBLE: np.float64,
        TensorProto.INT8: np.int8,
        TensorProto.UINT8: np.uint8,
        TensorProto.BOOL: np.bool_,
        TensorProto.INT32: np.int32,
        TensorProto.INT64: np.int64,
    }
    if number not in kinds:
        known = number in TensorProto.DataType.values()
        name = TensorProto.DataType.Name(number) if known else f"number {number}"
        refuse(f"{called} is of type {name}", "accepted: float32 and, where it is quantized, int8 or uint8 with int32 biases")
    kind: np.dtype[Any] = np.dtype(kinds[number])
    return kind


def _dimensions(dims: Iterable[int], called: str, empty: bool = False) -> Dimensions:
    """Sizes that can be; with ``empty`` a tensor of no values is one too."""
    shape = tuple(int(size) for size in dims)
    if len(shape) > MOST_RANK:
        refuse(f"{called} has {len(shape)} dimensions", f"up to {MOST_RANK} are read")
    for size in shape:
        if not (0 if empty else 1) <= size <= LARGEST_DIMENSION:
            refuse(f"{called} has a dimension of {size}", f"accepted: 1 to {LARGEST_DIMENSION:,}")
    if math.prod(shape) > MOST_VALUES:
        refuse(f"{called} has {math.prod(shape):,} values", f"up to {MOST_VALUES:,} are read")
    return shape


def _sorted(nodes: Sequence[Node], given: set[str]) -> list[Node]:
    """The nodes so that each comes after what it reads; what stood in a good order keeps it."""
    maker: dict[str, int] = {}
    for number, node in enumerate(nodes):
        for name in node.outputs:
            if not name:
                continue
            if name in maker or name in given:
                node.refuse(f"makes {shown(name)}, which is there already", "give each tensor a name of its own")
            maker[name] = number
    waits = [0] * len(nodes)
    readers: list[list[int]] = [[] for _ in nodes]
    for number, node in enumerate(nodes):
        for name in dict.fromkeys(node.inputs):
            if not name or name in given:
                continue
            if name not in maker:
                node.refuse(f"reads {shown(name)}, which nothing makes", "export the model again")
            readers[maker[name]].append(number)
            waits[number] += 1
    ready = [number for number, count in enumerate(waits) if count == 0]
    order = []
    while ready:
        number = heapq.heappop(ready)
        order.append(nodes[number])
        for reader in readers[number]:
            waits[reader] -= 1
            if waits[reader] == 0:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        stuck = next(node for node, count in zip(nodes, waits, strict=True) if count)
        stuck.refuse("is part of a cycle, or waits for one", "export a model in which no tensor depends on itself")
    return order


def _labels(metadata: dict[str, str]) -> tuple[str, ...]:
    text = metadata.get("labels")
    if text is None:
        return ()
    try:
        labels = json.loads(text) if len(text) < 65536 else None
    except (ValueError, RecursionError):
        labels = None
    if not isinstance(labels, list) or not 0 < len(labels) <= MOST_LABELS or not all(isinstance(label, str) and label for label in labels):
        refuse("its metadata 'labels' is no list of names", 'write a JSON list of the names of the classes, such as ["clean", "adatom"]')
    return tuple(label[:64] for label in labels)
