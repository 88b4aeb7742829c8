"""Lines against their predecessors: correlation to the last bit, events, and what can't be compared."""

import random
from typing import Any

import numpy as np
import pytest
from correlator_bench import CorrelatorBench
from lockstep import Lockstep
from naive_correlator import PIXELS, correlation, value
from support import default_seed

from reflexarc.contract.blocks.correlator import BLOCK
from reflexarc.contract.packets import Channel

SCENES = 60
BANK_CYCLES = 4
PIXEL_CYCLES = 11  # from a pixel of one sample to the next, if that is not to be lost
MEAN_CYCLES = 16  # more, where it has several
# From a line's last pixel, of one sample, to the event, where no pixel comes meanwhile.
EVENT_CYCLES = 1198
NEGATIVE_CYCLES = 15  # more, where lines are unlike
REST_CYCLES = 1500  # after which nothing is under way
LIMITS = {
    Channel.Z: (-(1 << 31), (1 << 31) - 1),
    Channel.CURRENT: (-(1 << 19), (1 << 19) - 1),
    Channel.MONITOR: (-(1 << 19), (1 << 19) - 1),
}


@pytest.fixture(scope="module")
def bench():
    component = Lockstep(CorrelatorBench(), "correlator_bench")
    yield component
    component.close()


class Scene:
    def __init__(self, **registers: int) -> None:
        self.events: dict[int, dict[str, int]] = {}
        self.now = 0
        self.reads: dict[str, int] = {}
        for name, content in registers.items():
            self.write(name, content)
        self.write("enable", 1)
        self.now += 8

    def at(self, cycle: int, **ports: int) -> None:
        self.events.setdefault(cycle, {}).update(ports)

    def write(self, name: str, content: int) -> None:
        self.at(self.now, bus__strobe=1, bus__write=1, bus__offset=BLOCK[name].offset // 4, bus__write_data=content & 0xFFFFFFFF)
        self.now += BANK_CYCLES

    def read(self, name: str) -> None:
        """What ``results`` has of it then."""
        self.at(self.now, bus__strobe=1, bus__offset=BLOCK[name].offset // 4)
        self.reads[name] = self.now + BANK_CYCLES
        self.now += BANK_CYCLES

    def pixel(self, total: int, samples: int, channel: Channel, **flags: int) -> None:
        sums = {f"pixel_sum_{one.name.lower()}": 99 for one in Channel} | {f"pixel_sum_{channel.name.lower()}": total}
        stands = {"pixel_samples": samples, "time": self.now, "x": 3 * self.now, "y": -self.now, **sums, **flags}
        self.at(self.now, pixel_valid=1, **stands)
        self.at(self.now + 1, **stands)

    def run(self, bench: Lockstep, *, restart: bool = True) -> tuple[dict[str, np.ndarray], dict[str, int]]:
        for name in ("lines", "events", "correlation", "missed"):
            self.read(name)
        cycles = self.now + 10
        stimuli: dict[str, Any] = {name: np.zeros(cycles, np.int64) for name in {name for ports in self.events.values() for name in ports}}
        for cycle, ports in self.events.items():
            for name, content in ports.items():
                stimuli[name][cycle] = content
        if restart:
            bench.restart()
        seen = bench.run(stimuli, cycles)
        return seen, {name: BLOCK[name].decode(int(seen["bus__read_data"][cycle])) for name, cycle in self.reads.items()}


def events_of(seen: dict[str, np.ndarray]) -> list[tuple[int, int]]:
    """Time and score of each; its place is that of its time."""
    found = []
    for cycle in np.flatnonzero(seen["found"]):
        time = int(seen["found_time"][cycle])
        assert (seen["found_x"][cycle], seen["found_y"][cycle]) == (3 * time % (1 << 32), -time % (1 << 32))
        assert seen["model_id"][cycle] == 0
        score = int(seen["score"][cycle])
        found.append((time, score - (score >> 31 << 32)))
    return found


def random_line(rng: random.Random, channel: Channel, shift: int, before: list[int] | None, pixels: int) -> list[int]:
    """Means in steps of 2**shift, some like those of the line before, its negative, flat, or noise."""
    low, high = (limit << (0 if channel is Channel.Z else 12) >> shift for limit in LIMITS[channel])
    kind = rng.choice(("noise", "same", "like", "like", "scaled", "negative", "flat", "unlike", "rails"))
    if before is None or len(before) != pixels or kind == "noise":
        spread = rng.choice((2, 1000, 1 << 16))
        middle = rng.randint(low, high)
        return [max(low, min(high, middle + rng.randint(-spread, spread))) for _ in range(pixels)]
    noise = rng.choice((1, 30, 10_000))
    return [
        max(low, min(high, {
            "same": old, "like": old + rng.randint(-noise, noise), "scaled": 3 * old + 5, "negative": -old, "flat": before[0],
            "unlike": -old + rng.randint(-noise, noise), "rails": rng.choice((low, high)),
        }[kind]))
        for old in before
    ]  # fmt: skip


def test_lines(bench):
    """Any lines of both directions and passes, cut short, aborted, of other lengths; frames; any settings."""
    rng = random.Random(f"{default_seed()} lines")
    compared = fired = 0
    for _ in range(SCENES):
        channel, shift, backward = rng.choice(list(LIMITS)), rng.choice((12, 14, 16, 17, rng.randrange(32))), rng.randrange(2)
        least = rng.choice((-(1 << 15), 1 << 15, 1 << 15, 0, rng.randint(-(1 << 15), 1 << 15)))
        scene = Scene(channel=channel, shift=shift, backward=backward, least=least, class_id=17)
        expected: list[tuple[int, int]] = []
        before: list[int] | None = None  # values of the line that the next one is compared with
        steps: list[int] | None = None
        lines, last = 0, 0
        pixels = rng.randint(1, 40)
        for _ in range(rng.randint(5, 25)):
            kind = rng.random()
            other, second = kind < 0.2, 0.2 <= kind < 0.25
            if rng.random() < 0.1:
                pixels = rng.choice((1, 2, rng.randint(1, 300)))
            if rng.random() < 0.05:
                scene.at(scene.now, frame_start=1)
                scene.now += 20
                before = None
            steps = random_line(rng, channel, shift, steps, pixels)
            length = pixels if rng.random() < 0.95 else rng.randint(0, pixels - 1)
            values = []
            for place, mean in enumerate(steps[:length]):
                samples = rng.choice((1, 1, 2, 5, rng.randint(1, (1 << 24) - 1)))
                fraction = rng.random()
                exact = int((mean + fraction) * (1 << shift)) * samples if shift else mean * samples
                total = exact if channel is Channel.Z else exact >> 12
                low, high = LIMITS[channel]
                total = max(low * samples, min(high * samples, total))
                values.append(value(total, samples, channel, shift))
                flags = {"line_first": place == 0, "line_last": place == pixels - 1, "direction": backward ^ other, "second": second}
                scene.pixel(total, samples, channel, **{f"pixel_{name}": int(flag) for name, flag in flags.items()})
                time = scene.now
                scene.now += PIXEL_CYCLES + MEAN_CYCLES + rng.choice((0, 1, 30))
            if other or second:
                continue
            if length < pixels:
                if length == 0 or rng.random() < 0.5:
                    scene.at(scene.now, aborted=1)
                    scene.now += 3
                before = None
                continue
            if before is not None and len(before) == len(values):
                result = correlation(before, values)
                lines, last = lines + 1, result or 0
                if result is not None and result < least:
                    expected.append((time, result))
            before = values
            scene.now += REST_CYCLES
        seen, registers = scene.run(bench)
        assert events_of(seen) == expected
        assert registers == {"lines": lines, "events": len(expected), "correlation": last, "missed": 0}
        assert all(seen["class_id"][cycle] == 17 for cycle in np.flatnonzero(seen["found"]))
        compared, fired = compared + lines, fired + len(expected)
    assert compared > 200 and fired > 50


@pytest.mark.parametrize("pixels", [PIXELS, PIXELS + 1])
def test_long_lines(bench, pixels: int):
    """The greatest sums that there are; and a line that is too long, which the next one can't be compared with."""
    rng = random.Random(default_seed())
    scene = Scene(channel=Channel.Z, shift=0, least=1 << 15)
    lines = [[rng.choice((32767, 32766)) for _ in range(pixels)] for _ in range(2)]
    for line in lines:
        for place, mean in enumerate(line):
            scene.pixel(mean, 1, Channel.Z, pixel_line_first=int(place == 0), pixel_line_last=int(place == pixels - 1))
            scene.now += 16
    scene.now += REST_CYCLES
    seen, registers = scene.run(bench)
    if pixels > PIXELS:
        assert registers["missed"] == 2 and not registers["lines"] and not seen["found"].any()
    else:
        assert registers["lines"] == 1 and registers["correlation"] == correlation(*lines)
        assert [score for _, score in events_of(seen)] == [correlation(*lines)]


def test_a_line_comes_while_the_one_before_it_is_compared(bench):
    """Without a pause between lines, each is compared all the same; of lines that are too short for that some are missed, and it is said."""
    rng = random.Random(default_seed())
    for pixels, number in ((90, 12), (20, 12)):
        scene = Scene(channel=Channel.Z, shift=4, least=1 << 15)
        lines, times = [], []
        for _ in range(number):
            lines.append([rng.randint(-(1 << 19), 1 << 19) for _ in range(pixels)])
            for place, mean in enumerate(lines[-1]):
                scene.pixel(mean, 1, Channel.Z, pixel_line_first=int(place == 0), pixel_line_last=int(place == pixels - 1))
                times.append(scene.now)
                scene.now += 16
        scene.now += REST_CYCLES
        seen, registers = scene.run(bench)
        assert registers["lines"] + registers["missed"] == number - 1
        assert (registers["missed"] == 0) == (pixels == 90)
        due = {
            times[pixels * (index + 1) - 1]: correlation([mean >> 4 for mean in lines[index - 1]], [mean >> 4 for mean in lines[index]])
            for index in range(1, number)
        }
        found = events_of(seen)
        assert len(found) == registers["lines"] and all(due[time] == score for time, score in found)


def test_latency(bench):
    for sign, cycles in ((1, EVENT_CYCLES), (-1, EVENT_CYCLES + NEGATIVE_CYCLES)):
        scene = Scene(channel=Channel.Z, shift=0, least=1 << 15)
        for line in range(2):
            for place, mean in enumerate((3, 9, 1, 7)):
                scene.pixel(
                    mean if line == 0 else sign * mean + place,
                    1,
                    Channel.Z,
                    pixel_line_first=int(place == 0),
                    pixel_line_last=int(place == 3),
                )
                last = scene.now
                scene.now += PIXEL_CYCLES
        scene.now += REST_CYCLES
        seen, _ = scene.run(bench)
        assert np.flatnonzero(seen["found"]).tolist() == [last + cycles]


def test_pixels_that_come_too_fast(bench):
    """Spoil their line, and the next one has no predecessor."""
    for spacing, lost in ((PIXEL_CYCLES, False), (PIXEL_CYCLES - 2, True)):
        scene = Scene(channel=Channel.Z, shift=0, least=1 << 15)
        for _ in range(4):
            for place in range(8):
                scene.pixel(place * place, 1, Channel.Z, pixel_line_first=int(place == 0), pixel_line_last=int(place == 7))
                scene.now += spacing
            scene.now += REST_CYCLES
        _, registers = scene.run(bench)
        assert (registers["lines"], registers["missed"]) == ((0, 4) if lost else (3, 0))


def test_other_settings_begin_anew(bench):
    scene = Scene(channel=Channel.Z, shift=0, least=1 << 15)
    for line in range(6):
        if line == 3:
            scene.write("shift", 1)
            scene.now += 10
        for place in range(8):
            scene.pixel(place * place, 1, Channel.Z, pixel_line_first=int(place == 0), pixel_line_last=int(place == 7))
            scene.now += 16
        scene.now += REST_CYCLES
    _, registers = scene.run(bench)
    assert registers == {"lines": 4, "events": 0, "correlation": 1 << 15, "missed": 0}
