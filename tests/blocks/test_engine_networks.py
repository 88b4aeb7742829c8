"""Compiled networks through the gateware: onnxruntime's outputs, in exactly the predicted cycles.

``REFLEXARC_NETWORKS``: how many random ones; ``REFLEXARC_LANES``: engines, as in ``4,8,16``.
"""

import os

import numpy as np
from random_networks import network_onnx, plain_view, random_network, random_values
from support import default_seed

from reflexarc.compiler.compile import compile_network
from reflexarc.compiler.deploy import ring_bytes
from reflexarc.compiler.fit import DoesNotFit
from reflexarc.compiler.network import Head, Network
from reflexarc.compiler.runtime import Session
from reflexarc.contract.model import RING_BYTES

NETWORKS = int(os.environ.get("REFLEXARC_NETWORKS", "40"))
WINDOWS = 10
REST_CYCLES = 4000  # before a window's last bytes: whatever does not need them is over by then


def expected_of(network: Network, values: np.ndarray) -> np.ndarray:
    session = Session(network_onnx(network))
    found = session.run((values.astype(np.int64) + 128).astype(np.uint8), [network.output])[0]
    return ring_bytes((found.astype(np.int64) - 128).astype(np.int8))


def test_random_networks(compiled_engine):
    too_large = compared = 0
    for number in range(NETWORKS):
        rng = np.random.default_rng([default_seed(), number])
        network = random_network(rng)
        view = plain_view(network.shapes[network.input])
        try:
            found = compile_network(network, view, Head(network.shapes[network.output].size), compiled_engine.lanes, 1 + number)
        except DoesNotFit:
            too_large += 1
            continue
        compiled_engine.load(found.words, number % 2)
        values = random_values(rng, network.shapes[network.input], WINDOWS)
        expected = expected_of(network, values)
        outputs, cycles, _ = compiled_engine.run(ring_bytes(values), bases=rng.integers(0, RING_BYTES, WINDOWS))
        about = f"network {number}, seed {default_seed()}"
        np.testing.assert_array_equal(outputs, expected, about)
        assert set(cycles) == {found.cycles.total}, about
        compared += outputs.size
        # All but the last record's values, and then those, a byte a cycle.
        last = len(view.channels)
        early = ring_bytes(values).shape[1] - 2 * last
        if early >= 0:
            outputs, cycles, _ = compiled_engine.run(ring_bytes(values), early_bytes=early, piece_bytes=last, spacing_cycles=REST_CYCLES)
            np.testing.assert_array_equal(outputs, expected, about)
            assert set(cycles) == {found.cycles.after}, about
    print(
        f"{NETWORKS - too_large} networks, {compiled_engine.lanes} lanes: {compared:,} outputs, 0 differences from onnxruntime, cycles as predicted"
    )
    assert too_large <= NETWORKS // 10
