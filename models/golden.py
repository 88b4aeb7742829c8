"""Golden vectors of each model: what onnxruntime makes of stored inputs with the canonical file. Needs no PyTorch.

python -m models.golden
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
from models.common.scores import load_inputs

from reflexarc.compiler.frontend import Prepared, prepare

MODELS = ("adatoms", "tip_change", "domain_wall", "burst")
ROOT = Path(__file__).parent
HELD_OUT, RANDOM = 48, 16  # vectors


def outputs(prepared: Prepared, stored: np.ndarray) -> np.ndarray:
    """Of stored inputs, int8 [n, channels, rows, records], the stored outputs, int8 [n, outputs]."""
    step = prepared.canonical.input
    assert step is not None
    values = (stored.astype(np.int64) + 128 - step.unsigned_zero_point) * np.float32(step.scale)
    assert np.array_equal(prepared.stored(values.astype(np.float32)), stored), "an input that is stored is another one after a conversion"
    return (prepared.run(values.astype(np.float32)).astype(np.int64) - 128).astype(np.int8)


def make(folder: Path) -> None:
    prepared = prepare(folder / "model.onnx", folder / "calibration.npz")
    inputs, _ = load_inputs(folder / "held_out.npz")
    random = np.random.default_rng(1)
    chosen = prepared.stored(inputs[np.sort(random.permutation(len(inputs))[:HELD_OUT])])
    x = np.concatenate([chosen, random.integers(-128, 128, (RANDOM, *chosen.shape[1:])).astype(np.int8)])
    digest = hashlib.sha256(prepared.canonical_bytes).hexdigest()
    np.savez_compressed(folder / "golden.npz", x=x, y=outputs(prepared, x), sha256=np.array(digest))
    print(f"{folder.name}: {len(x)} vectors of {digest[:16]}")


if __name__ == "__main__":
    for name in sys.argv[1:] or MODELS:
        make(ROOT / name)
