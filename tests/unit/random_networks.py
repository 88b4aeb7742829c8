"""Random networks for all tests: as layers (`random_network`), and as ONNX files of each kind (`random_onnx`)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from reflexarc.compiler.network import Layer, Network, Shape, View, Window
from reflexarc.contract.model import ViewSource
from reflexarc.contract.packets import Channel

# Layers.


@dataclass
class _Layers:
    rng: np.random.Generator
    largest: int
    shapes: dict[str, Shape] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    tables: int = 0

    def add(self, sources, weights, window=None, groups=1, pool=None, table=False, name=None):
        """A layer with parameters that make its values various. `weights` are given; the rest is random."""
        rng = self.rng
        window = window or Window()
        shape = self.shapes[sources[0]]
        outputs = len(weights)
        rows, columns = window.output(shape.rows, shape.columns)
        if pool is not None:
            rows, columns = pool.output(rows, columns)
        target = name or f"t{len(self.layers)}"
        zero_point = int(rng.integers(-128, 128)) if rng.random() < 0.6 else int(rng.choice([-128, 0, 127]))
        spread = 60 * np.sqrt((weights.astype(np.float64) ** 2).sum(axis=tuple(range(1, weights.ndim))) + 1)
        if rng.random() < 0.3:  # halves are frequent: rounding to even shows
            multiplier = 2.0 ** -np.rint(np.log2(spread / rng.choice([8, 30, 90])))
        else:
            multiplier = rng.choice([8, 30, 60, 90]) / spread * rng.uniform(0.8, 1.25, outputs)
        if rng.random() < 0.3:
            multiplier[:] = multiplier[0]
        bias = np.rint(rng.normal(0, 0.7, outputs) * spread).astype(np.int64)
        low, high = -128, 127
        if rng.random() < 0.5:
            low = max(zero_point, -128)
        if rng.random() < 0.2:
            high = int(rng.integers(low, 128))
        self.shapes[target] = Shape(outputs, rows, columns)
        values = None
        if table and self.tables < 4:
            self.tables += 1
            values = _table(rng)
        self.layers.append(
            Layer(
                target, tuple(sources), target, weights.astype(np.int16), bias, multiplier.astype(np.float32), zero_point, low, high,
                window, groups, int(rng.integers(-128, 128)) if any(window.pads) else 0, pool, values,
            )
        )  # fmt: skip
        return target


def _table(rng):
    kind = rng.integers(3)
    if kind == 0:
        return rng.integers(-128, 128, 256).astype(np.int8)
    steps = (np.arange(256) - 128) / 128
    values = np.tanh(3 * steps) * 127 if kind == 1 else np.where(steps > 0, steps, steps / 8) * 127
    return np.rint(values).astype(np.int8)


def _weights(rng, *shape):
    kind = rng.integers(8)
    if kind == 0:  # uint8 with a zero point: two runs in the engine
        low = int(rng.integers(-255, 1))
        return rng.integers(low, low + 256, shape)
    if kind == 1:
        return rng.choice([-128, -1, 0, 1, 127], shape)
    return np.clip(np.rint(rng.normal(0, 40, shape)), -128, 127).astype(np.int64)


def _window(rng, rows, columns, kernel_max=7, stride_max=4):
    """Of one place at least, and no kernel larger than what it sees with its padding."""
    sizes = []
    for size in (rows, columns):
        kernel = int(rng.choice([1, 2, 3, 3, 5, 7])) if size > 1 else int(rng.choice([1, 1, 3]))
        kernel = min(kernel, kernel_max, size if size > 1 else 3)
        begin, end = (int(rng.integers(0, kernel)) if rng.random() < 0.5 else 0 for _ in range(2))
        if size + begin + end < kernel:
            begin, end = kernel // 2, kernel - 1 - kernel // 2
        sizes.append((kernel, int(rng.integers(1, stride_max + 1)) if rng.random() < 0.4 else 1, begin, end))
    (kr, sr, top, bottom), (kc, sc, left, right) = sizes
    return Window((kr, kc), (sr, sc), (top, left, bottom, right))


def _pool(rng, rows, columns):
    sizes = []
    for size in (rows, columns):
        kernel = min(int(rng.choice([1, 2, 2, 3])), size)
        pads = [int(rng.integers(0, kernel)) if rng.random() < 0.2 else 0 for _ in range(2)]
        stride = int(rng.integers(1, 4)) if rng.random() < 0.4 else kernel
        sizes.append((kernel, stride, *pads))
    (kr, sr, top, bottom), (kc, sc, left, right) = sizes
    return Window((kr, kc), (sr, sc), (top, left, bottom, right))


def random_network(rng: np.random.Generator, largest: int = 1024, layers: int = 6) -> Network:
    """A network of one to `layers` layers and a last one of a single place. No tensor has more than `largest` values."""
    kind = rng.integers(4)
    channels = int(rng.choice([1, 1, 2, 3, 4]))
    if kind == 0:
        shape = Shape(channels, 1, int(rng.integers(4, 65)))
    elif kind == 1:
        shape = Shape(1, 1, int(rng.integers(2, 129)))
    else:
        shape = Shape(channels, int(rng.integers(1, 13)), int(rng.integers(2, 17)))
    made = _Layers(rng, largest, {"input": shape})
    at = "input"
    for _ in range(int(rng.integers(0, layers))):
        shape = made.shapes[at]
        if shape.rows == shape.columns == 1 and rng.random() < 0.5:
            outputs = int(rng.integers(1, 40))
            at = made.add([at], _weights(rng, outputs, shape.channels, 1, 1), table=rng.random() < 0.3)
            continue
        what = rng.random()
        same = [name for name, other in made.shapes.items() if other == shape and name != at and name != "input"]
        if what < 0.15 and same and at != "input":
            small = rng.integers(-9, 10, (2, shape.channels))
            weights = np.zeros((shape.channels, 2 * shape.channels, 1, 1), np.int64)
            every = np.arange(shape.channels)
            weights[every, every, 0, 0], weights[every, shape.channels + every, 0, 0] = small
            at = made.add([at, str(rng.choice(same))], weights, table=rng.random() < 0.2)
            continue
        window = _window(rng, shape.rows, shape.columns)
        rows, columns = window.output(shape.rows, shape.columns)
        pool = _pool(rng, rows, columns) if rng.random() < 0.4 else None
        if pool is not None:
            rows, columns = pool.output(rows, columns)
        if what < 0.35 and shape.channels * rows * columns <= largest:
            weights, groups = _weights(rng, shape.channels, 1, *window.kernel), shape.channels
        else:
            choices = [g for g in (1, 1, 1, 2, 3, 4) if shape.channels % g == 0]
            groups = int(rng.choice(choices))
            outputs = groups * int(rng.integers(1, max(2, min(40, largest // (rows * columns)) // groups + 1)))
            if outputs * rows * columns > largest:
                break
            weights = _weights(rng, outputs, shape.channels // groups, *window.kernel)
        at = made.add([at], weights, window, groups, pool, table=rng.random() < 0.25)
    shape = made.shapes[at]
    outputs = int(rng.integers(1, 13))
    weights = _weights(rng, outputs, shape.channels, shape.rows, shape.columns)
    made.add([at], weights, Window((shape.rows, shape.columns)), table=rng.random() < 0.2, name="output")
    return _only_needed(Network("input", "output", made.shapes, tuple(made.layers), tuple(f"class {n}" for n in range(outputs))))


def _only_needed(network: Network) -> Network:
    needed, kept = {network.output}, []
    for layer in reversed(network.layers):
        if layer.target in needed:
            kept.append(layer)
            needed.update(layer.sources)
    shapes = {name: shape for name, shape in network.shapes.items() if name in needed or name == network.input}
    return Network(network.input, network.output, shapes, tuple(kept[::-1]), network.labels)


def network_onnx(network: Network) -> bytes:
    """The same network for onnxruntime, its values as uint8 (128 more), all tensors as outputs of their own names."""
    nodes, constants = [], []

    def constant(name, value, kind):
        constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    for layer in network.layers:
        at, name = layer.sources[0], layer.name
        if len(layer.sources) == 2:
            at = f"{name}:both"
            nodes.append(helper.make_node("Concat", layer.sources, [at], axis=1))
        weights = layer.weights.astype(np.int64)
        point = -min(int(weights.min()), 0)
        input_point = layer.pad_value + 128
        # What the input's zero point adds is in the layer's bias already.
        bias = layer.bias - weights.reshape(len(weights), -1).sum(axis=1) * (128 - input_point)
        outputs = len(weights)
        inputs = [
            at, constant(f"{name}:xs", 1, np.float32), constant(f"{name}:xz", input_point, np.uint8),
            constant(f"{name}:w", weights + point, np.uint8), constant(f"{name}:ws", layer.multiplier, np.float32),
            constant(f"{name}:wz", np.full(outputs, point), np.uint8), constant(f"{name}:ys", 1, np.float32),
            constant(f"{name}:yz", layer.zero_point + 128, np.uint8), constant(f"{name}:b", bias, np.int32),
        ]  # fmt: skip
        attributes = {"strides": layer.window.stride, "pads": layer.window.pads, "group": layer.groups}
        steps = [("QLinearConv", inputs, attributes)]
        bounds = [constant(f"{name}:low", layer.low + 128, np.uint8), constant(f"{name}:high", layer.high + 128, np.uint8)]
        steps.append(("Clip", [None, *bounds], {}))
        if layer.pool is not None:
            pool = layer.pool
            steps.append(("MaxPool", [None], {"kernel_shape": pool.kernel, "strides": pool.stride, "pads": pool.pads}))
        if layer.table is not None:
            steps.append(("Cast", [None], {"to": TensorProto.INT32}))
            steps.append(("Gather", [constant(f"{name}:table", layer.table.astype(np.int64) + 128, np.uint8), None], {"axis": 0}))
        for number, (op, given, attributes) in enumerate(steps):
            output = layer.target if number == len(steps) - 1 else f"{name}:{number}"
            nodes.append(helper.make_node(op, [at if value is None else value for value in given], [output], **attributes))
            at = output

    def described(name):
        shape = network.shapes[name]
        return helper.make_tensor_value_info(name, TensorProto.UINT8, ["n", shape.channels, shape.rows, shape.columns])

    outputs = [described(layer.target) for layer in network.layers]
    graph = helper.make_graph(nodes, "network", [described(network.input)], outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def random_values(rng: np.random.Generator, shape: Shape, count: int = 1) -> np.ndarray:
    """Stored values [count, channels, rows, columns]; some of them at the ends of the range only."""
    size = (count, shape.channels, shape.rows, shape.columns)
    values = rng.integers(-128, 128, size)
    extreme = rng.choice([-128, 127], size)
    return np.where(rng.random((count, 1, 1, 1)) < 0.2, extreme, values).astype(np.int8)


def plain_view(shape: Shape, source: ViewSource = ViewSource.PIXEL, hop: int = 1) -> View:
    """A view that such an input fits."""
    thresholds = np.tile(np.arange(255, dtype=np.int32), (shape.channels, 1))
    return View(source, tuple(Channel)[: shape.channels], shape.rows, shape.columns, hop, thresholds)


# ONNX files.

UNARY = ("LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Elu", "Softplus", "Abs", "Neg")


class _File:
    """A model while it is written: quantized ("qdq", "qoperator") or "float". A tensor is its name, shape, scale and zero point."""

    def __init__(self, rng, form, signed):
        self.rng, self.form, self.signed = rng, form, signed
        self.kind = np.int8 if signed else np.uint8
        self.nodes, self.constants = [], []
        self.count = 0

    def name(self, what):
        self.count += 1
        return f"{what}{self.count}"

    def constant(self, value, what="c"):
        name = self.name(what)
        self.constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def node(self, op, inputs, domain="", **attributes):
        output = self.name(op.lower())
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"n_{output}", domain=domain, **attributes))
        return output

    def scale(self, near):
        near = float(near)
        if self.rng.random() < 0.3:
            return np.float32(2.0 ** round(math.log2(near)))
        return np.float32(near * self.rng.uniform(0.7, 1.4))

    def point(self):
        low, high = np.iinfo(self.kind).min, np.iinfo(self.kind).max
        return self.kind(
            self.rng.choice([low, 0, high, self.rng.integers(low, high + 1), self.rng.integers(low // 2 + high // 4, high // 2 + 1)])
        )

    def scaled(self, tensor):
        return [self.constant(tensor.scale), self.constant(tensor.point)]

    def dequantized(self, tensor):
        if self.form == "float":
            return tensor.name
        return self.node("DequantizeLinear", [tensor.name, *self.scaled(tensor)])

    def quantized(self, name, shape, scale, point):
        return _Tensor(name, shape, np.float32(1), point) if self.form == "float" else self.quantized_always(name, shape, scale, point)

    def quantized_always(self, name, shape, scale, point):
        tensor = _Tensor(name, shape, np.float32(scale), point)
        tensor.name = self.node("QuantizeLinear", [name, *self.scaled(tensor)])
        return tensor


@dataclass
class _Tensor:
    name: str
    shape: tuple[int, ...]
    scale: np.float32
    point: np.generic


class _Random:
    """Blocks of a random file."""

    def __init__(self, rng, form, signed):
        self.rng, self.file = rng, _File(rng, form, signed)
        self.form = form

    def weights(self, shape, axis=0):
        """Integers, scale, zero point, axis; int8 or uint8, for all or for each output."""
        rng = self.rng
        kind = np.int8 if self.file.signed or rng.random() < 0.5 else np.uint8
        if self.form == "float":
            return rng.normal(0, 1 / math.sqrt(max(math.prod(shape) / shape[axis], 1)), shape).astype(np.float32), None, None
        integers = rng.integers(np.iinfo(kind).min, np.iinfo(kind).max + 1, shape).astype(kind)
        outputs = shape[axis]
        size = (outputs,) if rng.random() < 0.6 else ()
        scale = (2.0 ** -rng.integers(5, 9, size) if rng.random() < 0.3 else rng.uniform(0.002, 0.02, size)).astype(np.float32)
        if kind == np.int8:
            point = np.zeros(size, kind) if rng.random() < 0.8 else np.full(size, rng.integers(-128, 128), kind)
        else:
            point = np.full(size, rng.choice([128, rng.integers(0, 256)]), kind)
        return integers, np.asarray(scale), point

    def linear(self, tensor, shape_out, weights_shape, axis, op, attributes, relu=True):
        """Conv, Gemm or MatMul with a bias or none, a Relu or Clip or none."""
        rng, file = self.rng, self.file
        integers, scale, point = self.weights(weights_shape, axis)
        outputs = weights_shape[axis]
        with_bias = op != "MatMul" and rng.random() < 0.8
        if self.form == "float":
            inputs = [tensor.name, file.constant(integers, "w")]
            if with_bias:
                inputs.append(file.constant(rng.normal(0, 0.5, outputs).astype(np.float32), "b"))
            name = file.node(op, inputs, **attributes)
            name = self.activated(name) if relu else name
            return _Tensor(name, shape_out, np.float32(1), np.int8(0))
        fan = math.prod(weights_shape) / outputs
        step = np.float32(tensor.scale) * scale
        bias = np.rint(rng.normal(0, 2000, outputs)).astype(np.int32)
        out_scale = file.scale(float(np.mean(step)) * 74 * 74 * math.sqrt(fan) / rng.choice([20, 50, 90]))
        out_point = file.point()
        if self.form == "qoperator":
            weights = [file.constant(integers, "w"), file.constant(scale), file.constant(point)]
            made = _Tensor("", shape_out, out_scale, out_point)
            given = [tensor.name, *file.scaled(tensor), *weights]
            if op == "Conv":
                extra = [file.constant(bias, "b")] if with_bias else []
                made.name = file.node("QLinearConv", [*given, *file.scaled(made), *extra], **attributes)
            elif op == "Gemm":
                extra = file.constant(bias, "b") if with_bias else ""
                made.name = file.node("QGemm", [*given, extra, *file.scaled(made)], "com.microsoft", **attributes)
            else:
                made.name = file.node("QLinearMatMul", [*given, *file.scaled(made)])
            return self.clipped_integers(made) if relu else made
        extra = {} if scale.ndim == 0 else {"axis": axis}
        inputs = [
            file.dequantized(tensor),
            file.node("DequantizeLinear", [file.constant(integers, "w"), file.constant(scale), file.constant(point)], **extra),
        ]
        if with_bias and rng.random() < 0.8:
            axis_ = {} if step.ndim == 0 else {"axis": 0}
            inputs.append(file.node("DequantizeLinear", [file.constant(bias, "b"), file.constant(step)], **axis_))
        elif with_bias:
            inputs.append(file.constant((bias * step).astype(np.float32), "b"))
        name = file.node(op, inputs, **attributes)
        return file.quantized(self.activated(name) if relu else name, shape_out, out_scale, out_point)

    def activated(self, name):
        kind = self.rng.random()
        if kind < 0.4:
            return self.file.node("Relu", [name])
        if kind < 0.5:
            return self.file.node(
                "Clip", [name, self.file.constant(np.float32(-0.5)), self.file.constant(np.float32(self.rng.uniform(0.5, 6)))]
            )
        return name

    def clipped_integers(self, tensor):
        if self.rng.random() < 0.3:
            low = self.file.kind(min(int(tensor.point), 100))
            bounds = [self.file.constant(low), self.file.constant(self.file.kind(np.iinfo(self.file.kind).max))]
            tensor.name = self.file.node("Clip", [tensor.name, *bounds])
        return tensor

    def conv(self, tensor, depthwise=False):
        rng = self.rng
        places = len(tensor.shape) - 2
        channels = tensor.shape[1]
        rows = 1 if places == 1 else tensor.shape[2]
        window = _window(rng, rows, tensor.shape[-1])
        if places == 1 and (window.kernel[0] > 1 or window.pads[0] or window.pads[2]):
            window = Window((1, window.kernel[1]), window.stride, (0, window.pads[1], 0, window.pads[3]))
        out = window.output(rows, tensor.shape[-1])
        groups = channels if depthwise else int(rng.choice([g for g in (1, 1, 1, 2, 4) if channels % g == 0]))
        outputs = channels * int(rng.integers(1, 3)) if depthwise else groups * int(rng.integers(1, max(2, 12 // groups)))
        top, left, bottom, right = window.pads
        attributes = {
            "group": groups,
            "strides": list(window.stride),
            "pads": [top, left, bottom, right],
            "kernel_shape": list(window.kernel),
        }
        kernel = window.kernel
        if places == 1:
            attributes |= {"strides": [window.stride[1]], "pads": [left, right], "kernel_shape": [kernel[1]]}
            kernel, out = kernel[1:], out[1:]
        if rng.random() < 0.2 and self.form != "float":
            attributes["auto_pad"] = str(rng.choice(["SAME_UPPER", "SAME_LOWER"]))
            del attributes["pads"]
            out = tuple(-(-size // stride) for size, stride in zip(tensor.shape[2:], attributes["strides"], strict=True))
        return self.linear(tensor, (1, outputs, *out), (outputs, channels // groups, *kernel), 0, "Conv", attributes)

    def max_pool(self, tensor):
        rng = self.rng
        places = len(tensor.shape) - 2
        window = _pool(rng, 1 if places == 1 else tensor.shape[2], tensor.shape[-1])
        out = window.output(1 if places == 1 else tensor.shape[2], tensor.shape[-1])
        top, left, bottom, right = window.pads
        attributes = {"kernel_shape": list(window.kernel), "strides": list(window.stride), "pads": [top, left, bottom, right]}
        if places == 1:
            attributes = {"kernel_shape": [window.kernel[1]], "strides": [window.stride[1]], "pads": [left, right]}
            out = out[1:]
        return self.moved(tensor, "MaxPool", (*tensor.shape[:2], *out), **attributes)

    def moved(self, tensor, op, shape, *more, **attributes):
        """What works on integers as on what they stand for."""
        file = self.file
        if self.form == "qdq" and self.rng.random() < 0.5:
            name = file.node(op, [file.dequantized(tensor), *more], **attributes)
            return file.quantized(name, shape, tensor.scale, tensor.point)
        return _Tensor(file.node(op, [tensor.name, *more], **attributes), shape, tensor.scale, tensor.point)

    def average_pool(self, tensor, whole=False):
        file = self.file
        places = len(tensor.shape) - 2
        kernel = [min(int(self.rng.integers(1, 4)), size) for size in tensor.shape[2:]]
        out = (1,) * places if whole else tuple(size // k for size, k in zip(tensor.shape[2:], kernel, strict=True))
        shape = (*tensor.shape[:2], *out)
        attributes = {} if whole else {"kernel_shape": kernel, "strides": kernel}
        op = "GlobalAveragePool" if whole else "AveragePool"
        scale, point = file.scale(float(tensor.scale) / self.rng.choice([1, 2, 4])), file.point()
        if self.form == "qoperator":
            made = _Tensor("", shape, scale, point)
            made.name = file.node(f"QLinear{op}", [tensor.name, *file.scaled(tensor), *file.scaled(made)], "com.microsoft", **attributes)
            return made
        return file.quantized(file.node(op, [file.dequantized(tensor)], **attributes), shape, scale, point)

    def unary(self, tensor):
        file = self.file
        op = str(self.rng.choice(UNARY))
        if self.form == "qoperator":
            op = str(self.rng.choice(["LeakyRelu", "Sigmoid"]))
            made = _Tensor("", tensor.shape, file.scale(0.008 if op == "Sigmoid" else tensor.scale), file.point())
            made.name = file.node(f"QLinear{op}", [tensor.name, *file.scaled(tensor), *file.scaled(made)], "com.microsoft")
            return made
        name = file.node(op, [file.dequantized(tensor)])
        bounded = op in ("Sigmoid", "Tanh", "HardSigmoid")
        return file.quantized(name, tensor.shape, file.scale(0.01 if bounded else tensor.scale), file.point())

    def add(self, first, second):
        """Two tensors of one shape and scale, or of scales in a ratio of a power of two."""
        file = self.file
        scale, point = file.scale(2 * first.scale), file.point()
        if self.form == "qoperator":
            made = _Tensor("", first.shape, scale, point)
            given = [first.name, *file.scaled(first), second.name, *file.scaled(second), *file.scaled(made)]
            made.name = file.node("QLinearAdd", given, "com.microsoft")
            return made
        name = file.node("Add", [file.dequantized(first), file.dequantized(second)])
        return file.quantized(self.activated(name), first.shape, scale, point)

    def same_scale(self, tensor, other):
        """The tensor quantized once more, with the scale of the other one times a power of two."""
        if self.form == "float":
            return tensor
        scale = np.float32(other.scale * 2.0 ** self.rng.integers(-1, 2))
        name = self.file.node("DequantizeLinear", [tensor.name, *self.file.scaled(tensor)])
        return self.file.quantized_always(name, tensor.shape, scale, self.file.point())

    def residual(self, tensor):
        """x + f(x), f a convolution that keeps the shape."""
        channels = tensor.shape[1]
        places = len(tensor.shape) - 2
        attributes = {"group": 1, "kernel_shape": [3] * places, "pads": [1] * (2 * places), "strides": [1] * places}
        made = self.linear(tensor, tensor.shape, (channels, channels, *[3] * places), 0, "Conv", attributes, relu=False)
        return self.add(tensor, self.same_scale(made, tensor))

    def dense(self, tensor, outputs, relu=True):
        inputs = tensor.shape[1]
        kind = self.rng.random()
        if kind < 0.3:
            return self.linear(tensor, (1, outputs), (inputs, outputs), 1, "MatMul", {}, relu)
        if kind < 0.6:
            return self.linear(tensor, (1, outputs), (inputs, outputs), 1, "Gemm", {}, relu)
        return self.linear(tensor, (1, outputs), (outputs, inputs), 0, "Gemm", {"transB": 1}, relu)

    def flat(self, tensor):
        size = math.prod(tensor.shape)
        if self.rng.random() < 0.5:
            return self.moved(tensor, "Flatten", (1, size))
        if self.rng.random() < 0.5 and len(tensor.shape) == 4:
            order = [0, 2, 3, 1]
            tensor = self.moved(tensor, "Transpose", tuple(tensor.shape[axis] for axis in order), perm=order)
        return self.moved(tensor, "Reshape", (1, size), self.file.constant(np.array([1, -1], np.int64)))


def random_onnx(rng: np.random.Generator, form: str | None = None, opset: int = 17) -> bytes:
    """A model file: "float", "qdq" or "qoperator"; its input float32 but for "qoperator", where it may be integers."""
    form = form or str(rng.choice(["qdq", "qoperator"]))
    signed = bool(rng.integers(2))
    made = _Random(rng, form, signed)
    file = made.file
    kind = rng.integers(4)
    channels = int(rng.choice([1, 1, 2, 3, 4]))
    if kind == 0:
        shape = (1, int(rng.integers(2, 65)))
    elif kind == 1:
        shape = (1, channels, int(rng.integers(4, 40)))
    else:
        shape = (1, channels, int(rng.integers(3, 13)), int(rng.integers(3, 13)))
    floats = form != "qoperator" or rng.random() < 0.5
    scale, point = file.scale(0.03), file.point()
    if form == "float":
        tensor = _Tensor("input", shape, np.float32(1), np.int8(0))
    elif floats:
        tensor = file.quantized_always("input", shape, scale, point)
    else:
        tensor = _Tensor("input", shape, scale, point)
    for _ in range(int(rng.integers(1, 6))):
        what = rng.random()
        if len(tensor.shape) == 2:
            tensor = made.dense(tensor, int(rng.integers(1, 33))) if what < 0.7 else made.unary(tensor)
        elif what < 0.4:
            tensor = made.conv(tensor)
        elif what < 0.5:
            tensor = made.conv(tensor, depthwise=True)
        elif what < 0.65:
            tensor = made.max_pool(tensor)
        elif what < 0.72:
            tensor = made.average_pool(tensor)
        elif what < 0.85:
            tensor = made.unary(tensor)
        elif tensor.name != "input":
            tensor = made.residual(tensor)
    if len(tensor.shape) > 2:
        if rng.random() < 0.3:
            tensor = made.average_pool(tensor, whole=True)
        tensor = made.flat(tensor)
    tensor = made.dense(tensor, int(rng.integers(2, 9)), relu=False)
    name = tensor.name
    if form == "qdq" or (form == "qoperator" and rng.random() < 0.5):
        name = file.node("DequantizeLinear", [name, *file.scaled(tensor)])
        if rng.random() < 0.3:
            name = file.node("Softmax", [name], axis=-1)
    integer = form == "qoperator" and name == tensor.name
    kinds = {True: TensorProto.INT8, False: TensorProto.UINT8}
    inputs = [helper.make_tensor_value_info("input", TensorProto.FLOAT if floats else kinds[signed], ["n", *shape[1:]])]
    outputs = [helper.make_tensor_value_info(name, kinds[signed] if integer else TensorProto.FLOAT, ["n", tensor.shape[1]])]
    graph = helper.make_graph(file.nodes, "random", inputs, outputs, file.constants)
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()
