"""What a file says: in floating point as it is, and in eight bits as ``deploy`` makes it, many inputs at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper

from reflexarc.compiler.frontend import Prepared, prepare

Float32 = NDArray[np.float32]


class InFloat:
    """The file itself."""

    def __init__(self, path: Path) -> None:
        self._session = _session(path.read_bytes())

    def run(self, inputs: Float32, batch: int = 4096) -> Float32:
        parts = [self._session.run(None, {"x": inputs[k : k + batch]})[0] for k in range(0, len(inputs), batch)]
        return np.concatenate(parts)


class InEightBits:
    """The canonical model. Outputs are numbers again: scale times what the integers are above the zero point."""

    def __init__(self, folder: Path) -> None:
        self.prepared: Prepared = prepare(folder / "model.onnx", folder / "calibration.npz")
        self._session = _session(_any_batch(self.prepared.canonical_bytes))
        self._name = self._session.get_inputs()[0].name

    def run(self, inputs: Float32, batch: int = 4096) -> Float32:
        output = self.prepared.canonical.output
        assert output is not None
        parts = []
        for k in range(0, len(inputs), batch):
            found = self._session.run(None, {self._name: self.prepared.integers(inputs[k : k + batch])})[0]
            parts.append((found.astype(np.int32) - output.unsigned_zero_point) * np.float32(output.scale))
        return np.concatenate(parts).astype(np.float32)


def _session(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _any_batch(content: bytes) -> bytes:
    """The same model for any number of inputs at once: deploying fixes it to one."""
    model = onnx.load_from_string(content)
    shapes = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    for constant in model.graph.initializer:
        if constant.name in shapes:
            values = numpy_helper.to_array(constant).copy()
            assert values[0] == 1
            values[0] = -1
            constant.CopyFrom(numpy_helper.from_array(values, constant.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    del model.graph.value_info[:]
    return model.SerializeToString()
