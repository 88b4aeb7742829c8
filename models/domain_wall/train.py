"""Trains the detector of domain walls. Some three minutes on one core.

python -m models.domain_wall.train
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from models.common import network
from models.common.scores import save_inputs
from models.common.views import windows
from models.domain_wall import measure
from models.domain_wall.lines import CENTER, CLIP, GLITCH, HOP, LABELS, MARGIN, MIDDLE, RECORDS, UNIT_V, WALL, PhaseLines, as_input, draw
from numpy.typing import NDArray
from torch import nn

FOLDER = Path(__file__).parent
LINES, HELD_OUT_LINES = 6000, 150
EPOCHS = 24
METADATA = {
    "labels": LABELS,
    "view": {
        "source": "pixel",
        "channels": ["monitor"],
        "units": [UNIT_V],
        "rows": 1,
        "records": RECORDS,
        "hop": HOP,
        "line_mean": False,
        "center": CENTER,
    },
    "head": {"eventful": ["wall"], "least_margin": MARGIN, "radius": 0},
}
Float32 = NDArray[np.float32]


def new_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 8, (1, 5), padding=(0, 2)), nn.ReLU(),
        nn.Conv2d(8, 16, (1, 5), stride=(1, 2), padding=(0, 2)), nn.ReLU(),
        nn.Conv2d(16, 16, (1, 3), stride=(1, 2), padding=(0, 1)), nn.ReLU(),
        nn.Flatten(), nn.Linear(144, 16), nn.ReLU(), nn.Linear(16, len(LABELS)),
    )  # fmt: skip


def pick(lines: PhaseLines, random: np.random.Generator, share: float) -> tuple[Float32, NDArray[np.bool_]]:
    """All windows with a wall in the middle, many with a glitch or near a wall, and a share of the rest."""
    seen = windows(as_input(lines.phase_deg), 1, RECORDS)
    may = lines.allowed
    chance = np.full(may.shape[:2], share)
    place = np.arange(may.shape[1])[None] + MIDDLE
    for k, walls in enumerate(lines.walls):
        for wall in walls:
            chance[k, np.abs(place[0] - wall) < 6] = 5 * share
    chance[may[..., GLITCH]] = 4 * share
    chance[may[..., WALL]] = 10 * share
    taken = random.random(chance.shape) < chance
    return seen[taken][:, None], may[taken]


def augment(x: Float32, random: np.random.Generator) -> Float32:
    """Another offset, or the other sign."""
    count = len(x)
    x = x * random.choice([-1.0, 1.0], (count, 1, 1, 1)).astype(np.float32)
    x = x + random.uniform(-0.5, 0.5, (count, 1, 1, 1)).astype(np.float32)
    return np.clip(x, -CLIP, CLIP)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(1)
    random = np.random.default_rng(1)
    inputs, allowed = pick(draw(LINES, 1), random, 0.1)
    model = new_network()
    print(f"{len(inputs)} windows, {network.multiplications(model, (1, 1, RECORDS))} multiplications", flush=True)
    network.train(model, inputs, allowed, epochs=EPOCHS, augment=augment, rate=4e-3)
    network.save(model, (1, 1, RECORDS), FOLDER / "model.onnx", METADATA)

    step = CLIP / 127
    order = random.permutation(len(inputs))[:4000]
    greatest = np.abs(network.outputs(model, inputs[order])).max(axis=1).argsort()
    calibration = inputs[order[np.concatenate([greatest[::10], greatest[-20:]])]]
    np.savez_compressed(FOLDER / "calibration.npz", x=(np.round(calibration / step) * step).astype(np.float32))
    held_out, may = pick(draw(HELD_OUT_LINES, 2), random, 0.05)
    save_inputs(FOLDER / "held_out.npz", held_out, step, allowed=may)
    measure.main()


if __name__ == "__main__":
    main()
