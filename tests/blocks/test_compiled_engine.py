"""The engine in process, from an image's words: whatever comes when, the same outputs; what is no image is refused."""

import subprocess
import sys

import numpy as np
import pytest
from random_networks import plain_view, random_network, random_values

from reflexarc.compiler import reference
from reflexarc.compiler.compile import compile_network
from reflexarc.compiler.deploy import ring_bytes
from reflexarc.compiler.network import Head
from reflexarc.contract.model import RING_BYTES
from reflexarc.contract.words import to_bytes
from reflexarc.experiments.deploy import rtl
from reflexarc_sim.engine import CompiledEngine, EngineError

LANES = 8


@pytest.fixture(scope="module")
def engine():
    with CompiledEngine(LANES) as compiled:
        yield compiled


@pytest.fixture(scope="module")
def model():
    """Image, windows, their outputs, and what was compiled."""
    rng = np.random.default_rng([7, 1])
    network = random_network(rng)
    found = compile_network(network, plain_view(network.shapes[network.input]), Head(network.shapes[network.output].size), LANES, 1)
    values = random_values(rng, network.shapes[network.input], 12)
    return found.words, ring_bytes(values), ring_bytes(reference.run(network, values)), found


@pytest.mark.parametrize(
    "arrival",
    [
        {},
        {"bases": RING_BYTES - 3},
        {"bank": 1},
        {"early_bytes": 0, "spacing_cycles": 1},
        {"early_bytes": 1, "piece_bytes": 2, "spacing_cycles": 37},
        {"early_bytes": 0, "piece_bytes": 3, "spacing_cycles": 3, "delay_cycles": 500},
    ],
)
def test_outputs_do_not_hang_on_when_inputs_come(engine, model, arrival):
    words, windows, expected, found = model
    engine.load(words, arrival.get("bank", 0))
    outputs, cycles, began = engine.run(windows, **{name: value for name, value in arrival.items() if name != "bank"})
    assert np.array_equal(outputs, expected) and len(set(cycles)) == len(set(began)) == 1
    if "early_bytes" not in arrival:
        assert cycles[0] == began[0] == found.cycles.total


def test_cycles_after_the_last_input(engine, model):
    words, windows, expected, found = model
    engine.load(words)
    outputs, after = engine.after_last(windows)
    assert np.array_equal(outputs, expected) and set(after) == {found.cycles.after}


def test_apart_from_files(model):
    words, windows, expected, found = model
    outputs, cycles, after = rtl(words, windows)
    assert np.array_equal(outputs, expected)
    assert set(cycles) == {found.cycles.total} and set(after) == {found.cycles.after}


def test_what_is_no_image_for_this_engine_is_refused(engine, model, tmp_path):
    words, windows, _, _ = model
    damaged = list(words)
    damaged[20] ^= 1
    for wrong in ([], words[:2], words[:-1], damaged, [words[0], words[1] ^ 4 << 8, *words[2:]]):
        with pytest.raises(EngineError):
            engine.load(wrong)
    engine.load(words)
    for shape in ((2, windows.shape[1] + 1), (windows.shape[1],)):
        with pytest.raises(EngineError, match="windows of shape"):
            engine.run(np.zeros(shape, np.int8))
    for name, content in (("image", to_bytes(damaged)), ("windows.npy", b"no array")):
        (tmp_path / "image").write_bytes(to_bytes(words))
        np.save(tmp_path / "windows.npy", windows)
        (tmp_path / name).write_bytes(content)
        command = [sys.executable, "-m", "reflexarc_sim.engine", "image", "windows.npy", "out.npz"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 1 and done.stderr.startswith("reflexarc_sim.engine: ") and done.stderr.count("\n") == 1
