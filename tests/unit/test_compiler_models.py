"""Models as people export them: what they become computes the same function."""

import json
import os

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from random_networks import random_onnx

from reflexarc.compiler import reference
from reflexarc.compiler.fold import prepared as folded
from reflexarc.compiler.frontend import Prepared, prepare
from reflexarc.compiler.load import parse
from reflexarc.compiler.network import Shape
from reflexarc.compiler.runtime import Session, evaluate
from reflexarc.compiler.simplify import simplify
from reflexarc.errors import BadInput

SEED = int(os.environ.get("REFLEXARC_SEED", "1"))


class File:
    """A model file, node by node."""

    def __init__(self, *shape, kind=np.float32, batch="n", seed=0):
        self.rng = np.random.default_rng([SEED, seed])
        self.shape, self.kind, self.batch = shape, kind, batch
        self.nodes, self.constants = [], []
        self.count = 0

    def constant(self, value, name=None):
        self.count += 1
        name = name or f"c{self.count}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def weights(self, *shape, scale=None):
        scale = scale or (np.prod(shape[1:]) or 1) ** -0.5
        return self.constant(self.rng.normal(0, scale, shape).astype(np.float32))

    def whole(self, *values):
        return self.constant(np.array(values, np.int64))

    def number(self, value):
        return self.constant(np.array(value, np.float32))

    def node(self, op, *inputs, domain="", outputs=1, **attributes):
        self.count += 1
        names = [f"{op.lower()}{self.count}"] + [f"{op.lower()}{self.count}_{n}" for n in range(1, outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, name=f"the_{names[0]}", domain=domain, **attributes))
        return names[0]

    def normalization(self, tensor, channels):
        values = [self.rng.uniform(0.5, 1.5, channels), self.rng.normal(0, 0.3, channels), self.rng.normal(0, 0.3, channels)]
        values.append(self.rng.uniform(0.5, 2, channels))
        return self.node("BatchNormalization", tensor, *(self.constant(value.astype(np.float32)) for value in values))

    def content(self, output, opset=17, kind=TensorProto.FLOAT, metadata=None):
        given = helper.make_tensor_value_info("input", helper.np_dtype_to_tensor_dtype(np.dtype(self.kind)), [self.batch, *self.shape])
        graph = helper.make_graph(self.nodes, "g", [given], [helper.make_tensor_value_info(output, kind, None)], self.constants)
        imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=8 if opset < 19 else 10)
        if metadata:
            helper.set_model_props(model, metadata)
        return model.SerializeToString()


def made(tmp_path, content: bytes, **given) -> Prepared:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    return prepare(path, **given)


def inputs_for(content: bytes, count=200, seed=3):
    model = parse(content)
    return np.random.default_rng([SEED, seed]).normal(0, 1, (count, *model.input_shape[1:])).astype(np.float32)


def check_float(tmp_path, content: bytes, tolerance=0.06, **given) -> Prepared:
    """Quantized, it is near the float model; the network is the canonical model; and what was folded is the same function."""
    inputs = inputs_for(content)
    prepared = made(tmp_path, content, calibration=inputs, **given)
    assert prepared.kind == "float"
    theirs = Session(prepared.source.to_onnx()).run_each(inputs).reshape(len(inputs), -1)
    original = Session(content).run_each(inputs)
    if prepared.source.output == simplify(parse(content)).output:
        assert np.allclose(original.reshape(theirs.shape), theirs, rtol=1e-4, atol=1e-5)
    found = prepared.canonical.output
    ours = (prepared.run(inputs).astype(float) - found.unsigned_zero_point) * found.scale
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max(), np.abs(ours - theirs).max() / np.abs(theirs).max()
    check_network(prepared, inputs[:20])
    comparison = prepared.compare(inputs)
    assert comparison is not None and comparison.differences <= 0.05 * comparison.outputs and comparison.largest <= 3
    return prepared


def check_network(prepared: Prepared, inputs):
    """The reference gives the canonical model's outputs, with all optimizations and without."""
    stored = reference.run(prepared.network, prepared.stored(inputs)).reshape(len(inputs), -1)
    for optimized in (False, True):
        assert np.array_equal(prepared.run(inputs, optimized).astype(np.int64) - 128, stored)


def test_convolutions_with_normalization(tmp_path):
    file = File(1, 16, 16)
    at = file.node("Conv", "input", file.weights(8, 1, 3, 3), pads=[1, 1, 1, 1])
    at = file.node("Relu", file.normalization(at, 8))
    at = file.node("MaxPool", at, kernel_shape=[2, 2], strides=[2, 2])
    at = file.node("Conv", at, file.weights(12, 8, 3, 3), file.weights(12), auto_pad="SAME_UPPER", strides=[2, 2])
    at = file.node("Dropout", file.node("Relu", file.normalization(at, 12)))
    at = file.node("Gemm", file.node("Flatten", at), file.weights(5, 192), file.weights(5), transB=1)
    content = file.content(file.node("Softmax", at), metadata={"labels": json.dumps(["a", "b", "c", "d", "e"])})
    prepared = check_float(tmp_path, content)
    assert [len(layer.weights) for layer in prepared.network.layers] == [8, 12, 5]
    assert prepared.network.labels == ("a", "b", "c", "d", "e")
    assert prepared.network.layers[0].pool is not None and prepared.network.shapes["input"] == Shape(1, 16, 16)
    assert any("Softmax" in note for note in prepared.notes)
    # The canonical file goes through once more and stays what it is.
    again = made(tmp_path, prepared.canonical_bytes)
    assert again.kind == "qoperator" and made(tmp_path, again.canonical_bytes).canonical_bytes == again.canonical_bytes
    assert [(node.op, node.name) for node in again.canonical.model.nodes if node.op != "Reshape"] == [
        (node.op, node.name) for node in prepared.canonical.model.nodes if node.op != "Reshape"
    ]
    inputs = inputs_for(content, 20)
    assert np.array_equal(again.run(prepared.integers(inputs)), prepared.run(inputs))
    assert (again.input, again.canonical.output) == (prepared.input, prepared.canonical.output)


def test_perceptron_of_a_burst(tmp_path):
    """Input [1, K] is one channel of K records, or what the view says."""
    file = File(64)
    at = "input"
    for outputs, inputs in ((32, 64), (16, 32)):
        at = file.node("Relu", file.node("Add", file.node("MatMul", at, file.weights(inputs, outputs)), file.weights(outputs)))
    at = file.node("Gemm", at, file.weights(16, 3), file.weights(3))
    content = file.content(at)
    prepared = check_float(tmp_path, content)
    assert prepared.network.shapes["input"] == Shape(1, 1, 64) and len(prepared.network.layers) == 3
    two = check_float(tmp_path, content, view=Shape(2, 4, 8))
    assert two.network.shapes["input"] == Shape(2, 4, 8) and two.canonical_bytes == prepared.canonical_bytes
    with pytest.raises(BadInput, match="its input has 64 values, the view 2 channels x 1 rows x 16 records"):
        made(tmp_path, content, calibration=inputs_for(content), view=Shape(2, 1, 16))


def test_one_dimension_over_two_lines(tmp_path):
    """Channels of the model may be rows of the view."""
    file = File(2, 48)
    at = file.node("Relu", file.node("Conv", "input", file.weights(6, 2, 7), file.weights(6), pads=[3, 3], strides=[2]))
    at = file.node("MaxPool", at, kernel_shape=[3], strides=[2])
    at = file.node("Relu", file.node("Conv", at, file.weights(8, 6, 3), group=1))
    at = file.node("Gemm", file.node("Flatten", file.node("GlobalAveragePool", at)), file.weights(2, 8), transB=1)
    content = file.content(at)
    assert check_float(tmp_path, content).network.shapes["input"] == Shape(2, 1, 48)
    prepared = check_float(tmp_path, content, view=Shape(1, 2, 48))
    assert prepared.network.layers[0].weights.shape == (6, 1, 2, 7)
    # A line that is stored as several is none.
    file = File(2, 8)
    at = file.node("Conv", "input", file.weights(3, 2, 3))
    content = file.content(file.node("Gemm", file.node("Flatten", at), file.weights(2, 18), transB=1))
    with pytest.raises(BadInput, match="reads 2 x 1 x 8 values in another order than 4 x 1 x 4 are stored in"):
        made(tmp_path, content, calibration=inputs_for(content), view=Shape(4, 1, 4))


def test_channels_last_as_tensorflow_has_them(tmp_path):
    file = File(8, 9, 3)
    at = file.node("Transpose", "input", perm=[0, 3, 1, 2])
    at = file.node("Pad", at, file.whole(0, 0, 1, 1, 0, 0, 1, 1))
    at = file.node("Relu", file.node("Conv", at, file.weights(4, 3, 3, 3)))
    at = file.node("Reshape", file.node("Transpose", at, perm=[0, 2, 3, 1]), file.whole(-1, 288))
    content = file.content(file.node("MatMul", at, file.weights(288, 4)))
    prepared = check_float(tmp_path, content)
    assert prepared.network.shapes["input"] == Shape(3, 8, 9) and len(prepared.network.layers) == 2
    assert np.array_equal(prepared.built.input_order, np.arange(216).reshape(8, 9, 3).transpose(2, 0, 1))


def test_rows_and_columns_changed_about(tmp_path):
    file = File(2, 6, 9)
    at = file.node("Relu", file.node("Conv", "input", file.weights(4, 2, 3, 3), pads=[1, 1, 1, 1]))
    at = file.node("Transpose", at, perm=[0, 1, 3, 2])
    at = file.node("MaxPool", file.node("Conv", at, file.weights(5, 4, 1, 3), pads=[0, 2, 0, 1]), kernel_shape=[2, 1], strides=[2, 1])
    at = file.node("Conv", at, file.weights(3, 5, 4, 7))
    check_float(tmp_path, file.content(file.node("Flatten", at)))


def test_residual_and_its_scales(tmp_path):
    """Both sides of an Add get one scale."""
    file = File(3, 8, 8)
    first = file.node("Relu", file.node("Conv", "input", file.weights(6, 3, 3, 3), pads=[1, 1, 1, 1]))
    at = file.node(
        "Conv", file.node("Relu", file.node("Conv", first, file.weights(6, 6, 3, 3), pads=[1, 1, 1, 1])), file.weights(6, 6, 1, 1)
    )
    at = file.node("Relu", file.node("Add", at, first))
    at = file.node("Sub", file.node("MaxPool", at, kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]), at)
    at = file.node("Gemm", file.node("Flatten", file.node("GlobalMaxPool", at)), file.weights(6, 4))
    prepared = check_float(tmp_path, file.content(at), tolerance=0.1)
    assert sum(len(layer.sources) == 2 for layer in prepared.network.layers) == 2
    assert sum("equal to" in note for note in prepared.notes) == 2


def test_functions_of_one_value(tmp_path):
    """Swish and others that are exported in parts become one table each."""
    file = File(2, 10)
    at = file.node("Conv", "input", file.weights(4, 2, 3), pads=[1, 1])
    at = file.node("Mul", at, file.node("Sigmoid", at))
    at = file.node("Conv", at, file.weights(4, 4, 3), pads=[1, 1])
    at = file.node("HardSwish", at)
    at = file.node("Conv", at, file.weights(4, 4, 3), pads=[1, 1])
    half = file.node("Erf", file.node("Div", at, file.number(2**0.5)))
    at = file.node("Mul", file.node("Mul", at, file.node("Add", half, file.number(1.0))), file.number(0.5))
    at = file.node("PRelu", file.node("Conv", at, file.weights(3, 4, 10)), file.number(0.25))
    at = file.node("Tanh", file.node("Flatten", at))
    prepared = check_float(tmp_path, file.content(at), tolerance=0.1)
    assert [layer.table is not None for layer in prepared.network.layers] == [True, True, True, True]


def test_linear_nodes_in_many_forms(tmp_path):
    """MatMul over a length, factors and shifts of channels, normalization of its own, dilation, groups, a mean over places."""
    file = File(12, 6)
    at = file.node("Add", file.node("MatMul", "input", file.weights(6, 8)), file.weights(8))
    at = file.node("Relu", file.node("Mul", at, file.weights(8, scale=1.0)))
    at = file.node("Transpose", at, perm=[0, 2, 1])
    at = file.node("Conv", at, file.weights(8, 4, 3), group=2, dilations=[2], pads=[2, 2])
    at = file.normalization(file.node("Relu", at), 8)
    at = file.node("AveragePool", at, kernel_shape=[3], strides=[3])
    at = file.node("Add", file.node("Relu", at), file.constant(file.rng.normal(0, 1, (8, 1)).astype(np.float32)))
    at = file.node("Gemm", file.node("ReduceMean", at, axes=[2], keepdims=0), file.weights(3, 8), transB=1, alpha=0.5)
    prepared = check_float(tmp_path, file.content(at), tolerance=0.1)
    assert prepared.network.output


def test_shapes_that_are_worked_out(tmp_path):
    """x.view(x.size(0), -1) as torch exports it; constants as nodes."""
    file = File(2, 4, 4)
    at = file.node("Relu", file.node("Conv", "input", file.weights(4, 2, 3, 3)))
    size = file.node("Gather", file.node("Shape", at), file.constant(np.array(0, np.int64)), axis=0)
    wanted = file.node("Concat", file.node("Unsqueeze", size, file.whole(0)), file.whole(-1), axis=0)
    at = file.node("Reshape", at, wanted)
    weights = file.node("Constant", value=numpy_helper.from_array(file.rng.normal(0, 1, (16, 3)).astype(np.float32)))
    at = file.node("ArgMax", file.node("LogSoftmax", file.node("Gemm", at, weights)), axis=1)
    prepared = check_float(tmp_path, file.content(at, kind=TensorProto.INT64))
    assert len(prepared.network.layers) == 2


def test_channels_of_nothing(tmp_path):
    """A channel whose weights are almost nothing beside its bias gets coarser weights, not a sum that is not exact."""
    file = File(8)
    weights = file.rng.normal(0, 1, (4, 8)).astype(np.float32)
    weights[1] *= 1e-7
    weights[2] = 0
    at = file.node("Gemm", "input", file.constant(weights), file.constant(np.array([0.1, 0.5, -0.4, 0], np.float32)), transB=1)
    prepared = check_float(tmp_path, file.content(at))
    assert all(abs(bound) < 2**24 for bound in prepared.built.reach["the_gemm3"])


def test_wide_sums_get_room(tmp_path):
    """4,000 inputs of like weights: int8 weights as fine as they can be would reach beyond 2**24."""
    file = File(4000)
    at = file.node("Gemm", "input", file.constant((file.rng.choice([-1, 1], (2, 4000)) * 0.01).astype(np.float32)), transB=1)
    prepared = check_float(tmp_path, file.content(at))
    assert 2**23 < max(abs(bound) for bound in prepared.built.reach["the_gemm2"]) < 2**24


@pytest.mark.parametrize("opset", [13, 15, 18, 21, 22])
def test_opsets(tmp_path, opset):
    rng = np.random.default_rng([SEED, opset])
    for number in range(4):
        content = random_onnx(rng, "qdq", opset)
        prepared = made(tmp_path, content)
        values = prepared.random_inputs(4, number)
        theirs = Session(content).run_each(values).reshape(4, -1)
        assert prepared.source.output != "" and theirs.shape == prepared.run(values).shape
        check_network(prepared, values)


def test_newest_opset(tmp_path):
    """Also one that onnxruntime does not know yet: it sees the model as written here."""
    import onnx

    newest = onnx.defs.onnx_opset_version()
    file = File(1, 6, 6)
    at = file.node("ReduceMean", file.node("Relu", file.node("Conv", "input", file.weights(4, 1, 3, 3))), file.whole(2, 3), keepdims=0)
    content = file.content(at, opset=newest)
    inputs = inputs_for(content)
    prepared = made(tmp_path, content, calibration=inputs)
    check_network(prepared, inputs[:20])


@pytest.mark.parametrize("seed", range(30))
def test_what_is_folded_is_the_same_function(seed):
    """`simplify` and what prepares a float model for the quantizer change nothing, as far as float32 goes."""
    content = random_onnx(np.random.default_rng([SEED, 50, seed]), "float")
    model = simplify(parse(content))
    inputs = inputs_for(content, 5)
    theirs = Session(content).run_each(inputs)
    assert np.allclose(Session(model.to_onnx()).run_each(inputs), theirs, rtol=1e-5, atol=1e-6)
    assert np.allclose(Session(simplify(folded(model)).to_onnx()).run_each(inputs), theirs, rtol=1e-4, atol=1e-5)


def quantized_file(kind=np.int8):
    """QuantizeLinear, a Conv with weights of its own type, Relu, no scale at the end."""
    file = File(1, 5, 5)
    scale, point = file.number(0.05), file.constant(np.array(3, kind))
    at = file.node("DequantizeLinear", file.node("QuantizeLinear", "input", scale, point), scale, point)
    weights = file.constant(file.rng.integers(-100, 100, (4, 1, 5, 5)).astype(np.int8))
    weights = file.node("DequantizeLinear", weights, file.number(0.01), file.constant(np.array(0, np.int8)))
    return file, file.node("Flatten", file.node("Conv", at, weights))


def test_output_without_a_scale(tmp_path):
    """It gets one by the calibration data, or the model is refused."""
    file, at = quantized_file()
    content = file.content(at)
    with pytest.raises(
        BadInput, match=r"model.onnx: node 'the_conv\d+' \(Conv\) makes the model's output, which is not quantized; give --calib"
    ):
        made(tmp_path, content)
    inputs = inputs_for(content)
    prepared = made(tmp_path, content, calibration=inputs)
    check_network(prepared, inputs[:20])
    theirs = Session(content).run_each(inputs).reshape(len(inputs), -1)
    found = prepared.canonical.output
    assert np.abs((prepared.run(inputs).astype(float) - found.unsigned_zero_point) * found.scale - theirs).max() < 0.51 * found.scale
    assert prepared.kind == "qdq" and any("range" in note for note in prepared.notes)


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_types_of_the_input(tmp_path, kind):
    """Of float32 with int8 or uint8 behind QuantizeLinear, and of integers."""
    file, at = quantized_file(kind)
    content = file.content(at)
    inputs = inputs_for(content)
    prepared = made(tmp_path, content, calibration=inputs)
    assert prepared.input.scale == pytest.approx(0.05) and prepared.input.zero_point == 3
    assert prepared.input_signed == (kind == np.int8)
    # What is stored is the quantized value, less 128 where it is unsigned.
    expected = np.clip(np.rint(inputs / np.float32(0.05)) + 3, np.iinfo(kind).min, np.iinfo(kind).max) - (0 if kind == np.int8 else 128)
    assert np.array_equal(prepared.stored(inputs).reshape(expected.shape), expected)


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_inputs_become_integers_as_in_onnxruntime(tmp_path, kind):
    """Also where they are just between two steps, and beyond the range."""
    file, at = quantized_file(kind)
    prepared = made(tmp_path, file.content(at), calibration=inputs_for(file.content(at)))
    scale = np.float32(prepared.input.scale)
    halves = (np.arange(-600, 600, dtype=np.float32) * np.float32(0.5)) * scale
    near = np.concatenate(
        [halves, np.nextafter(halves, np.float32(9e9)), np.nextafter(halves, np.float32(-9e9)), [np.float32(3e38), np.float32(-3e38)]]
    )
    found = prepared.integers(np.resize(near.astype(np.float32), (200, 1, 5, 5)))
    theirs = evaluate("QuantizeLinear", [np.resize(near, (200, 1, 5, 5)).astype(np.float32), np.array(scale), np.array(3, kind)], kind=kind)
    assert np.array_equal(found, theirs.astype(np.int64) + (128 if kind == np.int8 else 0))


def test_weights_that_are_quantized_in_the_graph(tmp_path):
    """As training that knows of quantization leaves them: QuantizeLinear on constants, a scale for each output."""
    file = File(2, 6)
    scale, point = file.number(0.05), file.constant(np.array(128, np.uint8))
    at = file.node("DequantizeLinear", file.node("QuantizeLinear", "input", scale, point), scale, point)
    scales, points = file.constant(np.array([0.01, 0.02, 0.005], np.float32)), file.constant(np.zeros(3, np.int8))
    weights = file.node("QuantizeLinear", file.weights(3, 2, 6), scales, points, axis=0)
    at = file.node("Conv", at, file.node("DequantizeLinear", weights, scales, points, axis=0), file.weights(3))
    out_scale, out_point = file.number(0.04), file.constant(np.array(100, np.uint8))
    at = file.node("DequantizeLinear", file.node("QuantizeLinear", at, out_scale, out_point), out_scale, out_point)
    prepared = made(tmp_path, file.content(file.node("Flatten", at)))
    comparison = prepared.compare(prepared.random_inputs(200))
    assert comparison.outputs == 600 and comparison.differences <= 6 and comparison.largest <= 1
    check_network(prepared, prepared.random_inputs(20))


def test_canonical_models_need_no_option(tmp_path):
    """They are of uint8 alone, for which no processor saturates on the way: a plain session gives the same."""
    import onnxruntime

    for number in range(10):
        prepared = made(tmp_path, random_onnx(np.random.default_rng([SEED, 70, number]), "qdq"))
        model = prepared.canonical.model
        assert {model.types[node.output] for node in model.nodes} <= {np.dtype(np.uint8), np.dtype(np.int32)}
        assert all(model.constants[node.inputs[3]].dtype == np.uint8 for node in model.nodes if node.op == "QLinearConv")
        values = prepared.random_inputs(8)
        plain = onnxruntime.InferenceSession(prepared.canonical_bytes, providers=["CPUExecutionProvider"])
        for value, ours in zip(prepared.integers(values), prepared.run(values), strict=True):
            assert np.array_equal(plain.run(None, {"input": value[None]})[0].reshape(-1), ours)


def test_accuracy_and_labels_of_the_calibration(tmp_path):
    rng = np.random.default_rng(SEED)
    labels = rng.integers(0, 3, 300)
    centres = rng.normal(0, 1, (3, 10))
    inputs = (centres[labels] + rng.normal(0, 0.3, (300, 10))).astype(np.float32)
    file = File(10)
    weights, bias = centres.astype(np.float32), (-0.5 * (centres**2).sum(1)).astype(np.float32)
    content = file.content(file.node("Gemm", "input", file.constant(weights), file.constant(bias), transB=1))
    np.savez(tmp_path / "c.npz", x=inputs, labels=labels)
    prepared = made(tmp_path, content, calibration=tmp_path / "c.npz")
    accuracy = prepared.accuracy(prepared.calibration, prepared.labels)
    assert accuracy.inputs == 300 and accuracy.before > 0.9 and accuracy.after > accuracy.before - 0.03


def test_last_nodes_are_taken_off_only_at_the_end(tmp_path):
    file = File(6)
    at = file.node("Softmax", file.node("Gemm", "input", file.weights(6, 5)))
    content = file.content(file.node("Gemm", at, file.weights(5, 2)))
    with pytest.raises(BadInput, match=r"\(Softmax\) is not supported here; it is done only as the last step"):
        made(tmp_path, content, calibration=inputs_for(content))
    file = File(6)
    content = file.content(
        file.node("ArgMax", file.node("Gemm", "input", file.weights(6, 5)), axis=1, select_last_index=1), kind=TensorProto.INT64
    )
    with pytest.raises(BadInput, match="takes the last of equal values"):
        made(tmp_path, content, calibration=inputs_for(content))
