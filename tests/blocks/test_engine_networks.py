"""Compiled networks through the gateware: onnxruntime's outputs, in exactly the predicted cycles.

``REFLEXARC_NETWORKS``: how many random ones; ``REFLEXARC_LANES``: engines, as in ``4,8,16``.
"""

import os

import numpy as np
import pytest
from random_networks import network_onnx, random_network, random_values
from support import default_seed

from reflexarc.compiler.compile import compile_network
from reflexarc.compiler.fit import DoesNotFit
from reflexarc.compiler.network import Head, Network, View
from reflexarc.compiler.runtime import Session
from reflexarc.contract.model import RING_BYTES, ViewSource
from reflexarc.contract.packets import Channel
from reflexarc_sim.engine import CompiledEngine

NETWORKS = int(os.environ.get("REFLEXARC_NETWORKS", "40"))
ENGINES = [int(lanes) for lanes in os.environ.get("REFLEXARC_LANES", "8").split(",")]
WINDOWS = 10
REST_CYCLES = 4000  # before a window's last bytes: whatever does not need them is over by then


@pytest.fixture(scope="module", params=ENGINES)
def engine(request):
    with CompiledEngine(request.param) as compiled:
        yield compiled


def view_of(network: Network) -> View:
    shape = network.shapes[network.input]
    thresholds = np.tile(np.arange(255, dtype=np.int32), (shape.channels, 1))
    return View(ViewSource.PIXEL, tuple(Channel)[: shape.channels], shape.rows, shape.columns, 1, thresholds)


def stored(values: np.ndarray) -> np.ndarray:
    """In the order of the engine: [column][row][channel]."""
    return values.transpose(0, 3, 2, 1).reshape(len(values), -1)


def expected_of(network: Network, values: np.ndarray) -> np.ndarray:
    session = Session(network_onnx(network))
    found = session.run((values.astype(np.int64) + 128).astype(np.uint8), [network.output])[0]
    return stored((found.astype(np.int64) - 128).astype(np.int8))


def test_random_networks(engine):
    too_large = compared = 0
    for number in range(NETWORKS):
        rng = np.random.default_rng([default_seed(), number])
        network = random_network(rng)
        view = view_of(network)
        try:
            found = compile_network(network, view, Head(network.shapes[network.output].size), engine.lanes, 1 + number)
        except DoesNotFit:
            too_large += 1
            continue
        engine.load(found.words, number % 2)
        values = random_values(rng, network.shapes[network.input], WINDOWS)
        expected = expected_of(network, values)
        outputs, cycles, _ = engine.run(stored(values), bases=rng.integers(0, RING_BYTES, WINDOWS))
        about = f"network {number}, seed {default_seed()}"
        np.testing.assert_array_equal(outputs, expected, about)
        assert set(cycles) == {found.cycles.total}, about
        compared += outputs.size
        # All but the last record's values, and then those, a byte a cycle.
        last = len(view.channels)
        early = stored(values).shape[1] - 2 * last
        if early >= 0:
            outputs, cycles, _ = engine.run(stored(values), early_bytes=early, piece_bytes=last, spacing_cycles=REST_CYCLES)
            np.testing.assert_array_equal(outputs, expected, about)
            assert set(cycles) == {found.cycles.after}, about
    print(
        f"{NETWORKS - too_large} networks, {engine.lanes} lanes: {compared:,} outputs, 0 differences from onnxruntime, cycles as predicted"
    )
    assert too_large <= NETWORKS // 10
