"""From a float model to a quantized one, with onnxruntime's own quantizer, and what has to be done to the model for that.

Values get int8 with a zero point by their range on the calibration data, weights int8 with a scale for each output.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reflexarc.compiler.graph import Array, Model, Names, Node
from reflexarc.compiler.load import named, parse, read_file
from reflexarc.compiler.pairs import pair_weights
from reflexarc.compiler.refusal import refuse, shown
from reflexarc.compiler.simplify import BINARY, UNARY, products, simplify
from reflexarc.errors import BadInput

LARGEST_CALIBRATION = 256 * 2**20  # bytes, unpacked
NUDGES = 4  # times that scales of sums are changed
MOST_SAMPLES = 2000  # of the calibration data that are used, spread evenly
LEAST_SAMPLES = 4  # where the model is large
MOST_CALIBRATED_PRODUCTS = 2**33
MOST_SUM = 2**24 - 2**16  # of what a sum may reach; what rounding coarser weights adds is far less than the rest
Float32 = NDArray[np.float32]
Overrides = dict[str, list[dict[str, Array]]]  # of tensors, as the quantizer takes them

_QUANTIZED = sorted({"Conv", "Gemm", "MatMul", "MaxPool", "AveragePool", "Reshape", "Transpose", "Concat", "Pad"} | UNARY | BINARY)


def is_quantized(model: Model) -> bool:
    return model.input_type != np.float32 or any("Quantize" in node.op or node.op.startswith("Q") for node in model.nodes)


def read_calibration(path: str | os.PathLike[str], model: Model) -> tuple[Float32, NDArray[np.int64] | None]:
    """Inputs [n, ...] and, where the file has an array `labels`, the number of each one's class."""
    try:
        return _calibration(Path(os.fspath(path)), model)
    except BadInput as error:
        raise named(path, error) from None


def _calibration(path: Path, model: Model) -> tuple[Float32, NDArray[np.int64] | None]:
    arrays: dict[str, Array] = {}
    read_file(path, LARGEST_CALIBRATION)  # refuses pipes and the like
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > LARGEST_CALIBRATION:
                refuse("unpacks to too much", f"up to {LARGEST_CALIBRATION // 2**20} MiB are read")
        with np.load(path, allow_pickle=False) as file:
            for name in file.files[:16]:
                arrays[name] = file[name]
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, NotImplementedError, MemoryError, KeyError, SyntaxError):
        refuse("is no NumPy archive, or damaged", f"save it with numpy.savez(path, **{{'{model.input}': inputs}})")
    labels = arrays.pop("labels", None) if "labels" != model.input else None
    found = arrays.get(model.input)
    if found is None and len(arrays) == 1:
        (found,) = arrays.values()
    if found is None:
        names = ", ".join(shown(name) for name in list(arrays)[:4]) or "none"
        refuse(f"has no array called as the model's input, {shown(model.input)} (but {names})", "name the array so, or give only one")
    inputs = check_inputs(found, model)
    if labels is None:
        return inputs, None
    if labels.shape != (len(inputs),) or labels.dtype.kind not in "iu":
        refuse(f"has labels of shape {list(labels.shape)}", f"give {len(inputs)} whole numbers, the class of each input")
    return inputs, labels.astype(np.int64)


def check_inputs(values: Array, model: Model) -> Float32:
    """As [n, ...] of float32; a batch in front is needed, unless it is a single input of the model's shape."""
    shape = model.input_shape[1:]
    if values.dtype.kind not in "fiu":
        refuse(f"the inputs are of type {values.dtype}", "give numbers")
    if values.shape == shape:
        values = values[None]
    if values.ndim == len(shape) + 2 and values.shape[1] == 1 and values.shape[2:] == shape:
        values = values[:, 0]
    if values.shape[1:] != shape or len(values) == 0:
        refuse(f"the inputs have the shape {list(values.shape)}", f"give [n, {', '.join(str(size) for size in shape)}], with n from 1 up")
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        refuse("the inputs are not all finite", "leave out what is not a number")
    return values


def quantize(model: Model, inputs: Float32, signed: bool = True) -> Model:
    """The float model ``model`` (simplified) quantized for ``inputs`` [n, ...]."""
    model = _resolve(prepared(model))
    most = int(np.clip(MOST_CALIBRATED_PRODUCTS // max(products(model.nodes, model.shapes), 1), LEAST_SAMPLES, MOST_SAMPLES))
    chosen = inputs[np.unique(np.linspace(0, len(inputs) - 1, min(len(inputs), most)).astype(int))]
    made = _quantized(model, chosen, signed, {})
    overrides = _shared_scales(made)
    for _ in range(NUDGES if overrides else 0):
        made = _quantized(model, chosen, signed, overrides)
        nudged = _nudged_sums(made)
        if not nudged:
            break
        overrides |= nudged
    return with_room(made)


def _quantized(model: Model, inputs: Float32, signed: bool, overrides: Overrides) -> Model:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: Iterator[Float32] = iter(inputs)

        def get_next(self) -> dict[str, Float32] | None:
            values = next(self.left, None)
            return None if values is None else {model.input: values[None]}

    with tempfile.TemporaryDirectory() as folder, _silence():
        source, target = Path(folder) / "float.onnx", Path(folder) / "quantized.onnx"
        source.write_bytes(model.to_onnx())
        try:
            quantize_static(
                source,
                target,
                Reader(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=_QUANTIZED,
                per_channel=True,
                activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                # Pools and what moves values are quantized by it only behind others that are, unless forced.
                extra_options={"ForceQuantizeNoInputCheck": True, **({"TensorQuantOverrides": overrides} if overrides else {})},
            )
        except Exception as error:  # the quantizer and onnxruntime raise many kinds
            refuse(
                f"onnxruntime's quantizer fails on it ({type(error).__name__}: {str(error)[:160]})",
                "give finite weights and calibration data of usual size",
            )
        try:
            made = simplify(parse(target.read_bytes()))
        except BadInput as error:
            refuse(f"once it is quantized, {error}", "its weights and the calibration data have to be of usual size")
    return replace(made, labels=model.labels, metadata=model.metadata)


def _shared_scales(model: Model) -> Overrides:
    """For each Add or Sub of two tensors one scale for both, so that it is exact in integers: the coarser one's."""
    producers = model.producers()
    groups: dict[str, set[str]] = {}
    found: dict[str, tuple[Array, Array]] = {}
    for node in model.nodes:
        if node.op not in ("Add", "Sub"):
            continue
        sides = [producers.get(name) for name in node.inputs]
        if any(side is None or side.op != "DequantizeLinear" or side.inputs[0] in model.constants for side in sides):
            continue
        names = []
        for side in sides:
            assert side is not None
            name = _origin(side, producers)
            names.append(name)
            found[name] = (model.constants[side.inputs[1]], model.constants[side.inputs[2]])
        joined = set(names).union(*(groups.get(name, set()) for name in names))
        for name in joined:
            groups[name] = joined
    overrides: Overrides = {}
    for name, group in groups.items():
        own, point = found[name]
        kind = np.iinfo(point.dtype)
        scale = np.float32(max(float(found[other][0]) for other in group))
        # Each has its own zero point: that of what Relu gives has to stay the least value, for the quantizer leaves the Relu to it.
        moved = kind.min + round((int(point) - kind.min) * float(own) / float(scale))
        overrides[name] = [{"scale": np.array(scale, np.float32), "zero_point": np.array(moved, point.dtype)}]
    return overrides


def _nudged_sums(model: Model) -> Overrides:
    """A little coarser scales for sums that are not exact in integers, which happens where many of them are just half a step."""
    producers, consumers = model.producers(), model.consumers()
    found: Overrides = {}
    for node in model.nodes:
        if node.op not in ("Add", "Sub"):
            continue
        after = node
        while after.op != "QuantizeLinear" and len(readers := consumers.get(after.output, [])) == 1:
            after = readers[0]
        steps = [producers.get(name) for name in node.inputs]
        if after.op != "QuantizeLinear" or any(step is None or step.op != "DequantizeLinear" for step in steps):
            continue
        scales = [(model.constants[step.inputs[1]], model.constants[step.inputs[2]]) for step in (*steps, after) if step is not None]
        if any(scale.size != 1 for scale, _ in scales):
            continue
        signed = scales[0][1].dtype == np.int8
        a, b, total = ((np.float32(scale.reshape(())), int(point.reshape(())) + (128 if signed else 0)) for scale, point in scales)
        try:
            pair_weights(node, a, b, -1 if node.op == "Sub" else 1, total, signed)
        except BadInput:
            scale, point = scales[2]
            found[after.inputs[0]] = [{"scale": np.array(total[0] * np.float32(1.01), np.float32), "zero_point": point.reshape(())}]
    return found


def _origin(dequantizer: Node, producers: dict[str, Node]) -> str:
    """The float tensor whose scale it is: MaxPool and what moves values take over that of their input."""
    while True:
        name = producers[dequantizer.inputs[0]].inputs[0]
        mover = producers.get(name)
        if mover is None or mover.op not in ("MaxPool", "Reshape", "Transpose"):
            return name
        dequantizer = producers[mover.inputs[0]]


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing of what the quantizer and what it uses warn of or log: its result is compared with the float model."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


# What the quantizer does not do.


def with_room(model: Model) -> Model:
    """The quantized model with coarser weights where the sum of an output could else reach 2**24, beyond which it is not exact.

    The quantizer chooses weights as fine as int8 allows: where they are very small, the bias is very many of their steps."""
    constants = dict(model.constants)
    producers = model.producers()
    nodes = [node for node in model.nodes if node.op in ("Conv", "Gemm")]
    for node in nodes:
        steps = [producers.get(name) for name in node.inputs]
        if any(step is None or step.op != "DequantizeLinear" for step in steps):
            continue
        names = [step.inputs for step in steps if step is not None]
        if any(sum(name in other.inputs for other in model.nodes) > 1 for name in {name for given in names[1:] for name in given[:2]}):
            continue  # another node has the same weights
        weights, scale = constants[names[1][0]], constants[names[1][1]]
        axis = 0 if node.op == "Conv" or node.whole("transB", 0) else 1
        point = int(constants[names[0][2]])
        reach = max(
            128, *(abs(bound - point) for bound in (np.iinfo(constants[names[0][2]].dtype).min, np.iinfo(constants[names[0][2]].dtype).max))
        )
        others = tuple(place for place in range(weights.ndim) if place != axis)
        sums = np.abs(weights.astype(np.float64)).sum(axis=others) * reach
        bias = constants[names[2][0]].astype(np.float64) if len(names) > 2 else np.zeros(weights.shape[axis])
        factor = np.maximum((sums + np.abs(bias)) / MOST_SUM, 1.0)
        if (factor <= 1).all() or weights.dtype != np.int8:
            continue
        if scale.size == 1:
            factor = np.full(1, factor.max())
        sides = [1] * weights.ndim
        sides[axis] = factor.size
        constants[names[1][0]] = np.rint(weights / factor.reshape(sides)).astype(np.int8)
        constants[names[1][1]] = (scale * factor.reshape(scale.shape)).astype(np.float32)
        if len(names) > 2:
            constants[names[2][0]] = np.rint(bias / factor).astype(np.int32)
            constants[names[2][1]] = (constants[names[2][1]] * factor.reshape(constants[names[2][1]].shape)).astype(np.float32)
    return replace(model, constants=constants)


def prepared(model: Model) -> Model:
    """The same function with BatchNormalization, Pad and what is added after a MatMul folded into the layer before or after."""
    return _Folder(model).result()


def _resolve(model: Model) -> Model:
    """Shapes and types once more."""
    return simplify(replace(model, shapes={}, types={}))


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
