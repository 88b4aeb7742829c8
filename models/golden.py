"""The canonical file of each model, and golden vectors: what onnxruntime makes of stored inputs with it. Needs no PyTorch.

    python -m models.golden

The canonical file is kept because quantizing looks at numbers in floating point, which another processor may round otherwise.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from models.common.scores import load_inputs
from numpy.typing import NDArray

from reflexarc.compiler.frontend import Prepared, prepare

MODELS = ("adatoms", "tip_change", "domain_wall", "burst")
ROOT = Path(__file__).parent
HELD_OUT, RANDOM = 48, 16  # vectors


def outputs(canonical: Prepared, stored: NDArray[np.int8]) -> NDArray[np.int8]:
    """Of stored inputs [n, channels, rows, records] the stored outputs [n, outputs]."""
    found = canonical.run((stored.astype(np.int64) + 128).astype(np.uint8))
    return (found.astype(np.int64) - 128).astype(np.int8)


def make(folder: Path) -> None:
    prepared = prepare(folder / "model.onnx", folder / "calibration.npz")
    (folder / "model.canonical.onnx").write_bytes(prepared.canonical_bytes)
    canonical = prepare(folder / "model.canonical.onnx")
    inputs, _ = load_inputs(folder / "held_out.npz")
    random = np.random.default_rng(1)
    chosen = prepared.stored(inputs[np.sort(random.permutation(len(inputs))[:HELD_OUT])])
    x = np.concatenate([chosen, random.integers(-128, 128, (RANDOM, *chosen.shape[1:])).astype(np.int8)])
    np.savez_compressed(folder / "golden.npz", x=x, y=outputs(canonical, x))
    print(f"{folder.name}: {len(x)} vectors")


if __name__ == "__main__":
    for name in sys.argv[1:] or MODELS:
        make(ROOT / name)
