"""Verdicts of any outputs, however they come; and which events are left out because others are near."""

import random
from typing import Any

import numpy as np
import pytest
from head_bench import HeadBench
from lockstep import Lockstep
from naive_head import PIXELS, NaiveNeighbours, Verdict, judge
from support import default_seed
from view_bench import settings_words

from reflexarc_hw.blocks.detector.neighbours import Neighbours

EVALUATIONS = 3000
FRAMES = 150
VERDICT_CYCLES = 2  # from the first output of one that comes alone, and a cycle more for each further one
NEAR_CYCLES = 5  # from the question
CLEAR_CYCLES = 1025  # from a frame to the next one, if that is to remember


@pytest.fixture(scope="module")
def head():
    component = Lockstep(HeadBench(), "head_bench")
    yield component
    component.close()


@pytest.fixture(scope="module")
def neighbours():
    component = Lockstep(Neighbours(), "neighbours")
    yield component
    component.close()


def random_settings(rng: random.Random) -> dict[str, int]:
    members = rng.choice((1, 1, 1, 2, 3, 5))
    classes = rng.randint(1, rng.choice((4, 63 if members == 1 else 64 // members)))
    return {
        "classes": classes, "members": members, "floor": rng.choice((-128, 0, 127, rng.randint(-128, 127))),
        "least_margin": rng.choice((0, 1, 5, 40, 255, 511)), "class_base": rng.choice((0, 7, 250)), "disagreement": rng.randint(0, 1),
        "disagreement_class": rng.randrange(256), "eventful": rng.getrandbits(32), "eventful_high": rng.getrandbits(32),
    }  # fmt: skip


def random_outputs(rng: random.Random, settings: dict[str, int]) -> list[int]:
    """Often with equals, and with members that agree."""
    spread = rng.choice((1, 3, 30, 127))
    member = [rng.randint(-spread - 1, spread) for _ in range(settings["classes"])]
    outputs = []
    for _ in range(settings["members"]):
        outputs += [max(-128, min(127, value + rng.choice((0, 0, 0, 1, rng.randint(-spread, spread))))) for value in member]
    return outputs


def test_head(head):
    """Outputs of any number, in quads of any size and at any distance; verdict and the cycle that it comes in."""
    rng = random.Random(f"{default_seed()} head")
    words: dict[str, list[int]] = {}
    settings = random_settings(rng)
    ports: dict[str, dict[int, int]] = {name: {} for name in ("valid", "last", "count", "values", "clear", "select")}
    changes: list[tuple[int, dict[str, int]]] = [(0, settings)]
    expected: list[tuple[int, Verdict, list[int]]] = []
    now = 5
    for _ in range(EVALUATIONS):
        if rng.random() < 0.2:
            settings = random_settings(rng)
            changes.append((now, settings))
            now += 2
        outputs = random_outputs(rng, settings)
        cleared = rng.random() < 0.03
        place, free = 0, now
        while place < len(outputs):
            count = min(rng.choice((4, 4, 4, 1, 2, 3)), len(outputs) - place)
            if cleared and place + count >= len(outputs):
                ports["clear"][now] = 1
                now += 1
                break
            values = sum((value & 0xFF) << 8 * index for index, value in enumerate(outputs[place : place + count]))
            junk = rng.getrandbits(32) << 8 * count & 0xFFFFFFFF
            ports["valid"][now], ports["count"][now], ports["values"][now] = 1, count, values | junk
            # The first output is compared in the cycle in which it comes, or when those before it are.
            free = max(free, now) + count
            place += count
            if place == len(outputs):
                ports["last"][now] = 1
            now += rng.choice((1, 1, 1, 2, 9))
        else:
            expected.append((free + VERDICT_CYCLES, judge(outputs, settings), outputs))
            now = max(now, free + VERDICT_CYCLES + 1)
    cycles = now + 20
    stimuli: dict[str, Any] = {}
    for name, events in ports.items():
        stimuli[name] = np.zeros(cycles, np.int64)
        for cycle, content in events.items():
            stimuli[name][cycle] = content
    for cycle, content in changes:
        for name, word in settings_words(**content).items():
            words.setdefault(name, [0] * cycles)
            stimuli.setdefault(name, np.zeros(cycles, np.int64))[cycle:] = word
    seen = head.run(stimuli, cycles)
    done = np.flatnonzero(seen["verdict"])
    names = ("event", "class_id", "greatest", "margin", "disagreement")
    found = [(int(cycle), *(int(seen[name][cycle]) for name in names)) for cycle in done]
    due = [(cycle, int(v.event), v.class_id, v.greatest, v.margin % 512, int(v.disagreement)) for cycle, v, _ in expected]
    assert found == due
    assert sum(verdict.event for _, verdict, _ in expected) > 100 and sum(verdict.disagreement for _, verdict, _ in expected) > 100


def test_outputs_can_be_read(head):
    rng = random.Random(default_seed())
    head.restart()
    words = settings_words(classes=22, members=1)
    outputs = [rng.randint(-128, 127) for _ in range(22)]
    stimuli: dict[str, Any] = {name: np.zeros(200, np.int64) for name in ("valid", "last", "count", "values", "select")}
    for place in range(0, 22, 4):
        quad = outputs[place : place + 4]
        stimuli["valid"][place], stimuli["count"][place], stimuli["last"][place] = 1, len(quad), int(place + 4 >= 22)
        stimuli["values"][place] = sum((value & 0xFF) << 8 * index for index, value in enumerate(quad))
    stimuli["select"][100:] = np.arange(100) % 64
    seen = head.run(stimuli | words, 200)
    assert seen["output"][101:123].tolist() == [value % 256 for value in outputs]


def test_neighbours(neighbours):
    """Frames of events anywhere; some begin so soon after the one before that they remember nothing."""
    rng = random.Random(f"{default_seed()} neighbours")
    model = NaiveNeighbours()
    ports: dict[str, dict[int, int]] = {name: {} for name in ("starts_frame", "lookup", "index", "line", "mark", "frame")}
    radii, frames, expected = [(0, 0)], [(0, 0)], []
    now, frame, last_frame = 3, 0, -10_000
    for _ in range(FRAMES):
        frame ^= 1
        ports["starts_frame"][now] = 1
        frames.append((now + 1, frame))
        model.frame(now - last_frame < CLEAR_CYCLES)
        last_frame = now
        radius = rng.choice((0, 1, 2, 5, 20, 63))
        radii.append((now, radius))
        line, now = rng.choice((0, 0, 65000)), now + 2
        width = rng.choice((3, 40, PIXELS, PIXELS + 100))
        for _ in range(rng.choice((1, 2, 10, 200))):
            line += rng.choice((0, 0, 0, 1, 2, radius, radius + 1))
            if line > 65534:
                break
            index = rng.randrange(width)
            ports["lookup"][now], ports["index"][now], ports["line"][now], ports["frame"][now] = 1, index, line, frame
            near = index < PIXELS and model.near(index, line, radius)
            expected.append((now + NEAR_CYCLES, near))
            now += rng.choice((8, 20, 20, 100))
            if not near and rng.random() < 0.7:
                ports["mark"][now] = 1
                model.event(index, line, radius)
                # Places that are further apart than the radius are as many pixels of 16 cycles or more apart; here they need only not be three.
                now += rng.choice((8, 2 * radius + 4))
                if len(model.events) % 2 == 0:
                    now += 4 * radius + 8
            now += rng.choice((1, 20))
        now += rng.choice((0, 300, 1100))
    cycles = now + 20
    stimuli: dict[str, Any] = {}
    for name, events in ports.items():
        stimuli[name] = np.zeros(cycles, np.int64)
        for cycle, content in events.items():
            stimuli[name][cycle] = content
    for name, changes in (("radius", radii), ("frame_now", frames)):
        stimuli[name] = np.zeros(cycles, np.int64)
        for cycle, content in changes:
            stimuli[name][cycle:] = content
    seen = neighbours.run(stimuli, cycles)
    assert [bool(seen["is_near"][cycle]) for cycle, _ in expected] == [near for _, near in expected]
    assert sum(near for _, near in expected) > 200 and sum(not near for _, near in expected) > 200


def test_an_event_of_the_frame_before_is_not_remembered(neighbours):
    """Its verdict came when the next one had begun."""
    neighbours.restart()
    for late in (0, 1):
        stimuli: dict[str, Any] = {name: np.zeros(4000, np.int64) for name in ("starts_frame", "lookup", "mark", "frame_now", "frame")}
        stimuli["starts_frame"][[10, 1500 + late * 20]] = 1
        stimuli["frame_now"][11 : 1501 + late * 20] = 1
        stimuli["frame"][11 : 1501 + late * 20] = 1
        stimuli["lookup"][[1490, 3000]] = 1
        stimuli["mark"][1510] = 1
        seen = neighbours.run(stimuli | {"radius": 3, "index": 100, "line": 2}, 4000)
        assert not seen["is_near"].any()


def test_the_next_frame_remembers_again(neighbours):
    """After one that came too soon, and was without suppression."""
    neighbours.restart()
    cycles = 6000
    stimuli: dict[str, Any] = {name: np.zeros(cycles, np.int64) for name in ("starts_frame", "lookup", "mark")}
    starts = (10, 10 + CLEAR_CYCLES - 1, 3000)
    for start in starts:
        stimuli["starts_frame"][start] = 1
        stimuli["lookup"][[start + 20, start + 60]] = 1
        stimuli["mark"][start + 40] = 1
    seen = neighbours.run(stimuli | {"radius": 3, "index": 100, "line": 2}, cycles)
    near = [[int(seen["is_near"][start + at + NEAR_CYCLES]) for at in (20, 60)] for start in starts]
    assert near == [[0, 1], [0, 0], [0, 1]]
