"""The project's detectors through the gateware, layer by layer: what onnxruntime makes of the canonical files, to the bit, in the predicted cycles.

``REFLEXARC_ACTIVATIONS``: how many values are compared at least, over all models and engines; ``REFLEXARC_LANES``: engines, as in ``4,8,16``.
"""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from random_networks import plain_view
from support import ENGINES, default_seed

from reflexarc.compiler import compile as compiler
from reflexarc.compiler.compile import compile_network
from reflexarc.compiler.deploy import ring_bytes
from reflexarc.compiler.frontend import prepare
from reflexarc.compiler.network import Head
from reflexarc.compiler.runtime import Session
from reflexarc.contract.model import RING_BYTES

MODELS = Path(__file__).parents[2] / "models"
NAMES = ("adatoms", "tip_change", "domain_wall", "burst")
ACTIVATIONS = int(os.environ.get("REFLEXARC_ACTIVATIONS", "100000"))
EACH = -(-ACTIVATIONS // (len(NAMES) * len(ENGINES)))  # values
RANDOM = 0.25  # of the inputs are at random, half of these with nothing but the least and the greatest


def inputs(folder: Path, shape: tuple[int, ...], count: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 [n, ...]: what the model was tried on, and what it never sees."""
    with np.load(folder / "golden.npz") as golden:
        seen = (golden["x"].astype(np.int64) + 128).astype(np.uint8).reshape(-1, *shape)
    values = seen[rng.integers(len(seen), size=count)]
    shifted = values.astype(np.int64) + rng.integers(-9, 10, values.shape) * rng.integers(0, 2, (count, *[1] * len(shape)))
    values = np.clip(shifted, 0, 255).astype(np.uint8)
    rest = int(RANDOM * count)
    values[:rest] = rng.integers(0, 256, (rest, *shape))
    values[: rest // 2] = rng.choice([0, 255], (rest // 2, *shape))
    return values


def up_to(network, target):
    """The network whose output is this tensor."""
    needed, layers = {target}, []
    for layer in reversed(network.layers):
        if layer.target in needed:
            needed |= set(layer.sources)
            layers.insert(0, layer)
    return replace(network, output=target, layers=tuple(layers))


@pytest.mark.parametrize("name", NAMES)
def test_each_layer(compiled_engine, name, monkeypatch):
    # The engine has no bound on the last layer's outputs; what takes them has, and is not here.
    monkeypatch.setattr(compiler, "check_head", lambda head, shape: None)
    prepared = prepare(MODELS / name / "model.canonical.onnx")
    model, network = prepared.canonical.model, prepared.network
    rng = np.random.default_rng([default_seed(), compiled_engine.lanes])
    placed = {
        tensor: at
        for tensor, at in prepared.built.placed.items()
        if tensor in model.producers() and model.types[tensor] == np.uint8 and at.stored != network.input
    }
    targets = {at.stored for at in placed.values()}
    assert targets == {layer.target for layer in network.layers}, "a layer that nothing is compared with"
    count = -(-EACH // sum(network.shapes[target].size for target in targets))
    values = inputs(MODELS / name, model.input_shape[1:], count, rng)
    session = Session(model.to_onnx(13, also=list(placed)), optimized=True)
    each = [session.run(value[None]) for value in values]
    view = plain_view(network.shapes[network.input])
    windows = ring_bytes(prepared.built.store(values))
    made = {}
    for number, target in enumerate(sorted(targets)):
        found = compile_network(up_to(network, target), view, Head(1), compiled_engine.lanes, 1)
        compiled_engine.load(found.words, number % 2)
        size = network.shapes[target]
        outputs, cycles, _ = compiled_engine.run(windows, bases=rng.integers(0, RING_BYTES, count), count_out=size.size)
        assert set(cycles) == {found.cycles.total}, target
        made[target] = outputs.reshape(count, size.columns, size.rows, size.channels).transpose(0, 3, 2, 1)
    compared = 0
    for place, tensor in enumerate(session.outputs):
        theirs = np.concatenate([outputs[place] for outputs in each])
        ours = placed[tensor].values(made[placed[tensor].stored], count)
        np.testing.assert_array_equal(ours, theirs, f"{name}, {tensor}, seed {default_seed()}")
        compared += theirs.size
    print(
        f"{name}, {compiled_engine.lanes} lanes: {compared:,} activations of {len(session.outputs)} tensors, {count} inputs, 0 differences"
    )
    assert compared >= EACH
