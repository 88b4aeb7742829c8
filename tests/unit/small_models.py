"""Models in floats that take a second to deploy, and inputs to calibrate them with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

LABELS = ["clean", "adatom", "step"]
WINDOW = {"source": "pixel", "channels": ["z"], "units": [1e-10], "line_mean": True, "center": [3, 3]}
HEAD = {"eventful": ["adatom"], "least_margin": 0.25, "radius": 2}


def save_model(
    path: Path,
    shape: tuple[int, ...] = (1, 7, 7),
    *,
    view: dict[str, Any] | None = WINDOW,
    head: dict[str, Any] | None = HEAD,
    labels: list[str] | None = LABELS,
    channels: int = 4,
    outputs: int = 3,
    last: str = "",
    hidden: str = "Relu",
    seed: int = 1,
) -> Path:
    """Conv, ``hidden``, Flatten, Gemm and, if it is asked for, ``last``. With ``shape`` [values] a Gemm stands in place of the Conv."""
    rng = np.random.default_rng(seed)
    nodes, weights = [], {}

    def weight(name: str, *sizes: int) -> str:
        weights[name] = (rng.standard_normal(sizes) / np.sqrt(max(1, np.prod(sizes[1:])))).astype(np.float32)
        return name

    if len(shape) == 1:
        inner = channels
        nodes.append(helper.make_node("Gemm", ["x", weight("w0", channels, shape[0]), weight("b0", channels)], ["a"], "gemm0", transB=1))
    else:
        kernel = [min(3, size) for size in shape[1:]]
        pads = [size // 2 for size in kernel] * 2
        inner = channels * int(np.prod(shape[1:]))
        nodes.append(
            helper.make_node(
                "Conv",
                ["x", weight("w0", channels, shape[0], *kernel), weight("b0", channels)],
                ["a"],
                "conv0",
                kernel_shape=kernel,
                pads=pads,
            )
        )
    nodes.append(helper.make_node(hidden, ["a"], ["b"], "hidden"))
    nodes.append(helper.make_node("Flatten", ["b"], ["c"], "flatten"))
    made = "y" if not last else "d"
    nodes.append(helper.make_node("Gemm", ["c", weight("w1", outputs, inner), weight("b1", outputs)], [made], "gemm1", transB=1))
    if last:
        nodes.append(helper.make_node(last, ["d"], ["y"], "last"))
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", outputs])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    said = {"view": view, "head": head, "labels": labels}
    helper.set_model_props(model, {key: json.dumps(value) for key, value in said.items() if value is not None})
    onnx.save(model, str(path))
    return path


def inputs(shape: tuple[int, ...] = (1, 7, 7), count: int = 50, seed: int = 2) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_normal((count, *shape)) * 2).astype(np.float32)


def save_calibration(path: Path, shape: tuple[int, ...] = (1, 7, 7), *, labels: bool = False) -> Path:
    values = inputs(shape)
    more = {"labels": np.arange(len(values)) % 3} if labels else {}
    np.savez(path, x=values, **more)
    return path
