"""onnxruntime, always in the same way: one thread, silent, on the CPU, exact where the processor would saturate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reflexarc.compiler.graph import Array
from reflexarc.compiler.refusal import refuse


def runtime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        refuse("models are run with the package onnxruntime, which is not installed", "install reflexarc with its extra 'models'")
    return onnxruntime


class Session:
    """A model, ready to run. ``optimized``: with all of onnxruntime's graph optimizations, as applications have it, or none."""

    def __init__(self, content: bytes, optimized: bool = False) -> None:
        library = runtime()
        options = library.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # fatal only: what is wrong comes as an exception
        levels = library.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
        # Sums of pairs of products saturate to 16 bits on x86 without VNNI where weights are int8; this has them 7 bits or exact.
        options.add_session_config_entry("session.x64quantprecision", "1")
        self._session = library.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self.input: str = self._session.get_inputs()[0].name
        self.outputs: list[str] = [output.name for output in self._session.get_outputs()]

    def run(self, values: Array, names: Sequence[str] | None = None) -> list[Array]:
        """Outputs, for one input [1, ...]."""
        return [np.asarray(found) for found in self._session.run(names, {self.input: values})]

    def run_each(self, values: Array) -> Array:
        """The first output for each of [n, ...] inputs, [n, ...]: models here have a batch of 1."""
        return np.concatenate([self.run(values[number : number + 1])[0] for number in range(len(values))])


def evaluate(op: str, inputs: Sequence[Array], attributes: Mapping[str, Any] | None = None, domain: str = "", kind: Any = None) -> Array:
    """What onnxruntime makes of one node. ``inputs`` behind the first that are numbers become constants."""
    from onnx import helper, numpy_helper

    from reflexarc.compiler.graph import IR_VERSION, MICROSOFT, OPSET

    shape = inputs[0].shape
    inputs = [inputs[0].reshape(shape or (1,)), *inputs[1:]]
    names = [f"x{number}" for number in range(len(inputs))]
    given = {name: value for name, value in zip(names, inputs, strict=True) if value.ndim > 0 or name == names[0]}
    constants = [numpy_helper.from_array(value, name) for name, value in zip(names, inputs, strict=True) if name not in given]
    encoded = {key: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value for key, value in (attributes or {}).items()}
    node = helper.make_node(op, names, ["y"], domain=domain, **encoded)
    graph = helper.make_graph(
        [node],
        "node",
        [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape) for name, value in given.items()],
        [helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(np.dtype(kind or np.float32)), None)],
        constants,
    )
    imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)
    session = Session(model.SerializeToString())
    made = np.asarray(session._session.run(None, given)[0])
    return made if shape else made.reshape(shape)
