"""What the detector looks at, against a naive model: each window's bytes, when they were whole, and what is missing and said to be."""

import random
from typing import Any

import numpy as np
import pytest
from lockstep import Lockstep
from naive_view import Line, Point, View, value, windows
from support import default_seed
from view_bench import ViewBench, settings_words

from reflexarc.contract.model import CHANNELS, RING_BYTES, THRESHOLDS, Memory, ViewFlag, ViewSource
from reflexarc.contract.packets import Channel

SCENES = 60
Z, CURRENT, MONITOR = Channel.Z, Channel.CURRENT, Channel.MONITOR
LIMITS = {  # of a sample
    Channel.Z: (-(1 << 31), (1 << 31) - 1),
    Channel.CURRENT: (-(1 << 19), (1 << 19) - 1),
    Channel.MONITOR: (-(1 << 19), (1 << 19) - 1),
    Channel.COUNTER_0: (0, (1 << 16) - 1),
    Channel.COUNTER_1: (0, (1 << 16) - 1),
}
CALM = 400  # cycles from a pixel to the next in which anything is taken in
# From a pixel, a sample or a push to its last byte's ring_write where nothing is under way: one channel, one sample.
WRITE_CYCLES = {ViewSource.PIXEL: 15, ViewSource.SAMPLE: 16, ViewSource.PROGRAM: 15}
MEAN_CYCLES = 16  # more, where it has more samples than one
# Of a record's channel, by whether there are more samples than one and whether the line's mean is taken off.
CHANNEL_CYCLES = {(False, False): 12, (True, False): 19, (False, True): 26, (True, True): 42}
RECORD_CYCLES = 2  # more, of a record; 1 where its channels take longer than the search


@pytest.fixture(scope="module")
def bench():
    component = Lockstep(ViewBench(), "view_bench")
    yield component
    component.close()


class Scene:
    """Stimuli of a view, a cycle at a time; and what came of them."""

    def __init__(self, view: View, source: ViewSource, *, backward: bool = False, bank: int = 0, work: int = 20) -> None:
        self.view = view
        record = view.rows * len(view.channels)
        flags = (ViewFlag.BACKWARD if backward else 0) | (ViewFlag.LINE_MEAN if view.line_mean else 0)
        self.window = view.records * record
        self.constant: dict[str, int] = settings_words(
            source=source, view_flags=flags, channels=len(view.channels), rows=view.rows, records=view.records, record_bytes=record,
            window_bytes=self.window, hop=view.hop, hop_bytes=view.hop * record,
            **{f"channel_{index}": channel for index, channel in enumerate(view.channels)},
        )  # fmt: skip
        self.constant |= {"bank": bank, "work": work}
        self.bank = bank
        self.events: dict[int, dict[str, int]] = {}
        self.levels: dict[str, list[tuple[int, int]]] = {"pixels": [(0, 0)], "active": [(0, 0)]}
        self.now = 0
        for index, thresholds in enumerate(view.thresholds):
            for place, threshold in enumerate([*thresholds, 12345]):
                self.at(
                    self.now,
                    load_enable=1,
                    load_bank=bank,
                    load_memory=Memory.THRESHOLDS,
                    load_address=256 * index + place,
                    load_data=threshold,
                )
                self.now += 1
        self.now += 4
        self.at(self.now, clear=1, stop=1)
        self.level("active", 1)
        self.now += 20

    def at(self, cycle: int, **ports: int) -> None:
        self.events.setdefault(cycle, {}).update(ports)

    def level(self, name: str, content: int) -> None:
        """From now on."""
        self.levels[name].append((self.now, content))

    def pixel(self, point: Point, **flags: int) -> None:
        sums = {f"pixel_sum_{channel.name.lower()}": total for channel, total in point.sums.items()}
        self.at(self.now, pixel_valid=1, pixel_samples=point.samples, time=point.time, x=point.time * 3, y=-point.time, **sums, **flags)

    def sample(self, point: Point, **marks: int) -> None:
        ports = {
            "sample_valid": 1, "monitor_valid": 1, "marker_active": 1, "sample_current": point.sums[CURRENT],
            "sample_monitor": point.sums[MONITOR], "z": point.sums[Z], "time": point.time, "x": point.time * 3, "y": -point.time,
        }  # fmt: skip
        self.at(self.now, **(ports | marks))

    def run(self, bench: Lockstep) -> dict[str, np.ndarray]:
        cycles = self.now + 4000
        stimuli: dict[str, Any] = dict(self.constant)
        for name in {name for ports in self.events.values() for name in ports}:
            stimuli[name] = np.zeros(cycles, np.int64)
        for cycle, ports in self.events.items():
            for name, content in ports.items():
                stimuli[name][cycle] = content
        for name, changes in self.levels.items():
            stimuli[name] = np.zeros(cycles, np.int64)
            for cycle, content in changes:
                stimuli[name][cycle:] = content
        bench.restart()
        return bench.run(stimuli, cycles)


def evaluations(scene: Scene, seen: dict[str, np.ndarray]) -> list[tuple[int, list[int]]]:
    """Of each window that was whole the time of its newest point and its bytes as they were in the ring until the evaluation's end."""
    ring, found = np.zeros(RING_BYTES, np.int64), []
    written, base, window, first = 0, 0, None, 0
    arrived_from = np.flatnonzero(seen["begin"] | seen["completed"] | seen["write"] | (np.diff(seen["engine_busy"], prepend=0) < 0))
    for cycle in arrived_from:
        if seen["begin"][cycle]:
            base, window = int(seen["base"][cycle]), None
            first = written - (written - base) % RING_BYTES  # number of the window's first byte, of all that were written
            assert not seen["engine_busy"][cycle]
        if not seen["write"][cycle - 1] or seen["write"][cycle]:
            # Never more than what was written in the cycles before.
            assert seen["arrived"][cycle] <= scene.window
            if window is None and seen["engine_busy"][cycle]:
                assert seen["arrived"][cycle] == min(written - first, scene.window), f"cycle {cycle}"
        places = (base + np.arange(scene.window)) % RING_BYTES
        if seen["completed"][cycle]:
            assert seen["write"][cycle - seen["age"][cycle]] and not seen["write"][cycle - seen["age"][cycle] + 1 : cycle].any()
            window = ring[places].copy()
            time = int(seen["origin_time"][cycle])
            assert (seen["origin_x"][cycle], seen["origin_y"][cycle]) == (time * 3 % (1 << 32), -time % (1 << 32))
            found.append((time, [int(byte) - (int(byte) >> 7 << 8) for byte in window]))
        if window is not None and not seen["engine_busy"][cycle] and not seen["begin"][cycle]:
            assert (ring[places] == window).all(), "a window that was read was written over"
            window = None
        if seen["write"][cycle]:
            ring[seen["write_address"][cycle]] = seen["write_data"][cycle]
            written += 1
    return found


def random_thresholds(rng: random.Random, channel: Channel) -> list[int]:
    low, high = LIMITS[channel] if channel is Z else tuple(limit << 12 for limit in LIMITS[channel])
    if rng.random() < 0.5:
        middle = rng.randrange(low, high)
        low, high = max(low, middle - 400_000), min(high, middle + 400_000)
    ends = [-(1 << 31), (1 << 31) - 1]
    return sorted(rng.choice([rng.randint(low, high)] * 8 + ends) for _ in range(THRESHOLDS))


def random_view(rng: random.Random, source: ViewSource) -> View:
    pool = list(Channel) if source is ViewSource.PIXEL else [Z, CURRENT, MONITOR]
    channels = tuple(rng.choice(pool) for _ in range(rng.randint(1, min(CHANNELS, len(pool)))))
    rows = rng.choice((1, 1, 2, 3, 7)) if source is ViewSource.PIXEL else 1
    return View(
        channels, rows, rng.randint(1, 12), rng.randint(1, 15), [random_thresholds(rng, channel) for channel in channels],
        line_mean=source is ViewSource.PIXEL and rng.random() < 0.3,
    )  # fmt: skip


def near(rng: random.Random, view: View, channel: Channel, samples: int) -> int:
    """A sum whose mean lies about a threshold, often at it."""
    low, high = LIMITS[channel]
    if channel not in view.channels or rng.random() < 0.1:
        return rng.choice((low, high, rng.randint(low, high))) * samples
    threshold = rng.choice(view.thresholds[view.channels.index(channel)])
    scale = 1 if channel is Z else 1 << 12
    total = threshold * samples // scale + rng.choice((-1, 0, 0, 1, rng.randint(-1000, 1000)))
    return max(low * samples, min(high * samples, total))


def random_point(rng: random.Random, view: View, time: int, samples: int | None = None) -> Point:
    number = samples or rng.choice((1, 1, 2, 3, rng.randint(1, 100), rng.randint(1, (1 << 24) - 1)))
    return Point({channel: near(rng, view, channel, number) for channel in Channel}, number, time)


def scan(scene: Scene, rng: random.Random, lines: int, spacing: int, *, direction: int, spoil: bool = True) -> list[Line]:
    """Lines of pixels, some of them of the other direction, a second pass, of another length, cut short or aborted; those that are looked at."""
    made: list[Line] = []
    pixels, follows = rng.randint(1, 30), True
    scene.level("pixels", pixels)
    for _ in range(lines):
        kind = rng.random() if spoil else 0.5
        other, second = kind < 0.15, 0.15 <= kind < 0.2
        if spoil and rng.random() < 0.08:
            pixels = rng.randint(1, 30)
            scene.level("pixels", pixels)
        if spoil and rng.random() < 0.05:
            scene.at(scene.now, frame_start=1)
            scene.now += 30
            follows = False
        scene.now += rng.choice((0, 0, 5, 100))
        length = rng.randint(1, pixels) if spoil and rng.random() < 0.05 else pixels
        line = Line(pixels=pixels, whole=length == pixels, follows=follows)
        for number in range(length):
            point = random_point(rng, scene.view, scene.now)
            flags = {
                "line_first": number == 0, "line_last": number == pixels - 1, "direction": direction ^ other, "second": second,
            }  # fmt: skip
            scene.pixel(point, **{f"pixel_{name}": int(flag) for name, flag in flags.items()})
            line.points.append(point)
            scene.now += spacing + rng.choice((0, 0, 1, 2, 50))
        if not (other or second):
            follows = True
            made.append(line)
            if length < pixels:
                if rng.random() < 0.7:
                    scene.at(scene.now, clear=1)
                follows = False
    return made


def compare(scene: Scene, seen: dict[str, np.ndarray], lines: list[Line]) -> tuple[int, int]:
    """Made and missed; all that was due is one of them."""
    due, made = windows(scene.view, lines), evaluations(scene, seen)
    missed = int(seen["missed"].sum())
    if not missed:
        assert made == due
    else:
        remaining = iter(due)
        assert all(any(one == other for other in remaining) for one in made), "an evaluation that was not due, or not in order"
        assert len(made) + missed == len(due)
    return len(made), missed


def test_pixels(bench):
    """Windows of any shape on lines of any kind, with an engine that is fast, and with one that is not."""
    rng = random.Random(f"{default_seed()} pixels")
    made = missed = 0
    for number in range(SCENES):
        view, backward = random_view(rng, ViewSource.PIXEL), rng.random() < 0.5
        slow = number % 3 == 0
        scene = Scene(
            view, ViewSource.PIXEL, backward=backward, bank=rng.randrange(2), work=rng.choice((500, 2500)) if slow else rng.choice((0, 20))
        )
        lines = scan(scene, rng, 25, CALM, direction=int(backward))
        seen = scene.run(bench)
        assert not seen["overrun"].any() and not seen["too_long"].any()
        done = compare(scene, seen, lines)
        assert slow or not done[1]
        made, missed = made + done[0], missed + done[1]
    assert made > 1000 and missed > 100


def test_samples(bench):
    """Bursts of samples; each pixel begins anew."""
    rng = random.Random(f"{default_seed()} samples")
    made = 0
    for _ in range(SCENES // 2):
        view = random_view(rng, ViewSource.SAMPLE)
        scene = Scene(view, ViewSource.SAMPLE)
        lines = []
        for _ in range(20):
            line = Line(whole=True)
            for number in range(length := rng.randint(1, 30)):
                point = random_point(rng, view, scene.now, samples=1)
                scene.sample(point, marker_first=int(number == 0), marker_last=int(number == length - 1))
                line.points.append(point)
                scene.now += 56
            lines.append(line)
            for _ in range(rng.choice((0, 3))):
                scene.at(scene.now, sample_valid=1)  # of no pixel
                scene.now += 56
        seen = scene.run(bench)
        assert not seen["overrun"].any()
        made += compare(scene, seen, lines)[0]
    assert made > 300


def test_a_late_monitor_has_its_last_code(bench):
    view = View((MONITOR,), 1, 1, 1, [[place << 24 for place in range(-127, 128)]])
    scene = Scene(view, ViewSource.SAMPLE)
    codes, lines = [3 << 12, 40 << 12, -(7 << 12)], []
    for index, code in enumerate(codes):
        point = Point({Z: 0, CURRENT: 0, MONITOR: code}, 1, scene.now)
        scene.sample(point, marker_first=1, marker_last=1, monitor_valid=int(index != 1))
        lines.append(Line([point if index != 1 else Point({Z: 0, CURRENT: 0, MONITOR: codes[0]}, 1, scene.now)]))
        scene.now += 56
    compare(scene, scene.run(bench), lines)


def test_program(bench):
    """Records of a program, a channel each time; restarts at any time begin anew."""
    rng = random.Random(f"{default_seed()} program")
    made = 0
    for _ in range(SCENES // 2):
        view = random_view(rng, ViewSource.PROGRAM)
        scene = Scene(view, ViewSource.PROGRAM)
        lines = [Line()]
        for _ in range(rng.randint(10, 60)):
            if rng.random() < 0.1:
                scene.at(scene.now, restart=1)
                scene.now += rng.choice((1, 7, 100))
                lines.append(Line())
            pushed = rng.randint(1, len(view.channels)) if rng.random() < 0.1 else len(view.channels)
            given = []
            for thresholds in view.thresholds[:pushed]:
                given.append(max(-(1 << 31), min((1 << 31) - 1, rng.choice(thresholds) + rng.choice((-1, 0, 1)))))
                time = scene.now
                scene.at(time, push_strobe=1, push=given[-1], time=time, x=3 * time, y=-time)
                scene.now += 28
            if pushed == len(view.channels):
                lines[-1].points.append(Point({}, 1, time, tuple(given)))
            else:
                scene.at(scene.now, restart=1)
                scene.now += 3
                lines.append(Line())
        seen = scene.run(bench)
        assert not seen["overrun"].any()
        made += compare(scene, seen, lines)[0]
    assert made > 100


def lines_at(scene: Scene, rng: random.Random, number: int, pixels: int, spacing: int, samples: int) -> list[Line]:
    """Whole lines, a pixel or sample each ``spacing`` cycles, without a pause between lines."""
    lines = []
    scene.level("pixels", pixels)
    for _ in range(number):
        line = Line(pixels=pixels, whole=True)
        for place in range(pixels):
            point = random_point(rng, scene.view, scene.now, samples)
            if scene.constant["settings_0"] >> 16 & 3 == ViewSource.PIXEL:
                scene.pixel(point, pixel_line_first=int(place == 0), pixel_line_last=int(place == pixels - 1))
            else:
                scene.sample(point, marker_first=int(place == 0), marker_last=int(place == pixels - 1))
            line.points.append(point)
            scene.now += spacing
        lines.append(line)
    return lines


def plain_view(rng: random.Random, channels: int, rows: int, records: int = 3, *, line_mean: bool = False) -> View:
    chosen = (Z, CURRENT, MONITOR, Channel.COUNTER_0)[:channels]
    return View(chosen, rows, records, 1, [random_thresholds(rng, channel) for channel in chosen], line_mean=line_mean)


@pytest.mark.parametrize("source", [ViewSource.PIXEL, ViewSource.SAMPLE])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_what_a_record_takes(bench, source: ViewSource, channels: int):
    """Records of one line that come as fast as they may, and a cycle too fast."""
    rng = random.Random(f"{default_seed()} {source} {channels}")
    if source is ViewSource.SAMPLE and channels > 3:
        return
    for (divides, line_mean), cycles in CHANNEL_CYCLES.items():
        if source is ViewSource.SAMPLE and (divides or line_mean):
            continue
        view = plain_view(rng, channels, 1, line_mean=line_mean)
        least = channels * cycles + (RECORD_CYCLES - 1 if divides or line_mean else RECORD_CYCLES)
        for spacing in (least, least - 1):
            scene = Scene(view, source, work=0)
            lines = lines_at(scene, rng, 3, 8, spacing, 2 if divides else 1)
            seen = scene.run(bench)
            assert seen["overrun"].any() == (spacing < least)
            if spacing == least:
                assert compare(scene, seen, lines) == (18, 0)


DWELL = {  # channels and rows: samples a pixel at 16 and at 56 cycles a sample
    (1, 1): (1, 1), (1, 10): (1, 1), (1, 32): (3, 1), (2, 1): (3, 1), (2, 16): (4, 1), (3, 1): (4, 1), (3, 7): (5, 1), (4, 1): (5, 1),
    (4, 8): (6, 2),
}  # fmt: skip


@pytest.mark.parametrize("period", [16, 56])
@pytest.mark.parametrize("channels,rows", DWELL)
def test_dwell(bench, channels: int, rows: int, period: int):
    """What is promised of short pixels, at the compressed and at the true rate; and no shorter ones are possible."""
    fits = DWELL[channels, rows][period == 56]
    for samples in range(max(1, fits - 1), fits + 2):
        rng = random.Random(f"{default_seed()} {channels} {rows} {period}")
        scene = Scene(plain_view(rng, channels, rows), ViewSource.PIXEL, work=0)
        lines = lines_at(scene, rng, rows + 3, 20, period * samples, samples)
        seen = scene.run(bench)
        assert seen["overrun"].any() == (samples < fits)
        if samples >= fits:
            assert compare(scene, seen, lines) == (4 * 18, 0)


def test_rule_for_records_of_many_lines(bench):
    """``channels * (rows - 1 + CHANNEL_CYCLES) + RECORD_CYCLES`` are enough."""
    rng = random.Random(f"{default_seed()} rule")
    for _ in range(15):
        channels, rows = rng.randint(1, 4), rng.randint(2, 20)
        divides, line_mean = rng.random() < 0.5, rng.random() < 0.5
        scene = Scene(plain_view(rng, channels, rows, line_mean=line_mean), ViewSource.PIXEL, work=0)
        spacing = channels * (rows - 1 + CHANNEL_CYCLES[divides, line_mean]) + RECORD_CYCLES
        lines = lines_at(scene, rng, rows + 1, 8, spacing, 7 if divides else 1)
        seen = scene.run(bench)
        assert not seen["overrun"].any()
        assert compare(scene, seen, lines) == (12, 0)


def test_latency(bench):
    """From what comes to the last byte of its record."""
    rng = random.Random(default_seed())
    for source, cycles in WRITE_CYCLES.items():
        for samples in (1, 9):
            scene = Scene(plain_view(rng, 1, 1, 1), source)
            point = random_point(rng, scene.view, scene.now, samples)
            match source:
                case ViewSource.PIXEL:
                    scene.pixel(point, pixel_line_first=1)
                case ViewSource.SAMPLE:
                    scene.sample(point, marker_first=1)
                case ViewSource.PROGRAM:
                    scene.at(scene.now, push_strobe=1, push=5)
            more = MEAN_CYCLES if source is ViewSource.PIXEL and samples > 1 else 0
            assert np.flatnonzero(scene.run(bench)["write"]).tolist() == [scene.now + cycles + more]


@pytest.mark.parametrize("source", [ViewSource.PIXEL, ViewSource.SAMPLE, ViewSource.PROGRAM])
def test_what_comes_too_fast(bench, source: ViewSource):
    """Is missing, which is said; what was evaluated all the same is right, and all that was due after the next beginning is done again."""
    rng = random.Random(f"{default_seed()} fast {source}")
    overruns = made = 0
    for _ in range(SCENES // 2):
        view = random_view(rng, source)
        scene = Scene(view, source, work=rng.choice((0, 300)))
        lines: list[Line] = []
        if source is ViewSource.PIXEL:
            lines = scan(scene, rng, 30, rng.choice((11, 16, 20, 30, 50)), direction=0)
        else:
            for _ in range(20):
                line = Line()
                scene.at(scene.now, restart=1)
                scene.now += 200
                for number in range(length := rng.randint(1, 30)):
                    given = tuple(rng.choice(thresholds) for thresholds in view.thresholds)
                    point = random_point(rng, view, scene.now, samples=1)
                    if source is ViewSource.PROGRAM:
                        for push in given:
                            point = Point({}, 1, scene.now, given)
                            scene.at(scene.now, push_strobe=1, push=push, time=point.time, x=3 * point.time, y=-point.time)
                            scene.now += rng.choice((7, 20, 20, 20))
                    else:
                        scene.sample(point, marker_first=int(number == 0), marker_last=int(number == length - 1))
                        scene.now += rng.choice((16, 56))
                    line.points.append(point)
                lines.append(line)
        seen = scene.run(bench)
        due = windows(view, lines)
        remaining = iter(due)
        done = evaluations(scene, seen)
        assert all(any(one == other for other in remaining) for one in done)
        if not seen["overrun"].any():
            assert len(done) + seen["missed"].sum() == len(due)
        overruns, made = overruns + int(seen["overrun"].sum()), made + len(done)
    assert overruns > 50 and made > 50


def test_a_window_is_not_written_over(bench):
    """Windows as large as the ring: while they are read, what comes waits, and then it is too late."""
    rng = random.Random(f"{default_seed()} ring")
    thresholds = [random_thresholds(rng, Channel.COUNTER_0)] * 4
    for records, work in ((292, 1500), (292, 0), (280, 1500)):
        scene = Scene(View((Channel.COUNTER_0,) * 4, 7, records, 1, thresholds), ViewSource.PIXEL, work=work)
        lines = lines_at(scene, rng, 9, 300, 120, 1)
        seen = scene.run(bench)
        due = dict(windows(scene.view, lines))
        made = evaluations(scene, seen)
        assert made and all(due[time] == content for time, content in made)
        if work == 0:
            assert len(made) == len(due) and not seen["overrun"].any()
        elif records == 292:
            assert seen["overrun"].any()


@pytest.mark.parametrize("pixels,fits", [(819, True), (820, False)])
def test_lines_that_are_too_long(bench, pixels: int, fits: bool):
    rng = random.Random(default_seed())
    scene = Scene(View((Channel.COUNTER_0,) * 4, 6, 300, 500, [random_thresholds(rng, Channel.COUNTER_0)] * 4), ViewSource.PIXEL, work=0)
    lines = lines_at(scene, rng, 7, pixels, 80, 1)
    seen = scene.run(bench)
    assert bool(seen["too_long"].any()) != fits
    made = compare(scene, seen, lines)[0]
    assert (made > 0) == fits
    if not fits:
        assert seen["too_long"].sum() == 7, "once a line"


def test_numbers_of_lines_and_frames(bench):
    """Counted for those that come of the chosen direction, from 0 in each frame; a frame's first record says so."""
    rng = random.Random(default_seed())
    scene = Scene(plain_view(rng, 1, 1, 1), ViewSource.PIXEL, backward=True)
    expected, frames = [], 0
    scene.level("pixels", 3)
    for _ in range(4):
        scene.at(scene.now, frame_start=1)
        scene.now += 50
        frames += 1
        for line in range(5):
            for direction in (0, 1):
                for place in range(3):
                    flags = {"pixel_line_first": int(place == 0), "pixel_line_last": int(place == 2), "pixel_direction": direction}
                    scene.pixel(random_point(rng, scene.view, scene.now), pixel_index=2 - place, **flags)
                    if direction:
                        expected.append((2 - place, line, frames & 1))
                    scene.now += CALM
    seen = scene.run(bench)
    done = np.flatnonzero(seen["completed"])
    assert [tuple(int(seen[f"origin_{name}"][cycle]) for name in ("index", "line", "frame")) for cycle in done] == expected
    assert seen["starts_frame"].sum() == frames


def test_stop_drops_an_evaluation(bench):
    """Clear drops one that waits for its window, stop another one, too."""
    rng = random.Random(default_seed())
    for stop, records, aborts, dropped in ((0, 2, 1, 0), (1, 2, 1, 0), (0, 1, 0, 0), (1, 1, 1, 1)):
        scene = Scene(plain_view(rng, 1, 1, records), ViewSource.PIXEL, work=100)
        scene.pixel(random_point(rng, scene.view, scene.now), pixel_line_first=1)
        scene.at(scene.now + 60, clear=1, stop=stop)
        seen = scene.run(bench)
        assert (seen["aborts"].sum(), seen["dropped"].sum()) == (aborts, dropped)
        assert seen["begin"].sum() == 1 and not seen["engine_busy"][-1]


def test_value_is_the_exact_mean():
    """What the naive model itself calls a value."""
    assert value(Point({Z: -7}, 2, 0), Z) == -4 and value(Point({CURRENT: -7}, 2, 0), CURRENT) == -14336
