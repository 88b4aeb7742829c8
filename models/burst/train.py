"""Trains the classifier of bursts. Some five minutes on one core.

python -m models.burst.train
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from models.burst import measure
from models.burst.bursts import CLIP, LABELS, MARGIN, SAMPLES, UNIT_A, as_input, draw
from models.common import network
from models.common.scores import save_inputs
from numpy.typing import NDArray
from torch import nn

FOLDER = Path(__file__).parent
BURSTS, HELD_OUT = 120_000, 2000
EPOCHS = 60
METADATA = {
    "labels": LABELS,
    "view": {
        "source": "sample",
        "channels": ["current"],
        "units": [UNIT_A],
        "rows": 1,
        "records": SAMPLES,
        "hop": SAMPLES,
        "line_mean": False,
    },
    "head": {"eventful": ["telegraph", "contact"], "least_margin": MARGIN, "radius": 0},
}


def new_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(SAMPLES, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, len(LABELS))
    )  # fmt: skip


def augment(x: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """The other polarity, and another gain."""
    count = len(x)
    x = x * (random.choice([-1.0, 1.0], (count, 1, 1, 1)) * random.uniform(0.9, 1.1, (count, 1, 1, 1))).astype(np.float32)
    return np.clip(x, -CLIP, CLIP)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(1)
    bursts = draw(BURSTS, 1)
    inputs = as_input(bursts.current_A)
    model = new_network()
    print(f"{len(inputs)} bursts, {network.multiplications(model, (1, 1, SAMPLES))} multiplications", flush=True)
    network.train(model, inputs, bursts.allowed, epochs=EPOCHS, augment=augment, rate=4e-3)
    network.save(model, (1, 1, SAMPLES), FOLDER / "model.onnx", METADATA)

    step = CLIP / 127
    np.savez_compressed(FOLDER / "calibration.npz", x=(np.round(inputs[:500] / step) * step).astype(np.float32))
    held_out = draw(HELD_OUT, 2)
    save_inputs(FOLDER / "held_out.npz", as_input(held_out.current_A), step, allowed=held_out.allowed)
    measure.main()


if __name__ == "__main__":
    main()
