"""The whole detector with real images: each event of each window, and models that are changed, damaged and loaded while a scan runs."""

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from detector_bench import DetectorBench
from lockstep import Lockstep
from naive_head import NaiveNeighbours, Verdict, judge
from naive_view import Line, Point, View, windows
from support import default_seed

from reflexarc.compiler import network as networks
from reflexarc.compiler import reference
from reflexarc.compiler.compile import compile_network
from reflexarc.compiler.network import Head, Layer, Network, Shape, Window
from reflexarc.contract.blocks.detector import BLOCK, BankState, Fault, SwapAt
from reflexarc.contract.model import SETTINGS_LAYOUT, THRESHOLDS, Memory, ViewSource
from reflexarc.contract.packets import Channel

LANES = 4
ACCESS_CYCLES = 7
BANK_CYCLES = 4
VERDICT_CYCLES = 3  # from the last output being taken to the event
SPACING = 700  # cycles from a pixel to the next, in which these models are done
Z, CURRENT = Channel.Z, Channel.CURRENT


@dataclass
class Model:
    """An image, and what is known of it without one."""

    words: list[int]
    view: View
    settings: dict[str, int]
    network: Network
    cycles_after: int  # from the last byte to the last outputs

    @property
    def source(self) -> ViewSource:
        return ViewSource(self.settings["source"])

    def verdicts(self, lines: list[Line]) -> list[tuple[int, Verdict, list[int]]]:
        """Of each evaluation its newest point's time, its verdict and outputs."""
        due = windows(self.view, lines)
        if not due:
            return []
        shape = self.network.shapes[self.network.input]
        values = np.array([content for _, content in due], np.int8)
        values = values.reshape(len(due), shape.columns, shape.rows, shape.channels).transpose(0, 3, 2, 1)
        outputs = reference.run(self.network, values).reshape(len(due), -1)
        return [(time, judge(row.tolist(), self.settings), row.tolist()) for (time, _), row in zip(due, outputs, strict=True)]


def layer(rng: np.random.Generator, name: str, source: str, target: str, weights: np.ndarray) -> Layer:
    outputs = len(weights)
    return Layer(
        name, (source,), target, weights.astype(np.int16), rng.integers(-3000, 3000, outputs).astype(np.int64),
        np.full(outputs, 80 / (128 * 60 * np.sqrt(weights[0].size)), np.float32), int(rng.integers(-20, 20)), -128, 127,
        Window((weights.shape[2], weights.shape[3])),
    )  # fmt: skip


def make_model(
    seed: int, model_id: int, channels: tuple[Channel, ...] = (Z,), rows: int = 1, records: int = 4, hop: int = 1, *,
    source: ViewSource = ViewSource.PIXEL, classes: int = 3, members: int = 1, **head: Any,
) -> Model:  # fmt: skip
    rng = np.random.default_rng([default_seed(), seed])
    outputs = classes * members
    shapes = {"in": Shape(len(channels), rows, records), "hidden": Shape(5, 1, 1), "out": Shape(outputs, 1, 1)}
    network = Network(
        "in", "out", shapes,
        (
            layer(rng, "first", "in", "hidden", rng.integers(-128, 128, (5, len(channels), rows, records))),
            layer(rng, "second", "hidden", "out", rng.integers(-128, 128, (outputs, 5, 1, 1))),
        ),
    )  # fmt: skip
    thresholds = np.sort(rng.integers(-(1 << 20), 1 << 20, (len(channels), THRESHOLDS)), axis=1).astype(np.int32)
    view = networks.View(source, channels, rows, records, hop, thresholds)
    found = compile_network(network, view, Head(classes, members, **head), LANES, model_id)
    settings = SETTINGS_LAYOUT.unpack(list(found.image.memories[Memory.SETTINGS]))
    naive = View(channels, rows, records, hop, thresholds.tolist())
    return Model(found.words, naive, settings, network, found.cycles.after)


class Scene:
    """Stimuli a cycle at a time. Registers are read where ``read`` says, and ``results`` has them by the name that it is given there."""

    def __init__(self, bench: Lockstep) -> None:
        self._bench = bench
        self._events: dict[int, dict[str, int]] = {}
        self._reads: list[tuple[int, str, str]] = []
        self._levels: dict[str, list[tuple[int, int]]] = {"pixels": [], "in_line": []}
        self._kept = {"pixels": 0, "in_line": 0}
        self._run_to = 0
        self._bus_free = 0
        self.now = 0
        self.results: dict[str, int] = {}
        self.found: list[dict[str, int]] = []
        self.underflows = 0

    def at(self, **ports: int) -> None:
        self._events.setdefault(self.now, {}).update(ports)

    def level(self, name: str, content: int) -> None:
        self._levels[name].append((self.now, content))

    def access(self, name: str, content: int | None, cycle: int | None = None) -> int:
        """At ``cycle``, or as soon as the bus may; the cycle that it is."""
        cycle = max(self._bus_free, self.now if cycle is None else cycle)
        self._bus_free = cycle + ACCESS_CYCLES
        ports = {"bus__strobe": 1, "bus__offset": BLOCK[name].offset // 4}
        if content is not None:
            ports |= {"bus__write": 1, "bus__write_data": content & 0xFFFFFFFF}
        self._events.setdefault(cycle, {}).update(ports)
        return cycle

    def write(self, name: str, content: int) -> None:
        """And wait until it is so."""
        self.now = self.access(name, content) + ACCESS_CYCLES

    def read(self, name: str, key: str | None = None) -> None:
        cycle = self.access(name, None)
        self._reads.append((cycle + BANK_CYCLES, name, key or name))
        self.now = cycle + ACCESS_CYCLES

    def load(self, words: list[int], bank: int, *, wait: bool = True) -> None:
        """Word by word; the scan goes on meanwhile where it is not waited for."""
        self.access("load", bank)
        for word in words:
            self.access("load_data", word)
        self.access("load_end", 1)
        if wait:
            self.now = self._bus_free + 8

    def pixel(self, point: Point, index: int, **flags: int) -> None:
        sums = {f"pixel_sum_{channel.name.lower()}": total for channel, total in point.sums.items()}
        where = {"time": point.time, "x": 3 * point.time, "y": -point.time}
        self.at(pixel_valid=1, pixel_samples=point.samples, pixel_index=index, **where, **sums, **flags)

    def run(self) -> None:
        """All cycles up to now; goes on from there."""
        cycles = self.now - self._run_to
        stimuli: dict[str, Any] = {name: np.zeros(cycles, np.int64) for name in {name for ports in self._events.values() for name in ports}}
        for cycle, ports in self._events.items():
            for name, content in ports.items():
                stimuli[name][cycle - self._run_to] = content
        for name, changes in self._levels.items():
            stimuli[name] = np.full(cycles, self._kept[name])
            for cycle, content in changes:
                stimuli[name][cycle - self._run_to :] = content
                self._kept[name] = content
            changes.clear()
        seen = self._bench.run(stimuli, cycles)
        for cycle, name, key in self._reads:
            self.results[key] = BLOCK[name].decode(int(seen["bus__read_data"][cycle - self._run_to]))
        for cycle in np.flatnonzero(seen["found"]):
            event = {name: int(seen[f"found_{name}"][cycle]) for name in ("class_id", "model_id", "score", "time", "disagreement")}
            event["score"] -= event["score"] >> 31 << 32
            assert (seen["found_x"][cycle], seen["found_y"][cycle]) == (3 * event["time"] % (1 << 32), -event["time"] % (1 << 32))
            self.found.append(event | {"cycle": int(cycle) + self._run_to})
        self.underflows += int(seen["underflow"].sum())
        self._events.clear()
        self._reads.clear()
        self._run_to = self.now


@pytest.fixture(scope="module")
def compiled():
    component = Lockstep(DetectorBench(LANES), "detector_bench")
    yield component
    component.close()


@pytest.fixture
def scene(compiled):
    compiled.restart()
    return Scene(compiled)


def scan_line(scene: Scene, rng: random.Random, pixels: int, *, direction: int = 0, spacing: int = SPACING, tail: int = 0) -> Line:
    line = Line(pixels=pixels, whole=True)
    for place in range(pixels):
        point = Point({channel: rng.randint(-(1 << 20), 1 << 20) >> (0 if channel is Z else 12) for channel in Channel}, 1, scene.now)
        flags = {"line_first": place == 0, "line_last": place == pixels - 1, "direction": direction}
        scene.pixel(point, place, **{f"pixel_{name}": int(flag) for name, flag in flags.items()})
        line.points.append(point)
        scene.now += spacing
    scene.now += tail
    return line


def expected_events(model: Model, lines: list[Line], radius: int = 0, first_line: int = 0) -> tuple[list[dict[str, int]], dict[str, int]]:
    """Events and counts of one frame, in which pixel n of a line has index n."""
    neighbours, events = NaiveNeighbours(), []
    counts = {"evaluations": 0, "events": 0, "suppressed": 0, "disagreements": 0}
    where = {point.time: (index, first_line + number) for number, line in enumerate(lines) for index, point in enumerate(line.points)}
    for time, verdict, _ in model.verdicts(lines):
        counts["evaluations"] += 1
        counts["disagreements"] += verdict.disagreement
        if not verdict.event:
            continue
        if neighbours.near(*where[time], radius):
            counts["suppressed"] += 1
            continue
        neighbours.event(*where[time], radius)
        counts["events"] += 1
        events.append(
            {
                "class_id": verdict.class_id, "model_id": model.settings["model_id"], "score": verdict.margin, "time": time,
                "disagreement": int(verdict.disagreement),
            }
        )  # fmt: skip
    return events, counts


def found(scene: Scene) -> list[dict[str, int]]:
    return [{name: content for name, content in event.items() if name != "cycle"} for event in scene.found]


def start(scene: Scene, model: Model, bank: int = 0, **registers: int) -> None:
    scene.load(model.words, bank)
    scene.write("enable", 1)
    for name, content in registers.items():
        scene.write(name, content)
    scene.write("activate", bank)
    scene.now += 300


SHAPES = [
    {"channels": (Z,), "rows": 1, "records": 4, "eventful": frozenset({0, 2})},
    {"channels": (Z, CURRENT), "rows": 3, "records": 3, "eventful": frozenset({0, 1, 2}), "least_margin": 20, "class_base": 9},
    {"channels": (Z,), "rows": 2, "records": 5, "hop": 3, "classes": 2, "members": 3, "eventful": frozenset({1}), "disagreement_class": 77},
]


@pytest.mark.parametrize("number", range(len(SHAPES)))
@pytest.mark.parametrize("radius", [0, 2])
def test_events(scene, number: int, radius: int):
    """Each event of a frame, and no other; counts, last result, last outputs."""
    rng = random.Random(f"{default_seed()} {number}")
    model = make_model(number, 300 + number, **SHAPES[number])
    start(scene, model, bank=number % 2, radius=radius)
    scene.level("pixels", 12)
    scene.level("in_line", 1)
    scene.at(frame_start=1)
    scene.now += 20
    lines = [scan_line(scene, rng, 12) for _ in range(10)]
    for name in ("evaluations", "events", "suppressed", "disagreements", "missed", "faults", "model_id", "active", "result", "cycles"):
        scene.read(name)
    outputs = model.verdicts(lines)[-1][2]
    for place in range(len(outputs)):
        scene.write("output_select", place)
        scene.now += 4
        scene.read("output", f"output_{place}")
    scene.run()
    events, counts = expected_events(model, lines, radius)
    assert found(scene) == events and len(events) > 5
    results = scene.results
    assert {name: results[name] for name in counts} == counts and (radius == 0) == (counts["suppressed"] == 0)
    assert (results["missed"], results["faults"], scene.underflows) == (0, 0, 0)
    assert (results["model_id"], results["active"]) == (300 + number, number % 2 | 2)
    last = model.verdicts(lines)[-1][1]
    assert results["result"] == last.greatest | last.margin % 512 << 8 | last.disagreement << 17
    assert [results[f"output_{place}"] for place in range(len(outputs))] == outputs
    # ``arrived`` is a cycle behind the ring, then the engine; outputs come four a cycle and are compared one a cycle, and VERDICT_CYCLES are left.
    behind = len(outputs) - (len(outputs) - 1) // 4
    assert results["cycles"] == 1 + model.cycles_after + behind + VERDICT_CYCLES


def lines_of(scene: Scene, rng: random.Random, number: int, pixels: int, spacing: int = SPACING) -> list[Line]:
    return [scan_line(scene, rng, pixels, spacing=spacing) for _ in range(number)]


def split(model_a: Model, model_b: Model, lines: list[Line], boundary: int) -> list[dict[str, int]]:
    """Events where model b takes over with line number ``boundary``; and the lines before it are nothing to b."""
    before, after = expected_events(model_a, lines[:boundary])[0], expected_events(model_b, lines[boundary:])[0]
    return before + after


@pytest.mark.parametrize("first,second", [(0, 1), (1, 0), (1, 2), (2, 1)])
def test_a_model_is_changed_while_a_scan_runs(scene, first: int, second: int):
    """At any cycle: the old one's events up to a line, the new one's from there on, none missing and none of both."""
    rng = random.Random(f"{default_seed()} change {first} {second}")
    models = [make_model(first, 1000, **SHAPES[first]), make_model(second, 2000, **SHAPES[second])]
    start(scene, models[0])
    scene.level("pixels", 12)
    scene.level("in_line", 1)
    bank, model = 0, models[0]
    for _ in range(6):
        other = models[1] if model is models[0] else models[0]
        scene.found.clear()
        begin = len(scene.found)
        scene.at(frame_start=1)
        scene.now += 20
        # The image travels while lines are scanned.
        scene.load(other.words, bank ^ 1, wait=False)
        activated = scene.access("activate", bank ^ 1, scene.now + rng.randint(2, 9) * 12 * SPACING // 2 + rng.randint(0, SPACING))
        lines = lines_of(scene, rng, 12, 12)
        scene.read("active")
        scene.run()
        # The strobe comes BANK_CYCLES after the access; the first pixel of a line from the cycle after that on is the boundary.
        boundary = next(index for index, line in enumerate(lines) if line.points[0].time > activated + BANK_CYCLES)
        assert scene.results["active"] == (bank ^ 1) | 2
        assert found(scene)[begin:] == split(model, other, lines, boundary)
        bank, model = bank ^ 1, other
    scene.read("missed")
    scene.read("faults")
    scene.run()
    assert scene.results["missed"] <= 6 and scene.results["faults"] == 0 and scene.underflows == 0


def test_a_change_waits_for_the_frame(scene):
    rng = random.Random(default_seed())
    models = [make_model(0, 1000, **SHAPES[0]), make_model(1, 2000, **SHAPES[1])]
    start(scene, models[0], swap_at=SwapAt.LINE)
    scene.write("swap_at", SwapAt.FRAME)
    scene.load(models[1].words, 1)
    scene.level("pixels", 12)
    scene.at(frame_start=1)
    scene.now += 20
    scene.access("activate", 1)
    lines = lines_of(scene, rng, 3, 12)
    scene.now += 1000
    lines += lines_of(scene, rng, 3, 12)
    scene.read("active")
    scene.run()
    assert scene.results["active"] == 4 | 2 | 0
    assert found(scene) == expected_events(models[0], lines)[0]
    scene.found.clear()
    scene.at(frame_start=1)
    scene.now += 20
    lines = lines_of(scene, rng, 6, 12)
    scene.read("active")
    scene.run()
    assert scene.results["active"] == 2 | 1
    assert found(scene) == expected_events(models[1], lines)[0]


def test_a_change_outside_of_lines_is_made_at_once(scene):
    rng = random.Random(default_seed())
    models = [make_model(0, 1000, **SHAPES[0]), make_model(1, 2000, **SHAPES[1])]
    start(scene, models[0])
    scene.load(models[1].words, 1)
    scene.level("pixels", 12)
    scene.level("in_line", 1)
    line = scan_line(scene, rng, 12, tail=-SPACING + 1)
    scene.level("in_line", 0)
    scene.access("activate", 1)
    scene.now += 200
    scene.read("active", "early")
    scene.now += 300
    scene.read("active", "late")
    scene.read("missed")
    scene.run()
    assert (scene.results["early"], scene.results["late"], scene.results["missed"]) == (4 | 2, 2 | 1, 0)
    assert found(scene) == expected_events(models[0], [line])[0], "its last evaluation was done before"


def test_a_damaged_image_changes_nothing(scene):
    """A flipped bit in each of its words, and an end before its time: the bank is bad, and the old model goes on, whatever is asked for."""
    rng = random.Random(f"{default_seed()} damage")
    models = [make_model(0, 1000, **SHAPES[0]), make_model(5, 2000, **SHAPES[0])]
    start(scene, models[0])
    scene.level("pixels", 12)
    scene.level("in_line", 1)
    scene.at(frame_start=1)
    scene.now += 20
    words = models[1].words
    refused = 0
    for place in range(len(words) + 5):
        damaged = list(words)
        if place < len(words):
            damaged[place] ^= 1 << rng.randrange(32)
        else:
            damaged = damaged[: rng.randrange(len(words))]
        scene.found.clear()
        scene.load(damaged, 1, wait=False)
        scene.access("activate", 1)
        refused += 1
        lines = []
        while scene.now <= scene._bus_free:
            lines.append(scan_line(scene, rng, 12, spacing=230))
        for name in ("state_1", "active", "refused"):
            scene.read(name)
        scene.run()
        assert scene.results["state_1"] in (BankState.BAD_FORMAT, BankState.BAD_CRC), place
        assert (scene.results["active"], scene.results["refused"]) == (2, refused)
        assert found(scene) == expected_events(models[0], lines)[0]
    scene.load(words, 1)
    scene.write("activate", 1)
    scene.found.clear()
    lines = lines_of(scene, rng, 2, 12)
    scene.read("model_id")
    scene.run()
    assert scene.results["model_id"] == 2000 and found(scene) == expected_events(models[1], lines)[0]


def test_what_is_refused(scene):
    """A load into the active bank, and activation of one that is not valid; a load takes back a change that is due."""
    model = make_model(0, 7, **SHAPES[0])
    scene.write("activate", 1)
    scene.read("refused", "empty")
    start(scene, model)
    scene.write("load", 0)
    scene.read("refused", "active")
    scene.read("state_0")
    scene.load(model.words, 1)
    scene.level("in_line", 1)
    scene.now += 10
    scene.write("activate", 1)
    scene.read("active", "due")
    scene.write("load", 1)
    scene.read("active", "off")
    scene.level("in_line", 0)
    scene.now += 1000
    scene.read("active", "later")
    scene.run()
    results = scene.results
    assert (results["empty"], results["active"], results["state_0"]) == (1, 2, BankState.VALID)
    assert (results["due"], results["off"], results["later"]) == (4 | 2, 2, 2)


@pytest.mark.parametrize("offset", range(-9, 4))
@pytest.mark.parametrize("name", ["load", "activate"])
def test_second_thoughts_at_the_boundary(scene, name: str, offset: int):
    """A load of the bank that a change is due to, or a command to stay, in any cycle about the change: it is made or it is not, and all agrees."""
    rng = random.Random(default_seed())
    models = [make_model(0, 1000, **SHAPES[0]), make_model(5, 2000, **SHAPES[0])]
    start(scene, models[0])
    scene.load(models[1].words, 1)
    scene.level("pixels", 12)
    scene.level("in_line", 1)
    scene.now += 10
    scene.write("activate", 1)
    scene.now += 100
    scene.access(name, 1 if name == "load" else 0, scene.now + 50 + offset)
    scene.now += 50
    line = scan_line(scene, rng, 12)
    for register in ("active", "state_0", "state_1", "refused", "model_id"):
        scene.read(register)
    scene.run()
    results = scene.results
    active, due = results["active"] & 1, results["active"] >> 2
    assert results["active"] & 2 and results[f"state_{active}"] == BankState.VALID
    assert results["model_id"] == models[active].settings["model_id"]
    assert found(scene) == expected_events(models[active], [line])[0]
    if name == "load":
        # Refused where it came too late, else the bank is being loaded and nothing has changed.
        assert (active, results["state_1"], results["refused"], due) in ((1, BankState.VALID, 1, 0), (0, BankState.LOADING, 0, 0))
    else:
        assert due == active, "back again with the next line where it came too late"
    assert active == (offset > -BANK_CYCLES)


def test_strict(scene):
    """Evaluations that are missing are counted, and an underflow each where that is asked for."""
    rng = random.Random(default_seed())
    model = make_model(0, 7, (Z,), 1, 1, eventful=frozenset({0, 1, 2}), least_margin=0)
    start(scene, model)
    scene.level("pixels", 40)
    lines = lines_of(scene, rng, 2, 40, 16)
    scene.now += 500
    scene.read("missed", "first")
    scene.read("evaluations", "done")
    scene.run()
    assert scene.underflows == 0
    scene.write("strict", 1)
    lines_of(scene, rng, 2, 40, 16)
    scene.now += 500
    for name in ("missed", "evaluations", "faults"):
        scene.read(name)
    scene.run()
    results = scene.results
    assert results["first"] > 20 and results["first"] + results["done"] == 80 == len(model.verdicts(lines))
    assert results["missed"] + results["evaluations"] == 160 and scene.underflows == results["missed"] - results["first"]
    assert results["faults"] == Fault.BUSY
    assert len({event["time"] for event in scene.found}) == len(scene.found)


def test_switched_off(scene):
    """Nothing is evaluated, and what was under way is dropped; later it begins with a new line."""
    rng = random.Random(default_seed())
    model = make_model(0, 7, **SHAPES[0])
    start(scene, model)
    scene.level("pixels", 12)
    line = scan_line(scene, rng, 12)
    scene.access("enable", 0, line.points[6].time + 100)
    scene.access("enable", 1, line.points[9].time + 100)
    more = lines_of(scene, rng, 2, 12)
    for name in ("missed", "faults"):
        scene.read(name)
    scene.run()
    half = Line(points=line.points[:7], pixels=12)
    assert found(scene) == expected_events(model, [half])[0] + expected_events(model, more)[0]
    assert (scene.results["missed"], scene.results["faults"]) == (0, 0)


def test_samples_and_programs(scene):
    """Models of the other two views: a burst in a pixel, and what a program pushes."""
    rng = random.Random(default_seed())
    models = [
        make_model(3, 40, (Z, CURRENT), 1, 6, source=ViewSource.SAMPLE, eventful=frozenset({0, 1, 2}), least_margin=0),
        make_model(4, 41, (Z, CURRENT), 1, 3, source=ViewSource.PROGRAM, eventful=frozenset({0, 1, 2}), least_margin=0),
    ]
    start(scene, models[0], radius=5)
    scene.load(models[1].words, 1)
    bursts = []
    for _ in range(10):
        line = Line()
        for place in range(7):
            point = Point({Z: rng.randint(-(1 << 20), 1 << 20), CURRENT: rng.randint(-(1 << 8), 1 << 8)}, 1, scene.now)
            scene.at(
                sample_valid=1, marker_active=1, marker_first=int(place == 0), marker_last=int(place == 6), time=point.time, x=3 * point.time,
                y=-point.time, z=point.sums[Z], sample_current=point.sums[CURRENT],
            )  # fmt: skip
            line.points.append(point)
            scene.now += 56
        bursts.append(line)
        scene.now += SPACING
    scene.run()
    assert found(scene) == expected_events(models[0], bursts)[0] and len(scene.found) == 20, "neighbours are pixels' alone"
    scene.found.clear()
    scene.write("activate", 1)
    scene.now += 600
    records = Line()
    for _ in range(8):
        given = []
        for _ in range(2):
            given.append(rng.randint(-(1 << 20), 1 << 20))
            strobe = scene.access("push", given[-1]) + BANK_CYCLES
            scene._events.setdefault(strobe, {}).update(time=strobe, x=3 * strobe, y=-strobe)
            scene.now += 300
        records.points.append(Point({}, 1, strobe, tuple(given)))
    scene.run()
    assert found(scene) == expected_events(models[1], [records])[0]


def test_without_an_engine():
    """Registers only: nothing can be loaded, and it is said."""
    bare = Lockstep(DetectorBench(0), "detector_bench_0")
    scene = Scene(bare)
    scene.write("load", 0)
    scene.write("activate", 1)
    scene.write("enable", 1)
    for name in ("lanes", "state_0", "state_1", "active", "refused", "enable"):
        scene.read(name)
    scene.run()
    assert scene.results == {"lanes": 0, "state_0": BankState.EMPTY, "state_1": BankState.EMPTY, "active": 0, "refused": 2, "enable": 1}
    bare.close()
