"""The engine against the naive interpreter of images: random low-level images, and the exact number of cycles of each evaluation."""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from engine_bench import EngineBench, random_image
from lockstep import Lockstep
from naive_engine import Image, layer_steps, parse_image, run_image
from support import default_seed, unpack

from reflexarc.contract.blocks.detector import BankState
from reflexarc.contract.model import LANES, QUAD, RING_BYTES, LayerFlag, RunFlag
from reflexarc_hw.blocks.detector import control, engine
from reflexarc_hw.blocks.detector.memories import QUAD_OUTPUTS

IMAGES = int(os.environ.get("REFLEXARC_IMAGES", "150"))  # for each number of lanes
WORD_CYCLES = 7  # from one word of an image to the next
SETTLED_CYCLES = 30  # after a load: the first step is fetched
# Of an evaluation; README.
BEGIN_CYCLES = 3
LAYER_CYCLES = 17
FINAL_CYCLES = 16
TABLE_CYCLES = 2
RELOAD_CYCLES = 15  # what follows on a layer's last DRAIN is for nothing while the next layer could not begin anyway
RESTART_CYCLES = 18
ISSUE_CYCLES = 1  # from the arrival of what a step waits for to its issue


def test_constants():
    assert control.BEGIN_CYCLES == BEGIN_CYCLES
    assert control.LAYER_CYCLES == LAYER_CYCLES
    assert control.FINAL_CYCLES == FINAL_CYCLES
    assert control.TABLE_CYCLES == TABLE_CYCLES
    assert control.RELOAD_CYCLES == RELOAD_CYCLES
    assert engine.RESTART_CYCLES == RESTART_CYCLES


@dataclass
class Bench:
    """The engine with what is in its memories from one evaluation to the next."""

    lockstep: Lockstep
    memory: list[int]  # activations
    bank: int = 0

    def load(self, words: Sequence[int], image: Image, bank: int) -> None:
        cycles = WORD_CYCLES * (len(words) + 1) + SETTLED_CYCLES
        strobes, values = np.zeros(cycles, np.int64), np.zeros(cycles, np.int64)
        places = WORD_CYCLES * np.arange(1, len(words) + 1)
        strobes[places], values[places] = 1, words
        start = np.zeros(cycles, np.int64)
        start[0] = 1
        # It becomes the active bank when it is whole.
        seen = self.lockstep.run(
            {"start": start, "start_bank": bank, "data_strobe": strobes, "data": values, "active_bank": bank},
            cycles,
        )
        assert seen[f"state_{bank}"][-1] == BankState.VALID
        self.bank = bank
        self.run(image, {}, SETTLED_CYCLES)

    def run(self, image: Image, ports: dict, cycles: int) -> dict:
        settled = {"active_bank": self.bank, "active_valid": 1, "layers": len(image.layers), "window_bytes": image.settings["window_bytes"]}
        return self.lockstep.run(settled | ports, cycles)


@pytest.fixture(scope="module", params=LANES)
def compiled(request):
    component = Lockstep(EngineBench(request.param), f"engine_bench_{request.param}")
    yield request.param, component
    component.close()


@pytest.fixture
def bench(compiled):
    _, component = compiled
    component.restart()
    return Bench(component, [0] * 16384)


def outputs(seen: dict) -> tuple[list[int], list[int], list[int]]:
    """Values in order, the cycles in which they came, and the cycles of the last ones of an evaluation."""
    values, came, last = [], [], []
    for cycle in np.flatnonzero(seen["outputs"] & 1):
        quad = unpack(QUAD_OUTPUTS, int(seen["outputs"][cycle]))
        assert 1 <= quad["count"] <= QUAD
        values += [quad["values"][index] for index in range(quad["count"])]
        came += [int(cycle)] * quad["count"]
        last += [int(cycle)] * quad["last"]
    return values, came, last


def places(image: Image, layer: dict[str, int]) -> tuple[int, int, int]:
    """Steps up to the last DRAIN, with it; steps behind it; outputs of the last tile."""
    steps = list(layer_steps(image, layer))
    drain = max(number for number, step in enumerate(steps) if step.last and step.run["flags"] & RunFlag.DRAIN)
    return drain + 1, len(steps) - drain - 1, steps[-1].outputs


def predicted(image: Image) -> int:
    """Cycles from ``begin`` to the last outputs, all inputs waiting."""
    cycles = BEGIN_CYCLES + FINAL_CYCLES
    for number, layer in enumerate(image.layers):
        steps, behind, last = places(image, layer)
        table = TABLE_CYCLES if layer["flags"] & LayerFlag.TABLE else 0
        if number < len(image.layers) - 1:
            cycles += steps + max(LAYER_CYCLES + -(-last // QUAD) + table, behind + RELOAD_CYCLES)
        else:
            cycles += steps + -(-last // QUAD) + table
    return cycles


def ring_ports(base: int, window: bytes, begin: int, cycles: int) -> dict[str, np.ndarray]:
    """The window's bytes, one a cycle from ``begin`` on."""
    writes = np.zeros(cycles, np.int64)
    for index, value in enumerate(window):
        writes[begin + index] = 1 | (base + index) % RING_BYTES << 1 | value << 14
    return {"ring_write": writes}


def check(found: dict, image: Image, bench: Bench, window: bytes) -> int:
    """Outputs are right; the cycle of the last ones."""
    expected = run_image(image, window, bench.memory)
    values, _, last = outputs(found)
    assert values == expected.final
    assert len(last) == 1
    bench.memory = expected.memory
    return last[0]


@pytest.mark.parametrize("chunk", range(5))
def test_random_images(compiled, bench, chunk):
    """Right, and in the predicted cycle, with all inputs waiting; the same again, whatever the image before left behind."""
    lanes, _ = compiled
    rng = random.Random(f"{default_seed()} {lanes} {chunk}")
    for number in range(-(-IMAGES // 5)):
        words, image = random_image(rng, lanes)
        bench.load(words, image, rng.randrange(2))
        size = image.settings["window_bytes"]
        for _ in range(2):
            window, base = rng.randbytes(size), rng.randrange(RING_BYTES)
            begin = size + 2 + rng.randrange(10)
            due = predicted(image)
            cycles = begin + due + 3
            ports = ring_ports(base, window, 0, cycles)
            ports |= {"begin": np.arange(cycles) == begin, "base": base, "arrived": np.where(np.arange(cycles) >= begin, size, 0)}
            seen = bench.run(image, ports, cycles)
            try:
                last = check(seen, image, bench, window)
                assert last - begin == due
                assert np.flatnonzero(seen["busy"])[0] == begin + 1
            except AssertionError as error:
                raise AssertionError(f"image {number} of chunk {chunk} with {lanes} lanes: {error}") from error
            bench.run(image, {}, 70)
