"""The loader against the naive parser: what goes to the memories, and what becomes of a bank, whatever words come in whatever order."""

import os
import random
from collections.abc import Sequence

import numpy as np
import pytest
from engine_bench import make_image, random_image, seal
from lockstep import Lockstep
from naive_engine import ImageError, parse_image
from support import default_seed, unpack

from reflexarc.contract.blocks.detector import BankState
from reflexarc.contract.model import HEADER_LAYOUT, LANES, MEMORY_WORDS, SEGMENT_LAYOUT, Memory
from reflexarc_hw.blocks.detector.loader import LOAD_CYCLES, WORDS_APART, Loader
from reflexarc_hw.blocks.detector.memories import LOAD

ROUNDS = int(os.environ.get("REFLEXARC_ROUNDS", "300"))
LANES_HERE = 8


def test_constants():
    assert (WORDS_APART, LOAD_CYCLES) == (3, 3)


def naive_state(words: Sequence[int], lanes: int) -> BankState:
    """Of a bank for which these words have come so far."""
    header = HEADER_LAYOUT.unpack([*words, 0, 0, 0])
    total = header["words"]
    try:
        if len(words) >= 1 and header["magic"] != HEADER_MAGIC:
            return BankState.BAD_FORMAT
        if len(words) >= 2 and (header["version"], header["lanes"]) != (1, lanes) or len(words) >= 2 and header["model_id"] == 0:
            return BankState.BAD_FORMAT
        if len(words) >= 3 and total < 4:
            return BankState.BAD_FORMAT
        if len(words) >= 3 and len(words) >= total:
            parse_image(words[:total], lanes)
            return BankState.VALID
    except ImageError as error:
        return error.state
    place = 3
    while place < len(words):
        segment = SEGMENT_LAYOUT.unpack(words[place:])
        if segment["memory"] not in list(Memory) or segment["start"] + segment["count"] > MEMORY_WORDS[Memory(segment["memory"])]:
            return BankState.BAD_FORMAT
        place += 1 + segment["count"]
    return BankState.LOADING


HEADER_MAGIC = make_image(LANES_HERE, [])[0]


@pytest.fixture(scope="module", params=LANES)
def compiled(request):
    component = Lockstep(Loader(request.param), f"loader_{request.param}")
    yield request.param, component
    component.close()


@pytest.fixture
def loader(compiled):
    lanes, component = compiled
    component.restart()
    return lanes, component


def feed(component: Lockstep, events: list[tuple], apart: int = WORDS_APART) -> dict[str, np.ndarray]:
    """Events, each a name and its value: start, data, end, active; so many cycles apart. ``states`` holds both banks' after each event."""
    cycles = apart * len(events) + 4
    ports = {
        name: np.zeros(cycles, np.int64) for name in ("start", "start_bank", "data_strobe", "data", "end", "active_bank", "active_valid")
    }
    for index, (name, value) in enumerate(events):
        at = index * apart
        match name:
            case "start":
                ports["start"][at], ports["start_bank"][at] = 1, value
            case "data":
                ports["data_strobe"][at], ports["data"][at] = 1, value
            case "end":
                ports["end"][at] = 1
            case "active":
                ports["active_bank"][at:], ports["active_valid"][at:] = value & 1, value >> 1
    return component.run(ports, cycles)


def loads(seen: dict[str, np.ndarray]) -> list[tuple[int, int, int, int]]:
    """Bank, memory, address and data of each word."""
    found = []
    for bits in seen["load"][seen["load"] & 1 == 1]:
        one = unpack(LOAD, int(bits))
        found.append((one["bank"], one["memory"], one["address"], one["data"]))
    return found


def states(seen: dict[str, np.ndarray]) -> tuple[int, int]:
    return int(seen["state_0"][-1]), int(seen["state_1"][-1])


def data(words: Sequence[int]) -> list[tuple]:
    return [("data", word) for word in words]


@pytest.mark.parametrize("bank", range(2))
def test_whole_images(loader, bank):
    """What a naive parser puts into the memories is what the loader puts there, in the bank that it was told."""
    lanes, component = loader
    rng = random.Random(f"{default_seed()} {lanes} {bank}")
    for _ in range(10):
        words, image = random_image(rng, lanes)
        seen = feed(component, [("start", bank), *data(words)])
        assert states(seen)[bank] == BankState.VALID
        assert (seen[f"state_{bank}"][LOAD_CYCLES + WORDS_APART * (len(words)) - 1], seen[f"state_{bank}"][1]) == (BankState.LOADING,) * 2
        found = {memory: [0] * size for memory, size in MEMORY_WORDS.items()}
        for load_bank, memory, address, word in loads(seen):
            assert load_bank == bank
            found[Memory(memory)][address] = word
        assert found == image.memories


def test_latency(loader):
    """A word of a segment is at the memories LOAD_CYCLES later, and so is the verdict of the last one."""
    lanes, component = loader
    words = make_image(lanes, [(Memory.RUNS, 5, [0x12345678])])
    seen = feed(component, [("start", 0), *data(words)], apart=9)
    (at,) = np.flatnonzero(seen["load"] & 1)
    assert at == 9 * 5 + LOAD_CYCLES
    assert np.flatnonzero(seen["state_0"] == BankState.VALID)[0] == 9 * 6 + LOAD_CYCLES


def test_every_byte_counts(loader):
    """A change of any byte: never valid, and what the parser says of it."""
    lanes, component = loader
    rng = random.Random(default_seed())
    segments = [(memory, rng.randrange(MEMORY_WORDS[memory] - 3), [rng.getrandbits(32) for _ in range(3)]) for memory in Memory]
    words = make_image(lanes, segments)
    for place in range(4 * len(words)):
        wrong = list(words)
        wrong[place // 4] ^= rng.randrange(1, 256) << 8 * (place % 4)
        seen = feed(component, [("start", 1), *data(wrong), ("end", 1)])
        state = naive_state(wrong, lanes)
        expected = BankState.BAD_FORMAT if state == BankState.LOADING else state
        assert states(seen) == (BankState.EMPTY, expected), place
        assert expected in (BankState.BAD_FORMAT, BankState.BAD_CRC)


def test_bounds(loader):
    """A segment may reach to the end of its memory, not past it; and not past its image."""
    lanes, component = loader
    for memory in Memory:
        size = MEMORY_WORDS[memory]
        for start, count, fits in ((size - 2, 2, True), (size - 1, 2, False), (size, 1, False), (size, 0, True), (0x3FFF, 2, False)):
            if start > 0x3FFF:
                continue
            words = make_image(lanes, [(memory, start, [7] * count)])
            seen = feed(component, [("start", 0), *data(words)])
            assert states(seen)[0] == (BankState.VALID if fits else BankState.BAD_FORMAT), (memory, start, count)
            assert len(loads(seen)) == (count if fits else 0)
    for memory in range(max(Memory) + 1, 16):
        words = make_image(lanes, [(memory, 0, [7])])
        assert states(feed(component, [("start", 0), *data(words)]))[0] == BankState.BAD_FORMAT
    words = make_image(lanes, [(Memory.RUNS, 0, [7] * 5)])
    words[3] = SEGMENT_LAYOUT.pack({"memory": Memory.RUNS, "start": 0, "count": 6})[0]
    assert states(feed(component, [("start", 0), *data(seal(words[:-1]))]))[0] == BankState.BAD_FORMAT


@pytest.mark.parametrize("field, value", [("magic", 0), ("version", 2), ("lanes", 5), ("model_id", 0), ("words", 3), ("words", 0)])
def test_header(loader, field, value):
    lanes, component = loader
    header = HEADER_LAYOUT.unpack(make_image(lanes, [])) | {field: value}
    seen = feed(component, [("start", 0), *data(seal(HEADER_LAYOUT.pack(header)))])
    assert states(seen)[0] == BankState.BAD_FORMAT


def random_events(rng: random.Random, lanes: int) -> list[tuple]:
    """Images, whole, cut short, wrong somewhere, or of random words, with starts and ends between them; and what bank is active."""
    events = []
    for _ in range(rng.randrange(1, 8)):
        segments = []
        for _ in range(rng.randrange(4)):
            memory = rng.choice(list(Memory))
            count = rng.randrange(5)
            segments.append((memory, rng.randrange(MEMORY_WORDS[memory] - count), [rng.getrandbits(32) for _ in range(count)]))
        words = make_image(lanes, segments)
        if rng.random() < 0.3:
            words[rng.randrange(len(words))] ^= 1 << rng.randrange(32)
        if rng.random() < 0.3:
            del words[rng.randrange(len(words)) :]
        if rng.random() < 0.2:
            words += [rng.getrandbits(32)] * rng.randrange(3)
        part = data(words)
        if rng.random() < 0.9:
            part.insert(0, ("start", rng.randrange(2)))
        if rng.random() < 0.4:
            part.append(("end", 1))
        if rng.random() < 0.5:
            part.insert(
                rng.randrange(len(part) + 1),
                rng.choice((("end", 1), ("start", rng.randrange(2)), ("active", 2 + rng.randrange(2)), ("active", 0))),
            )
        events += part
    return events


def test_any_order(loader):
    """Whatever comes: states as of a naive loader, every word to the bank that is loaded, and none to the active one while it is valid."""
    lanes, component = loader
    rng = random.Random(default_seed())
    refused = 0
    for _ in range(ROUNDS):
        component.restart()
        events = random_events(rng, lanes)
        expected = [BankState.EMPTY, BankState.EMPTY]
        bank, words, active = None, [], 0
        kept, refusals = [], 0
        for index, (name, value) in enumerate(events):
            match name:
                case "start" if active != (2 | value):
                    if bank is not None and expected[bank] == BankState.LOADING:
                        expected[bank] = BankState.BAD_FORMAT
                    bank, words = value, []
                    expected[bank] = BankState.LOADING
                case "start":
                    refusals += 1
                case "end":
                    if bank is not None and expected[bank] == BankState.LOADING:
                        expected[bank] = BankState.BAD_FORMAT
                case "data":
                    if bank is not None and expected[bank] == BankState.LOADING:
                        words.append(value)
                        expected[bank] = naive_state(words, lanes)
                case "active":
                    # Only what is valid is ever active.
                    if value and expected[value & 1] != BankState.VALID:
                        value = 0
                        events[index] = ("active", 0)
                    active = value
            kept.append(tuple(expected))
        seen = feed(component, events)
        found = list(zip(seen["state_0"].tolist(), seen["state_1"].tolist(), strict=True))
        for index, state in enumerate(kept):
            assert found[min(index * WORDS_APART + LOAD_CYCLES, len(found) - 1)] == state, (index, events)
        assert int(seen["refused"].sum()) == refusals
        refused += refusals
        at = np.flatnonzero(seen["load"] & 1)
        for cycle in at:
            load_bank = unpack(LOAD, int(seen["load"][cycle]))["bank"]
            # A word that ends its image is followed by the next event only.
            assert found[cycle][load_bank] == BankState.LOADING
    assert refused
