"""Model files that are damaged or mean harm: one clear line each, soon, with bounded memory, and no other file is touched."""

import os
import resource
import socket
import time
import tracemalloc

import numpy as np
import pytest
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from random_networks import random_onnx

from reflexarc.compiler.frontend import Prepared, prepare
from reflexarc.compiler.load import LARGEST_FILE
from reflexarc.errors import BadInput

SEED = int(os.environ.get("REFLEXARC_SEED", "1"))


def model(nodes=None, constants=None, inputs=None, outputs=None, opset=17):
    """A small float model, a Conv and a Gemm, in which a test exchanges a part."""
    rng = np.random.default_rng(1)
    if constants is None:
        constants = [
            numpy_helper.from_array(rng.normal(0, 1, (2, 1, 3, 3)).astype(np.float32), "w"),
            numpy_helper.from_array(rng.normal(0, 1, (32, 3)).astype(np.float32), "v"),
        ]
    if nodes is None:
        nodes = [
            helper.make_node("Conv", ["x", "w"], ["a"], "conv"),
            helper.make_node("Relu", ["a"], ["b"], "relu"),
            helper.make_node("Flatten", ["b"], ["c"], "flat"),
            helper.make_node("Gemm", ["c", "v"], ["y"], "gemm"),
        ]
    inputs = inputs or [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 6, 6])]
    outputs = outputs or [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def quantized(scale=0.1, point=0, kind=np.int8, weight_scale=0.01, axis=None, bias=None):
    """A quantized Gemm with these numbers."""
    rng = np.random.default_rng(2)
    constants = [
        numpy_helper.from_array(np.array(scale, np.float32), "s"),
        numpy_helper.from_array(np.array(point, kind), "z"),
        numpy_helper.from_array(np.array(0.1, np.float32), "t"),
        numpy_helper.from_array(np.array(0, np.int8), "u"),
        numpy_helper.from_array(rng.integers(-128, 128, (4, 3)).astype(np.int8), "w"),
        numpy_helper.from_array(np.asarray(weight_scale, np.float32), "ws"),
        numpy_helper.from_array(np.zeros(np.shape(weight_scale), np.int8), "wz"),
    ]
    more = {} if axis is None else {"axis": axis}
    inputs = ["b", "d"]
    if bias is not None:
        constants.append(numpy_helper.from_array(np.asarray(bias, np.float32), "c"))
        inputs.append("c")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["a"], "q"),
        helper.make_node("DequantizeLinear", ["a", "s", "z"], ["b"], "dq"),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["d"], "weights", **more),
        helper.make_node("Gemm", inputs, ["e"], "gemm"),
        helper.make_node("QuantizeLinear", ["e", "t", "u"], ["f"], "q2"),
        helper.make_node("DequantizeLinear", ["f", "t", "u"], ["y"], "dq2"),
    ]
    return model(nodes, constants, [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])])


def written(tmp_path, content):
    path = tmp_path / "m.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return path


def refused(tmp_path, content, match, **given):
    path = written(tmp_path, content)
    started = time.process_time()
    with pytest.raises(BadInput, match=match) as caught:
        prepare(path, **given)
    text = str(caught.value)
    assert "\n" not in text and len(text) <= 500 and text.startswith("m.onnx: ") and "; " in text
    assert time.process_time() - started < 5
    return text


def read_or_refused(path, content, calibration=None) -> bool:
    path.write_bytes(content)
    try:
        found = prepare(path, calibration)
    except BadInput as error:
        assert "\n" not in str(error) and len(str(error)) <= 500 and str(error).startswith(path.name)
        return False
    assert isinstance(found, Prepared) and found.network.layers
    return True


@pytest.mark.parametrize("form", ["qdq", "qoperator", "float"])
def test_damaged_files(tmp_path, form):
    """Cut off at many places, and a few thousand with some bytes changed: read, or one line."""
    rng = np.random.default_rng([SEED, len(form)])
    path = tmp_path / "m.onnx"
    read = 0
    for case in range(1200 if form != "float" else 400):
        if case % 60 == 0:
            raw = random_onnx(rng, form)
            shape = [n.dim_value for n in ModelProto.FromString(raw).graph.input[0].type.tensor_type.shape.dim][1:]
            calibration = rng.normal(0, 1, (4, *shape)).astype(np.float32) if form == "float" else None
            try:
                prepare(written(tmp_path, raw), calibration)
            except BadInput as error:
                assert "pairs" in str(error)
            for length in np.unique(np.concatenate((np.arange(6), rng.integers(6, len(raw), 15)))):
                assert not read_or_refused(path, raw[:length], calibration) or length > len(raw) - 40  # the version comes last
        damaged = bytearray(raw)
        for _ in range(rng.integers(1, 5)):
            damaged[rng.integers(0, len(raw))] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
        read += read_or_refused(path, bytes(damaged), calibration)
    assert read > 20


@pytest.mark.parametrize(
    "raw", [b"", b"x", b"\x00" * 5000, b"\xff" * 5000, b"<html></html>\n" * 50, b"\x08\x08", b"PK\x03\x04" + bytes(500)]
)
def test_no_model(tmp_path, raw):
    refused(tmp_path, raw, "is empty; give a file|no ONNX model, or one that is damaged|holds no graph")


def test_no_file(tmp_path):
    for path in (tmp_path, tmp_path / "none.onnx", "a\0b", ""):
        with pytest.raises(BadInput, match="is no plain file; give the path|can't be opened .*; give the path"):
            prepare(path)
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(BadInput, match="pipe.onnx: is no plain file"):
        prepare(tmp_path / "pipe.onnx")
    with pytest.raises(BadInput, match="is no plain file"):
        prepare("/dev/zero")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
        with pytest.raises(BadInput, match="can't be opened|is no plain file"):
            prepare(tmp_path / "s")


def test_size_of_the_file(tmp_path):
    path = tmp_path / "m.onnx"
    with open(path, "wb") as file:
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(BadInput, match="m.onnx: has 64.0 MiB; up to 64 MiB are read"):
        prepare(path)


def test_sizes_are_checked_before_anything_is_allocated(tmp_path):
    """Constants and shapes of gigabytes in files of some bytes."""
    tracemalloc.start()
    for dims in ([2**30], [2**15, 2**15], [2**62, 2**62], [-5], [2**24, 1], [1] * 200):
        broken = model()
        del broken.graph.initializer[0].dims[:]
        broken.graph.initializer[0].dims.extend(dims)
        refused(tmp_path, broken, "has a dimension of|has [0-9,]+ values|the file does not hold|has 200 dimensions")
    for size in (2**24 + 1, 2**63 - 1, 0, -7):
        refused(tmp_path, model(inputs=[helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, size, 6])]), "has a dimension of")
    refused(tmp_path, model(inputs=[helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 2**13, 2**13])]), "has 67,108,864 values")
    for shape in ([1, -1, 2**40], [2**31, 2**31]):
        nodes = [helper.make_node("Reshape", ["x", "r"], ["y"], "r")]
        refused(tmp_path, model(nodes, [numpy_helper.from_array(np.array(shape, np.int64), "r")]), "can't make")
    padded = [helper.make_node("Conv", ["x", "w"], ["y"], "c", pads=[2**40] * 4)]
    refused(tmp_path, model(padded), "has pads")
    # Two constants whose sum would have 4,000,000,000 values.
    sides = [numpy_helper.from_array(np.ones(shape, np.float32), name) for shape, name in (((65536, 1), "l"), ((1, 65536), "r"))]
    added = [helper.make_node("Add", ["l", "r"], ["s"], "add"), helper.make_node("Add", ["x", "s"], ["y"], "add2")]
    refused(tmp_path, model(added, sides), "makes a large constant")
    assert tracemalloc.get_traced_memory()[1] < 200e6
    tracemalloc.stop()


def test_many_parts(tmp_path):
    """Files that grow in memory: millions of empty nodes, of attributes, nested graphs."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    empty_nodes = b"\x0a\x00" * 3_000_000
    raw = b"\x08\x08\x3a" + varint(len(empty_nodes)) + empty_nodes
    refused(tmp_path, raw, "has more than 200,000 parts")
    packed = b"\x01" * (2**24 + 1)  # numbers of a constant, a byte each
    raw = b"\x08\x08\x3a" + varint(len(packed) + 10) + b"\x2a" + varint(len(packed) + 5) + b"\x3a" + varint(len(packed)) + packed
    refused(tmp_path, raw, "has more than 16 MiB of packed numbers")
    nested = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [], [])
    for _ in range(30):
        node = NodeProto(op_type="If", output=["y"])
        node.attribute.append(AttributeProto(name="then_branch", type=AttributeProto.GRAPH, g=nested))
        nested = helper.make_graph([node], "g", [], [])
    refused(tmp_path, helper.make_model(nested), "deep in each other")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # KiB


def varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])


def test_external_data(tmp_path):
    """No path that stands in a file is opened."""
    secret = tmp_path / "secret"
    secret.write_bytes(np.ones(18, np.float32).tobytes())
    os.utime(secret, (1, 1))
    for place in ("secret", str(secret), "../../etc/passwd"):
        outside = model()
        tensor = outside.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=place)
        refused(tmp_path, outside, "constant 'w' lies in another file; save the model as one file")
    tensor.data_location = TensorProto.DEFAULT
    refused(tmp_path, outside, "lies in another file")
    assert os.stat(secret).st_atime == 1


def test_graphs_that_are_none(tmp_path):
    relu = helper.make_node
    cycle = [relu("Add", ["x", "b"], ["a"], "first"), relu("Relu", ["a"], ["b"], "second"), relu("Relu", ["b"], ["y"], "third")]
    refused(tmp_path, model(cycle), r"node 'first' \(Add\) is part of a cycle")
    refused(tmp_path, model([relu("Relu", ["y"], ["y"], "self")]), "part of a cycle")
    refused(tmp_path, model([relu("Relu", ["nowhere"], ["y"], "r")]), "reads 'nowhere', which nothing makes")
    refused(
        tmp_path,
        model([relu("Relu", ["x"], ["y"], "r"), relu("Tanh", ["x"], ["y"], "t")]),
        r"node 't' \(Tanh\) makes 'y', which is there already",
    )
    refused(tmp_path, model([relu("Relu", ["x"], ["x"], "r")]), "makes 'x', which is there already")
    refused(tmp_path, model([relu("Relu", ["x"], ["z"], "r")]), "its output 'y' is made by no node")
    refused(tmp_path, model([relu("Relu", ["x"], [], "r")]), "has no output")
    refused(tmp_path, model([relu("Relu", [], ["y"], "r")]), "has no input")
    twice = model()
    twice.graph.initializer.append(twice.graph.initializer[0])
    refused(tmp_path, twice, "two of its constants are called 'w'")
    nameless = model()
    nameless.graph.initializer[0].name = ""
    refused(tmp_path, nameless, "has no name|which nothing makes")
    value = helper.make_tensor_value_info
    refused(tmp_path, model(inputs=[value(n, 1, [1, 4]) for n in "xz"]), r"it has 2 inputs \('x', 'z'\); a model has one input")
    refused(tmp_path, model(outputs=[value(n, 1, None) for n in "yb"]), r"it has 2 outputs \('y', 'b'\)")
    refused(tmp_path, model([relu("Identity", ["x"], ["y"], "i")]), "its output is its input")
    refused(tmp_path, model([relu("Relu", ["w"], ["y"], "i")]), "works on a constant")
    # An order that is none is put right.
    shuffled = model()
    nodes = list(shuffled.graph.node)[::-1]
    del shuffled.graph.node[:]
    shuffled.graph.node.extend(nodes)
    assert prepare(written(tmp_path, shuffled), np.random.default_rng(1).normal(0, 1, (20, 1, 6, 6)).astype(np.float32))


def test_shapes_of_the_input(tmp_path):
    def of(shape, kind=TensorProto.FLOAT):
        return model(inputs=[helper.make_tensor_value_info("x", kind, shape)])

    refused(tmp_path, of(["n", 1, "height", 6]), r"input 'x': dimension 2 is free \('height'\); only the batch may be")
    refused(tmp_path, of(["n", 1, None, 6]), "dimension 2 is free .without a size.")
    refused(tmp_path, of([8, 1, 6, 6]), "has a batch of 8; export with a batch of 1 or a dynamic one")
    refused(tmp_path, of([6]), "has rank 1; accepted: ")
    refused(tmp_path, of([1, 1, 1, 6, 6]), "has rank 5")
    refused(tmp_path, of(None), "has no shape")
    refused(tmp_path, of([1, 4], TensorProto.FLOAT16), "is of type FLOAT16")
    refused(tmp_path, of([1, 4], TensorProto.INT64), "is of type int64")
    refused(tmp_path, of([1, 4], 99), "is of type number 99")
    for shape in ([1, 2, 6, 6], [1, 1, 2, 6]):
        refused(
            tmp_path,
            of(shape),
            r"node 'conv' \(Conv\) (has 2 channels|would make a tensor of shape)",
            calibration=np.zeros((1, *shape[1:])),
        )


@pytest.mark.parametrize(
    "op, match",
    [
        ("ConvTranspose", "use Conv"),
        ("LSTM", "use a 1-D Conv"),
        ("If", "control flow"),
        ("Loop", "control flow"),
        ("NoSuchThing", "what works: Conv, "),
    ],
)
def test_operators_that_are_not_supported(tmp_path, op, match):
    text = refused(tmp_path, model([helper.make_node(op, ["x"], ["y"], "bad one")]), match)
    assert "node 'bad one'" in text and f"({op})" in text
    refused(
        tmp_path,
        model([helper.make_node("Relu", ["x"], ["y"], "d", domain="org.example")]),
        "is of the domain 'org.example'; use the operators of ONNX",
    )
    refused(tmp_path, model([helper.make_node("FusedConv", ["x"], ["y"], "d", domain="com.microsoft")]), "is of the domain 'com.microsoft'")
    # What is not needed may be anything.
    extra = model()
    extra.graph.node.append(helper.make_node(op, ["x"], ["unused"], "dead"))
    if "control" not in match:
        assert prepare(written(tmp_path, extra), np.random.default_rng(1).normal(0, 1, (20, 1, 6, 6)).astype(np.float32))


def test_attributes(tmp_path):
    def conv(**attributes):
        return model([helper.make_node("Conv", ["x", "w"], ["y"], "conv", **attributes)])

    refused(tmp_path, conv(strides=[0, 1]), "has strides")
    refused(tmp_path, conv(strides=[1]), "has strides")
    refused(tmp_path, conv(strides=1), "no list of whole numbers")
    refused(tmp_path, conv(pads=[1, 1]), "has pads")
    refused(tmp_path, conv(pads=[-1, 0, 0, 0]), "has pads")
    refused(tmp_path, conv(group=0), "in 0 groups")
    refused(tmp_path, conv(group=3), "in 3 groups")
    refused(tmp_path, conv(group=1.5), "no whole number")
    refused(tmp_path, conv(kernel_shape=[9, 9]), "another size than its kernel_shape")
    refused(tmp_path, conv(dilations=[9, 9]), "would make a tensor of shape")
    refused(tmp_path, conv(dilations=[2**40, 1]), "has dilations")
    refused(tmp_path, conv(auto_pad="MAYBE"), "has auto_pad 'MAYBE'; use NOTSET")
    pool = helper.make_node
    refused(tmp_path, model([pool("MaxPool", ["x"], ["y"], "p", kernel_shape=[2, 2], pads=[2, 0, 0, 0])]), "pads as much as its kernel")
    refused(tmp_path, model([pool("MaxPool", ["x"], ["y"], "p", kernel_shape=[7, 7])]), "would make a tensor of shape")
    refused(tmp_path, model([pool("MaxPool", ["x"], ["y"], "p")]), "has no kernel_shape")
    refused(
        tmp_path,
        model([pool("AveragePool", ["x"], ["y"], "p", kernel_shape=[2, 2], pads=[1, 1, 1, 1])]),
        "leaves its padding out of the mean; use no padding",
    )
    refused(tmp_path, model([pool("Transpose", ["x"], ["y"], "p", perm=[0, 1, 1, 2])]), "has the order")
    refused(tmp_path, model(opset=12), "uses opset 12; export with opset 13 or later")


@pytest.mark.parametrize(
    "given, match",
    [
        ({"scale": np.nan}, "has a scale of nan; scales are finite and above 0"),
        ({"scale": np.inf}, "has a scale of inf"),
        ({"scale": 0.0}, "has a scale of 0"),
        ({"scale": -0.5}, "has a scale of -0.5"),
        ({"scale": 1e-30}, "has a scale of 1e-30"),
        ({"scale": [0.1, 0.2, 0.3, 0.4], "point": [0] * 4}, "has a scale for each channel of the model's values"),
        ({"scale": 0.1, "point": [0, 0]}, "has 2 zero points for 1 scales"),
        ({"kind": np.int32}, "has a zero point of type int32; quantize to int8 or uint8"),
        ({"kind": np.float32}, "has a zero point of type float32"),
        ({"weight_scale": [0.1, 0.1]}, "has 2 scales for a tensor of shape .4, 3."),
        ({"weight_scale": [0.1, 0.1, 0.1, 0.1], "axis": 0}, "has a scale for each input channel of its weights"),
        ({"weight_scale": [0.1, np.nan, 0.1], "axis": 1}, "has a scale of nan"),
        ({"weight_scale": 1e-9, "bias": [1e9] * 3}, "has a bias that is 1e.19 steps of its sum"),
        (
            {"weight_scale": 1e-4, "bias": [200.0, 0, 0]},
            r"can reach a sum of 2\d,\d\d\d,\d\d\d in output 0 .* sums are exact below 16,777,216",
        ),
        ({"bias": [np.nan, 0, 0]}, "has a bias that is not finite"),
        ({"bias": [0.0] * 5}, "has a bias of shape .5. for 3 outputs"),
    ],
)
def test_scales(tmp_path, given, match):
    refused(tmp_path, quantized(**given), match)


def test_weights_that_are_not_finite(tmp_path):
    for value in (np.nan, np.inf, 3e38):
        broken = model()
        weights = np.ones((2, 1, 3, 3), np.float32)
        weights[0, 0, 1, 1] = value
        broken.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w"))
        refused(tmp_path, broken, "not finite|quantizer fails|once it is quantized", calibration=np.ones((4, 1, 6, 6), np.float32))


def test_calibration(tmp_path):
    path = written(tmp_path, model())
    with pytest.raises(
        BadInput,
        match=r"m.onnx: it is a float model and has to be quantized.*give --calibration with a file .npz .* 'x' of shape \[n, 1, 6, 6\]",
    ):
        prepare(path)
    file = tmp_path / "c.npz"

    def wrong(match, **arrays):
        np.savez(file, **arrays)
        with pytest.raises(BadInput, match=match) as caught:
            prepare(path, file)
        assert "\n" not in str(caught.value)

    good = np.random.default_rng(1).normal(0, 1, (20, 1, 6, 6))
    wrong("c.npz: has no array called as the model's input, 'x' .but 'a', 'b'.; name the array so", a=good, b=good)
    wrong(r"the inputs have the shape \[20, 5\]; give \[n, 1, 6, 6\]", x=good.reshape(20, 36)[:, :5])
    wrong("the inputs are of type <U1", x=np.array(["a"]))
    wrong("not all finite", x=good * np.nan)
    wrong(r"the inputs have the shape \[0, 1, 6, 6\]", x=good[:0])
    wrong("labels of shape .3.; give 20 whole numbers", x=good, labels=np.arange(3))
    wrong("is no NumPy archive", x=np.array([{}], dtype=object))
    for raw in (b"", b"PK\x03\x04" + bytes(100), b"nonsense" * 100):
        file.write_bytes(raw)
        with pytest.raises(BadInput, match="c.npz: "):
            prepare(path, file)
    np.savez_compressed(file, x=np.zeros((80_000, 1, 30, 30), np.float32))  # 288 MB in 300 kB
    with pytest.raises(BadInput, match="c.npz: unpacks to too much"):
        prepare(path, file)
    np.savez(file, anything=good)
    assert prepare(path, file).network.layers
    damaged = bytearray(file.read_bytes())
    rng = np.random.default_rng([SEED, 3])
    for _ in range(100):
        for _ in range(3):
            damaged[rng.integers(0, len(damaged))] = rng.integers(256)
        file.write_bytes(damaged[: rng.integers(1, len(damaged) + 1)])
        with pytest.raises(BadInput, match="c.npz|m.onnx"):
            prepare(path, file)


def test_labels(tmp_path):
    for text in ("nonsense", "{}", "[]", "[1]", '["a", ""]', "[" * 100_000):
        labelled = model()
        helper.set_model_props(labelled, {"labels": text})
        refused(tmp_path, labelled, "metadata 'labels' is no list of names")
