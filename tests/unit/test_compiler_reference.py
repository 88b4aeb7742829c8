"""The integer reference is onnxruntime, for each tensor of random networks and models; and what it is written to be."""

import os

import numpy as np
import pytest
from random_networks import network_onnx, random_network, random_onnx, random_values

from reflexarc.compiler import reference
from reflexarc.compiler.frontend import prepare
from reflexarc.compiler.load import load
from reflexarc.compiler.network import Layer, Shape, Window
from reflexarc.compiler.runtime import Session
from reflexarc.errors import BadInput

SEED = int(os.environ.get("REFLEXARC_SEED", "1"))


def generator(*key: int) -> np.random.Generator:
    return np.random.default_rng([SEED, *key])


@pytest.mark.parametrize("part", range(6))
def test_networks_are_what_onnxruntime_computes(part):
    """50 networks each, 24 inputs a network, all tensors."""
    compared = 0
    for number in range(50):
        rng = generator(part, number)
        network = random_network(rng)
        values = random_values(rng, network.shapes[network.input], 24)
        found = reference.run_all(network, values)
        session = Session(network_onnx(network), optimized=bool(number % 2))
        given = (values.astype(np.int64) + 128).astype(np.uint8)
        for name, theirs in zip(session.outputs, session.run(given), strict=True):
            assert np.array_equal(theirs.astype(np.int64) - 128, found[name]), (part, number, name)
            compared += theirs.size
    assert compared > 100_000


@pytest.mark.parametrize("form", ["qdq", "qoperator", "float"])
def test_models_are_what_onnxruntime_computes(tmp_path, form):
    """Random files of each kind, through all of the compiler: the canonical model in onnxruntime, with its optimizations and without, and the
    network in the reference, all tensors of 8 inputs."""
    compared = done = 0
    for number in range(80 if form != "float" else 25):
        rng = generator(1000 + number)
        path = tmp_path / "random.onnx"
        path.write_bytes(random_onnx(rng, form))
        calibration = None
        if form == "float":
            calibration = rng.normal(0, 1, (32, *load(path).input_shape[1:])).astype(np.float32)
        try:
            prepared = prepare(path, calibration)
        except BadInput as error:
            assert "pairs" in str(error) and form != "float", error  # an Add that happens to be near a half too often
            continue
        done += 1
        model = prepared.canonical.model
        values = rng.integers(0, 256, (8, *model.input_shape[1:])).astype(np.uint8)
        values[::4] = rng.choice([0, 255], values[::4].shape)
        stored = reference.run_all(prepared.network, prepared.built.store(values))
        names = [name for name in prepared.built.placed if name in model.producers() and model.types[name] == np.uint8]
        for optimized in (False, True):
            session = Session(model.to_onnx(13, also=names), optimized)
            each = [session.run(value[None]) for value in values]
            for place, name in enumerate(session.outputs):
                theirs = np.concatenate([outputs[place] for outputs in each])
                placed = prepared.built.placed[name]
                assert np.array_equal(theirs, placed.values(stored[placed.stored], len(values))), (number, name, optimized)
                compared += theirs.size
    assert done >= 20 and compared > 50_000


def test_layer_is_what_its_page_says():
    """`network.Layer` in plain loops and float32, for a layer with everything."""
    rng = generator(7)
    layer = Layer(
        "layer", ("input",), "output", rng.integers(-255, 256, (6, 2, 3, 2)).astype(np.int16), rng.integers(-9000, 9000, 6),
        rng.uniform(1e-4, 3e-3, 6).astype(np.float32), -7, -90, 100, Window((3, 2), (2, 1), (1, 0, 2, 1)), 2, 11, Window((2, 3), (1, 2), (1, 1, 0, 1)),
        rng.integers(-128, 128, 256).astype(np.int8),
    )  # fmt: skip
    values = random_values(rng, Shape(4, 7, 6), 3)
    found = reference.run_layer(layer, [values])
    rows, columns = layer.window.output(7, 6)
    sums = np.zeros((3, 6, rows, columns), np.int64)
    for n, o, r, c in np.ndindex(*sums.shape):
        for i, kr, kc in np.ndindex(2, 3, 2):
            row, column = r * 2 + kr - 1, c + kc
            inside = 0 <= row < 7 and 0 <= column < 6
            value = int(values[n, i + (o // 3) * 2, row, column]) if inside else 11
            sums[n, o, r, c] += int(layer.weights[o, i, kr, kc]) * value
    pooled_rows, pooled_columns = layer.pool.output(rows, columns)
    assert found.shape == (3, 6, pooled_rows, pooled_columns)
    for n, o, r, c in np.ndindex(*found.shape):
        window = [
            sums[n, o, row, column]
            for row in range(r - 1, r + 1)
            for column in range(2 * c - 1, 2 * c + 2)
            if 0 <= row < rows and 0 <= column < columns
        ]
        product = np.float32(np.float32(max(window) + layer.bias[o]) * layer.multiplier[o])
        stored = int(np.clip(int(np.rint(product)) - 7, -90, 100))
        assert found[n, o, r, c] == layer.table[stored + 128]


def test_batches_are_evaluations_each_for_itself():
    rng = generator(8)
    for _ in range(10):
        network = random_network(rng)
        values = random_values(rng, network.shapes[network.input], 5)
        together = reference.run(network, values)
        assert all(np.array_equal(together[n : n + 1], reference.run(network, values[n : n + 1])) for n in range(5))
