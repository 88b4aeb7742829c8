"""A model that onnxruntime is to run as it is in its file, tried apart: in a process with little memory and time.

python -m reflexarc.compiler.trial < model.onnx
"""

from __future__ import annotations

import functools
import json
import math
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

import numpy as np

from reflexarc.compiler.refusal import one_line
from reflexarc.contract.model import OUTPUTS_MAX
from reflexarc.errors import BadInput

MEMORY_MAX = 4 << 30  # bytes of address space, libraries included
TIME_MAX_S = 30.0
RUNS = 5


@dataclass(frozen=True)
class Trial:
    """``median_s``: of an evaluation, on this machine."""

    outputs: int
    median_s: float


@functools.lru_cache(maxsize=4)
def try_model(content: bytes) -> Trial:
    """BadInput with onnxruntime's own line for what it does not run, or not with so little."""
    command = [sys.executable, "-m", "reflexarc.compiler.trial"]
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=TIME_MAX_S, check=False)
    except subprocess.TimeoutExpired:
        raise BadInput(f"onnxruntime does not come to an end with the model within {TIME_MAX_S:g} s") from None
    lines = done.stdout.decode(errors="replace").strip().splitlines()
    try:
        found = json.loads(lines[-1])
    except (IndexError, ValueError):
        raise BadInput(
            f"onnxruntime ends with {done.returncode} on the model; it needs more than {MEMORY_MAX >> 30} GiB, or is broken"
        ) from None
    if "error" in found:
        raise BadInput(one_line(f"onnxruntime does not run the model: {found['error']}"))
    return Trial(int(found["outputs"]), float(found["median_s"]))


def _tried(content: bytes) -> Trial:
    from reflexarc.compiler.load import parse
    from reflexarc.compiler.runtime import Session

    model = parse(content)
    session = Session(content, optimized=True)
    values = np.zeros(model.input_shape, model.input_type)
    spent = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        (output,) = session.run(values)
        spent.append(time.perf_counter() - begun)
    if not 1 <= output.size <= OUTPUTS_MAX or math.prod(output.shape[:1]) != 1:
        raise BadInput(f"its output has the shape {list(output.shape)}; accepted: [1, classes], up to {OUTPUTS_MAX}")
    return Trial(output.size, float(np.median(spent)))


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
    resource.setrlimit(resource.RLIMIT_CPU, (int(TIME_MAX_S), int(TIME_MAX_S)))
    try:
        print(json.dumps(asdict(_tried(sys.stdin.buffer.read()))))
    except Exception as error:  # whatever onnxruntime raises is its line about the model
        print(json.dumps({"error": str(error) or type(error).__name__}))


if __name__ == "__main__":
    main()
