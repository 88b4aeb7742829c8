"""From a float model to a quantized one, with onnxruntime's own quantizer, and what has to be done to the model for that.

Values get int8 with a zero point by their range on the calibration data, weights int8 with a scale for each output.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from reflexarc.compiler.fold import prepared
from reflexarc.compiler.graph import Array, Model, Node
from reflexarc.compiler.layer_shapes import products
from reflexarc.compiler.load import parse
from reflexarc.compiler.network import Float32
from reflexarc.compiler.pairs import pair_weights
from reflexarc.compiler.refusal import refuse
from reflexarc.compiler.simplify import BINARY, UNARY, simplify
from reflexarc.errors import BadInput

NUDGES = 4  # times that scales of sums are changed
MOST_SAMPLES = 2000  # of the calibration data that are used, spread evenly
LEAST_SAMPLES = 4  # where the model is large
MOST_CALIBRATED_PRODUCTS = 2**33
MOST_SUM = 2**24 - 2**16  # of what a sum may reach; what rounding coarser weights adds is far less than the rest
Overrides = dict[str, list[dict[str, Array]]]  # of tensors, as the quantizer takes them

_QUANTIZED = sorted({"Conv", "Gemm", "MatMul", "MaxPool", "AveragePool", "Reshape", "Transpose", "Concat", "Pad"} | UNARY | BINARY)


def is_quantized(model: Model) -> bool:
    return model.input_type != np.float32 or any("Quantize" in node.op or node.op.startswith("Q") for node in model.nodes)


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


def _resolve(model: Model) -> Model:
    """Shapes and types once more."""
    return simplify(replace(model, shapes={}, types={}))
