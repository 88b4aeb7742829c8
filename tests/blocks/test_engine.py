"""The engine against the naive interpreter of images: random low-level images, and the exact cycle of everything that it does."""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from engine_bench import EngineBench, layered_image, random_image
from lockstep import Lockstep
from naive_engine import Image, Outputs, layer_steps, run_image, steps
from support import default_seed, unpack

from reflexarc.contract.blocks.detector import BankState
from reflexarc.contract.model import ACTIVATION_BYTES, LANES, QUAD, RING_BYTES, LayerFlag, RunFlag
from reflexarc_hw.blocks.detector import control, engine
from reflexarc_hw.blocks.detector.memories import QUAD_OUTPUTS

IMAGES = int(os.environ.get("REFLEXARC_IMAGES", "120"))  # for each number of lanes
WORD_CYCLES = 7  # from one word of an image to the next
IDLE_CYCLES = 80  # in which idle steps at an evaluation's end are over and the first step is fetched
# The page of this block has these.
BEGIN_CYCLES = 3
LAYER_CYCLES = 17
FINAL_CYCLES = 16
TABLE_CYCLES = 2
RELOAD_CYCLES = 15
RESTART_CYCLES = 18
CHANGE_CYCLES = RESTART_CYCLES + 1  # from a change of the bank to the first step's issue at the earliest
ARRIVAL_CYCLES = 1  # from the arrival of what a step waits for to its issue


def test_constants():
    assert control.BEGIN_CYCLES == BEGIN_CYCLES
    assert control.LAYER_CYCLES == LAYER_CYCLES
    assert control.FINAL_CYCLES == FINAL_CYCLES
    assert control.TABLE_CYCLES == TABLE_CYCLES
    assert control.RELOAD_CYCLES == RELOAD_CYCLES
    assert engine.RESTART_CYCLES == RESTART_CYCLES


# ------------------------------------------------------------------------------------------------------------- what is expected


def drains(image: Image, layer: dict[str, int]) -> tuple[int, int, int]:
    """Steps up to the last DRAIN and with it; steps behind it; quads of the last tile."""
    found = list(layer_steps(image, layer))
    drain = max(number for number, step in enumerate(found) if step.last and step.run["flags"] & RunFlag.DRAIN)
    return drain + 1, len(found) - drain - 1, -(-found[-1].outputs // QUAD)


def table_cycles(layer: dict[str, int]) -> int:
    return TABLE_CYCLES if layer["flags"] & LayerFlag.TABLE else 0


def predicted(image: Image) -> int:
    """Cycles from ``begin`` to the last outputs, all inputs waiting: the formula."""
    cycles = BEGIN_CYCLES + FINAL_CYCLES
    for layer in image.layers:
        needed, behind, quads = drains(image, layer)
        cycles += needed + quads + table_cycles(layer)
        if layer is not image.layers[-1]:
            cycles += max(LAYER_CYCLES, behind + RELOAD_CYCLES - quads - table_cycles(layer))
    return cycles


def timed(image: Image, begin: int, arrived: np.ndarray, earliest: int = 0) -> int:
    """The cycle of the last outputs, step by step. ``earliest``: of the first step's issue."""
    window = image.settings["window_bytes"]
    issue = max(begin + BEGIN_CYCLES, earliest)
    for layer in image.layers:
        issue -= 1
        for step in layer_steps(image, layer):
            issue += 1
            if layer["flags"] & LayerFlag.RING and not step.run["flags"] & RunFlag.IDLE:
                needed = min(step.offset + image.lanes, window)
                issue = max(issue, int(np.argmax(arrived >= needed)) + ARRIVAL_CYCLES)
            if step.last and step.run["flags"] & RunFlag.DRAIN:
                drain = issue
        _, _, quads = drains(image, layer)
        done = drain + LAYER_CYCLES + quads + table_cycles(layer)
        issue = max(done, issue + RELOAD_CYCLES) + 1
    return done


def same_whatever_was_before(image: Image, rng: random.Random) -> bool:
    """Whether nothing of what the activations held before has an influence."""
    window = rng.randbytes(image.settings["window_bytes"])
    before = [[rng.randrange(-128, 128) for _ in range(977)] for _ in range(2)]
    return run_image(image, window, before[0]).written == run_image(image, window, before[1]).written


# ------------------------------------------------------------------------------------------------------------- what is seen


@dataclass
class Bench:
    """The engine with what is in its memories from one evaluation to the next."""

    lockstep: Lockstep
    memory: list[int]  # activations
    bank: int = 0

    def load(self, words: Sequence[int], image: Image, bank: int) -> None:
        """It is the active bank when it is whole."""
        cycles = WORD_CYCLES * (len(words) + 2)
        seen = self.lockstep.run(load_ports(words, bank, cycles) | {"active_bank": bank}, cycles)
        assert seen[f"state_{bank}"][-1] == BankState.VALID
        self.bank = bank
        self.run(image, {}, IDLE_CYCLES)

    def run(self, image: Image, ports: dict, cycles: int) -> dict:
        settled = {"active_bank": self.bank, "active_valid": 1, "layers": len(image.layers), "window_bytes": image.settings["window_bytes"]}
        return self.lockstep.run(settled | ports, cycles)

    def check(self, seen: dict, image: Image, window: bytes, due: int) -> Outputs:
        """One evaluation was seen, it was right, and its last outputs came when they were due."""
        expected = run_image(image, window, self.memory)
        values, last = outputs(seen)
        assert values == expected.final
        assert last == [due]
        self.memory = expected.memory
        return expected


def load_ports(words: Sequence[int], bank: int, cycles: int) -> dict[str, np.ndarray]:
    ports = {name: np.zeros(cycles, np.int64) for name in ("start", "start_bank", "data_strobe", "data")}
    places = WORD_CYCLES * np.arange(1, len(words) + 1)
    ports["start"][0], ports["start_bank"][0] = 1, bank
    ports["data_strobe"][places], ports["data"][places] = 1, words
    return ports


def outputs(seen: dict) -> tuple[list[int], list[int]]:
    """Values in order, and the cycles of the last ones of an evaluation."""
    values, last = [], []
    for cycle in np.flatnonzero(seen["outputs"] & 1):
        quad = unpack(QUAD_OUTPUTS, int(seen["outputs"][cycle]))
        assert 1 <= quad["count"] <= QUAD
        values += [quad["values"][index] for index in range(quad["count"])]
        last += [int(cycle)] * quad["last"]
    return values, last


def ring_ports(base: int, window: bytes, arrivals: Sequence[int], cycles: int) -> dict[str, np.ndarray]:
    """Byte i of the window is written the cycle before ``arrivals[i]``, which ascend, and counts from that cycle on."""
    writes, arrived = np.zeros(cycles, np.int64), np.zeros(cycles, np.int64)
    for index, (value, at) in enumerate(zip(window, arrivals, strict=True)):
        writes[at - 1] = 1 | (base + index) % RING_BYTES << 1 | value << 14
        arrived[at] += 1
    return {"ring_write": writes, "arrived": np.cumsum(arrived), "base": base}


@pytest.fixture(scope="module", params=LANES)
def compiled(request):
    component = Lockstep(EngineBench(request.param), f"engine_bench_{request.param}")
    yield request.param, component
    component.close()


@pytest.fixture
def bench(compiled):
    _, component = compiled
    component.restart()
    return Bench(component, [0] * ACTIVATION_BYTES)


def at(cycle: int, cycles: int) -> np.ndarray:
    return np.arange(cycles) == cycle


# ------------------------------------------------------------------------------------------------------------- the tests


@pytest.mark.parametrize("chunk", range(4))
def test_random_images(compiled, bench, chunk):
    """Right, and in the predicted cycle, with all inputs waiting; twice, whatever is left of the time before."""
    lanes, _ = compiled
    rng = random.Random(f"{default_seed()} {lanes} {chunk}")
    for number in range(-(-IMAGES // 4)):
        words, image = random_image(rng, lanes)
        bench.load(words, image, rng.randrange(2))
        size = image.settings["window_bytes"]
        for _ in range(2):
            window, base, begin = rng.randbytes(size), rng.randrange(RING_BYTES), size + 2 + rng.randrange(10)
            due = begin + predicted(image)
            cycles = due + IDLE_CYCLES
            ports = ring_ports(base, window, range(1, size + 1), cycles) | {"begin": at(begin, cycles)}
            seen = bench.run(image, ports, cycles)
            try:
                assert timed(image, begin, ports["arrived"]) == due
                bench.check(seen, image, window, due)
                assert np.flatnonzero(seen["busy"])[0] == begin + 1
            except AssertionError as error:
                raise AssertionError(f"image {number} of chunk {chunk}: {error}") from error


@pytest.mark.parametrize("chunk", range(4))
def test_inputs_arrive_meanwhile(compiled, bench, chunk):
    """Each step is issued in the first cycle in which it can be; what comes of it is the same."""
    lanes, _ = compiled
    rng = random.Random(f"{default_seed()} {lanes} {chunk} late")
    for number in range(-(-IMAGES // 8)):
        words, image = random_image(rng, lanes)
        bench.load(words, image, rng.randrange(2))
        size = image.settings["window_bytes"]
        for _ in range(2):
            window, base, begin = rng.randbytes(size), rng.randrange(RING_BYTES), rng.randrange(1, 10)
            slow = rng.choice((1, 2, 5, 20))
            arrivals, now = [], rng.randrange(1, 10)
            for _ in range(size):
                now += 1 if rng.random() < 0.8 else rng.randrange(1, slow + 1)
                arrivals.append(now)
            cycles = now + predicted(image) + IDLE_CYCLES + begin
            ports = ring_ports(base, window, arrivals, cycles) | {"begin": at(begin, cycles)}
            seen = bench.run(image, ports, cycles)
            try:
                bench.check(seen, image, window, timed(image, begin, ports["arrived"]))
            except AssertionError as error:
                raise AssertionError(f"image {number} of chunk {chunk}: {error}") from error


def test_one_behind_the_other(compiled, bench):
    """``begin`` counts in the cycle after the last outputs, not before, and the time does not vary."""
    lanes, _ = compiled
    rng = random.Random(f"{default_seed()} {lanes} again")
    for _ in range(-(-IMAGES // 12)):
        words, image = random_image(rng, lanes, most_steps=200)
        while drains(image, image.layers[-1])[1]:
            words, image = random_image(rng, lanes, most_steps=200)
        bench.load(words, image, rng.randrange(2))
        size = image.settings["window_bytes"]
        window, base = rng.randbytes(size), rng.randrange(RING_BYTES)
        begin, times = size + 2, 5
        period = predicted(image) + 1
        cycles = begin + times * period
        ports = ring_ports(base, window, range(1, size + 1), cycles) | {"begin": np.arange(cycles) >= begin}
        seen = bench.run(image, ports, cycles)
        values, last = outputs(seen)
        expected = []
        for _ in range(times):
            found = run_image(image, window, bench.memory)
            bench.memory = found.memory
            expected += found.final
        assert last == [begin + period * (number + 1) - 1 for number in range(times)]
        assert values == expected
        idle = np.flatnonzero(seen["busy"][begin:] == 0)
        assert idle.tolist() == [period * number for number in range(times)]


def test_abort(compiled, bench):
    """Nothing comes of what was dropped, and what begins in any cycle after it is right; its first step's cycle is known."""
    lanes, _ = compiled
    rng = random.Random(f"{default_seed()} {lanes} abort")
    done = 0
    while done < IMAGES // 4:
        words, image = random_image(rng, lanes)
        if not same_whatever_was_before(image, rng):
            continue
        done += 1
        bench.load(words, image, rng.randrange(2))
        size = image.settings["window_bytes"]
        for _ in range(4):
            window, base, first = rng.randbytes(size), rng.randrange(RING_BYTES), size + 2
            abort = first + rng.randrange(predicted(image) + 20)
            begin = abort + rng.choice((1, 1, 2, rng.randrange(1, 40)))
            cycles = begin + predicted(image) + IDLE_CYCLES
            ports = ring_ports(base, window, range(1, size + 1), cycles)
            # Begun in the cycle of the abort, too: that counts for nothing.
            ports |= {"begin": at(first, cycles) | at(begin, cycles) | at(abort, cycles), "drop": at(abort, cycles)}
            seen = bench.run(image, ports, cycles)
            seen["outputs"][: abort + 1] = 0
            bench.check(seen, image, window, timed(image, begin, ports["arrived"], abort + RESTART_CYCLES))
            assert not seen["busy"][abort + 1 : begin + 1].any()


def test_two_banks(compiled, bench):
    """Models in both banks, changed in any idle cycle; while one is evaluated the other bank is loaded, and nobody notices."""
    lanes, _ = compiled
    rng = random.Random(f"{default_seed()} {lanes} banks")
    found = []
    while len(found) < 6:
        words, image = random_image(rng, lanes)
        if same_whatever_was_before(image, rng):
            found.append((words, image))
    bench.load(*found[0], 0)
    bank, image = 0, found[0][1]
    for words, other in found[1:] + found[:3]:
        size = image.settings["window_bytes"]
        window, base = rng.randbytes(size), rng.randrange(RING_BYTES)
        loads = WORD_CYCLES * (len(words) + 2)
        cycles = max(loads, size + 2 * predicted(image) + IDLE_CYCLES)
        begin = size + 1 + rng.randrange(predicted(image))
        ports = ring_ports(base, window, range(1, size + 1), cycles) | {"begin": at(begin, cycles)} | load_ports(words, 1 - bank, cycles)
        seen = bench.run(image, ports, cycles)
        bench.check(seen, image, window, begin + predicted(image))
        assert seen[f"state_{1 - bank}"][-1] == BankState.VALID
        assert seen[f"state_{bank}"][-1] == BankState.VALID
        # The other one from cycle 0 on.
        bank, image = 1 - bank, other
        bench.bank = bank
        size = image.settings["window_bytes"]
        window, begin = rng.randbytes(size), rng.choice((0, 1, 2, rng.randrange(40)))
        cycles = size + predicted(image) + IDLE_CYCLES + begin
        ports = ring_ports(base, window, range(1, size + 1), cycles) | {"begin": at(begin, cycles)}
        seen = bench.run(image, ports, cycles)
        bench.check(seen, image, window, timed(image, begin, ports["arrived"], CHANGE_CYCLES))


@pytest.mark.parametrize("sizes", [(64, 32, 16, 3), (16, 16, 2), (128, 64, 48, 20, 5)])
def test_dense_layers(compiled, bench, sizes):
    """What the page of this block says of the MLP 64-32-16-3, from the beginning and from the last input."""
    lanes, _ = compiled
    rng = random.Random(f"{default_seed()} {lanes} {sizes}")
    words, image = layered_image(rng, lanes, sizes)
    bench.load(words, image, 0)
    size = sizes[0]
    cycles = {(64, 32, 16, 3): {4: 106, 8: 84, 16: 73}}.get(sizes, {}).get(lanes, predicted(image))
    begin = size + 5
    window = rng.randbytes(size)
    ports = ring_ports(9, window, range(1, size + 1), begin + 400) | {"begin": at(begin, begin + 400)}
    bench.check(bench.run(image, ports, begin + 400), image, window, begin + cycles)
    # The last input comes when all that does not need it is done.
    for _ in range(5):
        arrival = size + 400 + rng.randrange(100)
        window = rng.randbytes(size)
        ports = ring_ports(9, window, [*range(1, size), arrival], arrival + 400) | {"begin": at(begin, arrival + 400)}
        vectors = -(-size // lanes)
        bench.check(bench.run(image, ports, arrival + 400), image, window, arrival + cycles - BEGIN_CYCLES - (vectors - 1) + ARRIVAL_CYCLES)
    assert steps(image)[0] == vectors * -(-sizes[1] // 16)
