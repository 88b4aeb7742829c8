"""Trains the detector of adatoms: scenes, windows, two rounds with what the first one gets wrong. Some ten minutes on one core.

python -m models.adatoms.train
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from models.adatoms import measure
from models.adatoms.scenes import ADATOM, CENTER, CLIP, LABELS, MARGIN, MIDDLE, RADIUS, SIDE, STEP, UNIT_M, VACANCY, Scene, random_scene
from models.common import network
from models.common.scores import save_inputs
from models.common.views import windows
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

FOLDER = Path(__file__).parent
SEEDS = range(1, 181)
HELD_OUT_SEEDS = range(4001, 4013)
EPOCHS = 12  # of each of two rounds
METADATA = {
    "labels": LABELS,
    "view": {
        "source": "pixel",
        "channels": ["z"],
        "units": [UNIT_M],
        "rows": SIDE,
        "records": SIDE,
        "hop": 1,
        "line_mean": True,
        "center": CENTER,
    },
    "head": {"eventful": ["adatom"], "least_margin": MARGIN, "radius": RADIUS},
}
Float32 = NDArray[np.float32]


def new_network() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, 16), nn.ReLU(), nn.Linear(16, len(LABELS)),
    )  # fmt: skip


def pick(scenes: list[Scene], random: np.random.Generator, share: float, features: float = 1.0) -> tuple[Float32, NDArray[np.bool_]]:
    """A part of the windows with a feature in the middle, many of those near one or on a step, and a share of the rest."""
    inputs, allowed = [], []
    line, pixel = np.mgrid[MIDDLE : 128 - MIDDLE, MIDDLE : 128 - MIDDLE]
    for scene in scenes:
        for direction in range(2):
            may = scene.allowed[direction, MIDDLE:-MIDDLE, MIDDLE:-MIDDLE]
            chance = np.full(line.shape, share)
            chance[may[..., STEP]] = 3 * share
            for at, column in np.concatenate(list(scene.places[direction].values())):
                chance[np.hypot(line - at, pixel - column) < 7] = 17 * share
            chance[may[..., ADATOM] | may[..., VACANCY]] = features
            taken = random.random(chance.shape) < chance
            inputs.append(windows(scene.image[direction], SIDE, SIDE)[taken])
            allowed.append(may[taken])
    return np.concatenate(inputs)[:, None], np.concatenate(allowed)


def wrong(model: nn.Sequential, scenes: list[Scene]) -> tuple[Float32, NDArray[np.bool_]]:
    """All windows of which the wrong thing is said."""
    inputs, allowed = [], []
    for scene in scenes:
        for direction in range(2):
            seen = windows(scene.image[direction], SIDE, SIDE).reshape(-1, SIDE, SIDE)
            may = scene.allowed[direction, MIDDLE:-MIDDLE, MIDDLE:-MIDDLE].reshape(-1, len(LABELS))
            said = network.outputs(model, seen[:, None]).argmax(axis=1)
            bad = ~may[np.arange(len(said)), said]
            inputs.append(seen[bad])
            allowed.append(may[bad])
    return np.concatenate(inputs)[:, None], np.concatenate(allowed)


def augment(x: Float32, random: np.random.Generator) -> Float32:
    """Lines the other way round, heights of another calibration, more noise of pixels and of lines, scars."""
    count = len(x)
    x = x.copy()
    turned = random.random(count) < 0.5
    x[turned] = x[turned, :, ::-1]
    x *= random.uniform(0.85, 1.15, (count, 1, 1, 1))
    x += random.normal(0, 1, x.shape) * random.uniform(0, 0.06, (count, 1, 1, 1))
    x += random.normal(0, 1, (count, 1, SIDE, 1)) * np.where(
        random.random((count, 1, 1, 1)) < 0.5, random.uniform(0, 0.15, (count, 1, 1, 1)), 0
    )
    for k in np.flatnonzero(random.random(count) < 0.08):
        begin, length = random.integers(-4, SIDE), random.integers(2, 12)
        x[k, 0, random.integers(SIDE), max(begin, 0) : max(begin + length, 0)] += random.choice([-1, 1]) * random.uniform(0.2, 3)
    return np.clip(x, -CLIP, CLIP)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(1)
    random = np.random.default_rng(1)
    scenes = [random_scene(seed) for seed in tqdm(SEEDS, "scenes")]
    inputs, allowed = pick(scenes, random, 0.02)
    model = new_network()
    print(f"{len(inputs)} windows, {network.multiplications(model, (1, SIDE, SIDE))} multiplications", flush=True)
    network.train(model, inputs, allowed, epochs=EPOCHS, augment=augment)
    hard_inputs, hard_allowed = wrong(model, scenes)
    print(f"{len(hard_inputs)} windows are wrong", flush=True)
    inputs, allowed = np.concatenate([inputs, *[hard_inputs] * 2]), np.concatenate([allowed, *[hard_allowed] * 2])
    network.train(model, inputs, allowed, epochs=EPOCHS, augment=augment, seed=2)
    network.save(model, (1, SIDE, SIDE), FOLDER / "model.onnx", METADATA)

    step = CLIP / 127
    order = random.permutation(len(inputs))[:4000]
    greatest = np.abs(network.outputs(model, inputs[order])).max(axis=1).argsort()
    calibration = inputs[order[np.concatenate([greatest[::20], greatest[-20:]])]]
    np.savez_compressed(FOLDER / "calibration.npz", x=(np.round(calibration / step) * step).astype(np.float32))
    held_out, may = pick([random_scene(seed) for seed in HELD_OUT_SEEDS], np.random.default_rng(4), 0.001, 0.25)
    told = may.any(axis=1)
    save_inputs(FOLDER / "held_out.npz", held_out[told], step, allowed=may[told])
    measure.main()


if __name__ == "__main__":
    main()
