"""Networks of well-known size on the compiled engine and in onnxruntime on this computer, side by side."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reflexarc.compiler.compile import compile_network
from reflexarc.compiler.deploy import BOARDS
from reflexarc.compiler.frontend import Prepared, prepare
from reflexarc.compiler.network import Head, View
from reflexarc.compiler.runtime import Session
from reflexarc.contract.model import OUTPUTS, THRESHOLDS, ViewSource
from reflexarc.contract.packets import Channel
from reflexarc.errors import ReflexArcError
from reflexarc.experiments.deploy import rtl

SEED = 1
CALIBRATED = 64  # inputs
WINDOWS = 8  # through RTL: the cycles of each must be the same
WARM, TIMED = 500, 20_000  # runs of onnxruntime
LANES = (4, 8)  # 64 and 128 products a cycle
CLOCK_HZ = 100e6

# Layers: ("conv", outputs, kernel, stride, pad), ("pool", side), ("dense", outputs); each but the last one is followed by a ReLU.
Step = tuple[str, int] | tuple[str, int, tuple[int, int], tuple[int, int], tuple[int, int]]
NETWORKS: dict[str, tuple[tuple[int, int, int], tuple[Step, ...]]] = {
    "MLP 64-32-16-3": ((1, 1, 64), (("dense", 32), ("dense", 16), ("dense", 3))),
    "1-D CNN on 128 samples": (
        (1, 1, 128),
        (("conv", 8, (1, 7), (1, 2), (0, 3)), ("pool", 2), ("conv", 16, (1, 5), (1, 1), (0, 2)), ("pool", 4), ("dense", 4)),
    ),
    "CNN on 32 x 32 pixels": ((1, 32, 32), (("conv", 8, (3, 3), (2, 2), (1, 1)), ("pool", 4), ("dense", 32), ("dense", 4))),
    "CNN on 32 x 32 pixels, large": (
        (1, 32, 32),
        (
            ("conv", 8, (3, 3), (2, 2), (1, 1)),
            ("pool", 2),
            ("conv", 16, (3, 3), (1, 1), (1, 1)),
            ("pool", 2),
            ("dense", 128),
            ("dense", 8),
        ),
    ),
}


@dataclass(frozen=True)
class Row:
    """A network on an engine. ``cycles`` with all inputs there, ``after_last`` of those the ones after the last input; the same each time."""

    network: str
    products: int
    products_a_cycle: int
    cycles: int
    after_last: int
    us: float
    us_after_last: float
    onnxruntime_median_us: float
    onnxruntime_p99_us: float
    onnxruntime_p999_us: float
    boards: tuple[str, ...]


def float_model(shape: tuple[int, int, int], steps: Sequence[Step], random: np.random.Generator) -> tuple[bytes, int]:
    """ONNX of a network with random weights, and its number of products."""
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    constants: list[Any] = []
    size, last, products = shape, "x", 0

    def add(op: str, *more: str, **attributes: Any) -> None:
        nonlocal last
        nodes.append(helper.make_node(op, [last, *more], [f"v{len(nodes)}"], name=f"{op.lower()}_{len(nodes)}", **attributes))
        last = f"v{len(nodes) - 1}"

    def constant(*dims: int) -> str:
        fan_in = int(np.prod(dims[1:])) or 1
        name = f"c{len(constants)}"
        constants.append(numpy_helper.from_array(random.normal(0, fan_in**-0.5, dims).astype(np.float32), name))
        return name

    for number, step in enumerate(steps):
        if step[0] == "conv":
            _, outputs, kernel, stride, pad = step  # type: ignore[misc]
            add("Conv", constant(outputs, size[0], *kernel), constant(outputs), kernel_shape=kernel, strides=stride, pads=[*pad, *pad])
            rows, columns = ((size[1 + axis] + 2 * pad[axis] - kernel[axis]) // stride[axis] + 1 for axis in range(2))
            products += outputs * size[0] * kernel[0] * kernel[1] * rows * columns
            size = (outputs, rows, columns)
        elif step[0] == "pool":
            side = (min(step[1], size[1]), step[1])
            add("MaxPool", kernel_shape=side, strides=side)
            size = (size[0], size[1] // side[0], size[2] // side[1])
            continue
        else:
            if size[1:] != (1, 1) or number == 0:
                add("Flatten")
            inputs = size[0] * size[1] * size[2]
            add("Gemm", constant(step[1], inputs), constant(step[1]), transB=1)
            products += inputs * step[1]
            size = (step[1], 1, 1)
        if number < len(steps) - 1:
            add("Relu")
    graph = helper.make_graph(
        nodes,
        "bench",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *shape])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, size[0]])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString(), products


def onnxruntime_us(prepared: Prepared, inputs: np.ndarray) -> tuple[float, float, float]:
    """Median, 99 % and 99.9 % of the canonical model's time for one input, one thread, all optimizations; in microseconds."""
    session = Session(prepared.canonical_bytes, optimized=True)
    values = prepared.integers(inputs[:1])
    taken = np.empty(TIMED)
    for number in range(-WARM, TIMED):
        begun = time.perf_counter_ns()
        session.run(values)
        if number >= 0:
            taken[number] = time.perf_counter_ns() - begun
    median, p99, p999 = np.percentile(taken, (50, 99, 99.9)) / 1e3
    return float(median), float(p99), float(p999)


def measure_detectors() -> list[dict[str, object]]:
    """All networks at 64 and 128 products a cycle. ReflexArcError where RTL takes other cycles than predicted, or not always the same."""
    found: list[dict[str, object]] = []
    random = np.random.default_rng(SEED)
    for name, (shape, steps) in NETWORKS.items():
        content, products = float_model(shape, steps, random)
        inputs = random.normal(0, 1, (CALIBRATED, *shape)).astype(np.float32)
        with tempfile.TemporaryDirectory(prefix="reflexarc-") as folder:
            path = Path(folder) / "bench.onnx"
            path.write_bytes(content)
            prepared = prepare(path, inputs)
        median, p99, p999 = onnxruntime_us(prepared, inputs)
        rising = np.arange(-THRESHOLDS // 2, THRESHOLDS // 2, dtype=np.int32)[None, :THRESHOLDS]
        view = View(ViewSource.PROGRAM, (Channel.CURRENT,), shape[1], shape[2], shape[2], rising)
        head = Head(prepared.network.shapes[prepared.network.output].size)
        windows = random.integers(-128, 128, (WINDOWS, shape[1] * shape[2]), dtype=np.int8)
        for lanes in LANES:
            compiled = compile_network(prepared.network, view, head, lanes, 1)
            _, cycles, after = rtl(compiled.words, windows)
            if {int(value) for value in cycles} != {compiled.cycles.total} or {int(value) for value in after} != {compiled.cycles.after}:
                raise ReflexArcError(
                    f"{name} at {OUTPUTS * lanes} products a cycle: {set(cycles)} and {set(after)} cycles, not as predicted"
                )
            total, last = compiled.cycles.total, compiled.cycles.after
            boards = tuple(board for board, (_, most) in BOARDS.items() if most >= lanes)
            row = Row(
                name, products, OUTPUTS * lanes, total, last, total / CLOCK_HZ * 1e6, last / CLOCK_HZ * 1e6, median, p99, p999, boards
            )  # fmt: skip
            found.append(asdict(row))
    return found
