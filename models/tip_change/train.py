"""Trains the detector of tip changes, three members in one network. Some ten minutes on one core.

python -m models.tip_change.train
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from models.common import network
from models.common.scores import save_inputs
from models.tip_change import measure
from models.tip_change.lines import CHANGED, CLIP, LABELS, MARGIN, MEMBERS, PIXELS, ROWS, SAME, UNIT_M, joined, random_lines
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

FOLDER = Path(__file__).parent
SEEDS, HELD_OUT_SEEDS = range(10_001, 10_281), range(14_001, 14_007)
EPOCHS = 60
METADATA = {
    "labels": LABELS,
    "view": {
        "source": "pixel",
        "channels": ["z"],
        "units": [UNIT_M],
        "rows": ROWS,
        "records": PIXELS,
        "hop": PIXELS,
        "line_mean": True,
    },
    "head": {"members": MEMBERS, "eventful": ["changed"], "least_margin": MARGIN, "disagreement": True, "radius": 0},
}


def new_network() -> nn.Sequential:
    """Members are groups: none sees what another one makes."""
    m = MEMBERS
    return nn.Sequential(
        nn.Conv2d(1, 8 * m, (2, 5), stride=(1, 2), padding=(0, 2)), nn.ReLU(),
        nn.Conv2d(8 * m, 16 * m, (1, 5), stride=(1, 2), padding=(0, 2), groups=m), nn.ReLU(),
        nn.Conv2d(16 * m, 16 * m, (1, 5), stride=(1, 2), padding=(0, 2), groups=m), nn.ReLU(),
        nn.MaxPool2d((1, 4), (1, 4)),
        nn.Conv2d(16 * m, len(LABELS) * m, (1, 4), groups=m), nn.Flatten(),
    )  # fmt: skip


def augment(x: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Upside down, another height's calibration, more noise."""
    count = len(x)
    x = x * (random.choice([-1.0, 1.0], (count, 1, 1, 1)) * random.uniform(0.8, 1.2, (count, 1, 1, 1))).astype(np.float32)
    x = x + (random.normal(0, 1, x.shape) * random.uniform(0, 0.05, (count, 1, 1, 1))).astype(np.float32)
    return np.clip(x, -CLIP, CLIP)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(1)
    random = np.random.default_rng(1)
    lines = joined([random_lines(seed) for seed in tqdm(SEEDS, "frames")])
    inputs, allowed = lines.inputs, lines.allowed
    # As many of either class, for one line in six has a change.
    sure = allowed[:, CHANGED] & ~allowed[:, SAME]
    chosen = np.concatenate([np.flatnonzero(sure)] * 3 + [np.flatnonzero(~sure)])
    inputs, allowed = inputs[chosen], allowed[chosen]
    model = new_network()
    print(f"{len(inputs)} lines, {network.multiplications(model, (1, ROWS, PIXELS))} multiplications", flush=True)
    network.train(model, inputs, allowed, members=MEMBERS, bootstrap=True, epochs=EPOCHS, augment=augment, rate=4e-3)
    network.save(model, (1, ROWS, PIXELS), FOLDER / "model.onnx", METADATA)

    step = CLIP / 127
    order = random.permutation(len(inputs))[:200]
    np.savez_compressed(FOLDER / "calibration.npz", x=(np.round(inputs[order] / step) * step).astype(np.float32))
    held_out = joined([random_lines(seed) for seed in HELD_OUT_SEEDS])
    kept = np.flatnonzero(held_out.allowed.sum(axis=1) == 1)
    kept = np.concatenate([kept[held_out.allowed[kept, k]][:250] for k in (CHANGED, SAME)])
    save_inputs(FOLDER / "held_out.npz", held_out.inputs[kept], step, allowed=held_out.allowed[kept])
    measure.main()


if __name__ == "__main__":
    main()
