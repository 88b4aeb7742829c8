"""The edge tier: windows as the gateware's view gives them, verdicts as its head gives them, events at their places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from small_models import LABELS, save_calibration, save_model

from reflexarc.calibration import Calibration
from reflexarc.compiler.deploy import Deployable, Request, Tier, fit, make_ready, reference_outputs, store
from reflexarc.compiler.model_store import ModelStore
from reflexarc.compiler.network import Head
from reflexarc.contract.events import EventSource
from reflexarc.contract.packets import Channel, Direction, Packet
from reflexarc.edge import EdgeDetector, stored_detector
from reflexarc.edge.pixels import PixelView, less_line_mean, pixel_values
from reflexarc.edge.verdict import Neighbours, Verdict, event_class, judge
from reflexarc.errors import BadInput
from reflexarc.experiments.detect import Detection
from reflexarc.experiments.settings import ScanSettings

CALIBRATION = Calibration()
SAMPLES = 7


def packet(line: int, values: NDArray[np.int64], sequence: int, *, backward: bool = False, second: bool = False, **more: object) -> Packet:
    """A line whose pixels' means are ``values``, Q20.12, with something left that the mean drops. ``values``: [channel, pixel] in time's order."""
    pixels = values.shape[1]
    index = tuple(range(pixels - 1, -1, -1) if backward else range(pixels))
    sums = {Channel.Z: tuple(int(value) * SAMPLES + value_number % SAMPLES for value_number, value in enumerate(values[0]))}
    if len(values) > 1:
        sums[Channel.CURRENT] = tuple(int(value) * SAMPLES // 4096 for value in values[1])
    given = {
        "sequence": sequence, "direction": Direction(int(backward)), "second": second, "line": line, "pixels": pixels, "pixel_samples": SAMPLES,
        "time": 1000 * line, "lost": 0, "aborted": False, "index": index, "samples": (SAMPLES,) * pixels, "sums": sums,
    }  # fmt: skip
    return Packet(**(given | more))  # type: ignore[arg-type]


def surface(lines: int, pixels: int, seed: int = 3, spread_m: float = 3e-10) -> NDArray[np.int64]:
    """Heights in Q20.12, around that of a scan."""
    z_m = np.random.default_rng(seed).standard_normal((lines, pixels)) * spread_m
    return np.rint(z_m / CALIBRATION.z_m_per_code * 4096).astype(np.int64) + 123_456


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Deployable:
    """A model that both tiers have room for."""
    folder = tmp_path_factory.mktemp("edge")
    save_model(folder / "model.onnx", head={"eventful": ["adatom", "step"], "least_margin": 0.25})
    save_calibration(folder / "calibration.npz")
    return fit(make_ready(Request(folder / "model.onnx", "small", folder / "calibration.npz")), CALIBRATION, 8)


def edge_of(made: Deployable, tmp_path: Path) -> EdgeDetector:
    kept = ModelStore(tmp_path)
    return stored_detector(store(made, kept), kept, CALIBRATION)


def test_values_are_what_the_gateware_makes_of_sums() -> None:
    values = np.array([[-5, 7, 0], [9000, -4097, 12]])
    found = packet(0, values, 0)
    assert pixel_values(found, Channel.Z).tolist() == [(-5 * 7) // 7, (7 * 7 + 1) // 7, 2 // 7]
    assert pixel_values(found, Channel.CURRENT).tolist() == [((9000 * 7 // 4096) << 12) // 7, ((-4097 * 7 // 4096) << 12) // 7, 0]
    assert less_line_mean(np.array([3, -4, 8])).tolist() == [0, -4 - (-1 // 2), 8 - 7 // 3]


def naive_windows(image: NDArray[np.int64], rows: int, records: int, hop: int) -> list[tuple[int, int, NDArray[np.int64]]]:
    return [
        (line, last, image[line - rows + 1 : line + 1, last - records + 1 : last + 1])
        for line in range(rows - 1, len(image))
        for last in range(records - 1, image.shape[1], hop)
    ]


@pytest.mark.parametrize(
    ("rows", "records", "hop", "backward"), [(1, 9, 9, False), (1, 4, 1, True), (3, 3, 1, False), (2, 9, 9, True), (3, 4, 2, False)]
)
def test_windows_of_a_frame(rows: int, records: int, hop: int, backward: bool) -> None:
    image = surface(6, 9)
    view = PixelView((Channel.Z,), rows, records, hop, lambda values, channel: values, backward=backward)
    found = []
    for line, values in enumerate(image):
        for way in (False, True):
            windows, origins = view.add(packet(line, values[None] + 1000 * (way is not backward), 2 * line + way, backward=way), 56)
            found += list(zip(origins, windows, strict=True))
    due = naive_windows(image, rows, records, hop)
    assert len(found) == len(due)
    for (origin, window), (line, last, values) in zip(found, due, strict=True):
        assert np.array_equal(window[0], values)
        assert (origin.line, origin.count) == (line, line) and origin.index == (8 - last if backward else last)
        assert origin.time == 1000 * line + 56 * SAMPLES * (last + 1)


def test_lines_that_are_not_whole_are_no_neighbours() -> None:
    image = surface(12, 5)
    view = PixelView((Channel.Z,), 2, 5, 5, lambda values, channel: values)
    counts = []
    for line, values in enumerate(image):
        more: dict[str, object] = {3: {"lost": 1}, 6: {"aborted": True}}.get(line, {})
        sequence = line + (line >= 9)  # a packet was lost before line 9
        counts.append(len(view.add(packet(line, values[None], sequence, **more), 56)[1]))
    assert counts == [0, 1, 1, 0, 0, 1, 0, 0, 1, 0, 1, 1] and view.broken_lines == 2
    view.start_frame()
    assert len(view.add(packet(0, image[:1], 0), 56)[1]) == 0
    assert len(view.add(packet(0, image[:1], 1, second=True), 56)[1]) == 0
    assert len(view.add(packet(1, image[1:2, :4], 2), 56)[1]) == 0  # of another length


def naive_verdict(outputs: list[int], head: Head) -> Verdict:
    members = [outputs[number * head.classes :][: head.classes] for number in range(head.members)]
    best = [member.index(max(member)) for member in members]
    margins = [max(member) - max([*(v for k, v in enumerate(member) if k != best[n]), head.floor]) for n, member in enumerate(members)]
    return Verdict(best[0], min(margins), any(one != best[0] for one in best))


def test_verdicts() -> None:
    rng = np.random.default_rng(5)
    for _ in range(500):
        classes, members = int(rng.integers(1, 6)), int(rng.integers(1, 4))
        head = Head(classes, members, floor=int(rng.integers(-128, 100)))
        outputs = rng.integers(-128, 128, classes * members) // int(rng.choice([1, 60]))  # equal ones, too
        assert judge(outputs, head) == naive_verdict(outputs.tolist(), head)


def test_which_verdicts_make_an_event() -> None:
    head = Head(3, 2, least_margin=5, class_base=10, eventful=frozenset({1}))
    assert event_class(Verdict(1, 5, False), head) == 11
    assert event_class(Verdict(1, 4, False), head) is None and event_class(Verdict(2, 50, False), head) is None
    assert event_class(Verdict(1, 9, True), head) == 11  # nobody asked whether they agree
    head = Head(3, 2, least_margin=5, eventful=frozenset({1}), disagreement_class=3)
    assert event_class(Verdict(2, 0, True), head) == 3 and event_class(Verdict(1, 9, False), head) == 1


def test_one_event_in_a_neighbourhood() -> None:
    neighbours = Neighbours(2)
    assert [neighbours.takes(*place) for place in ((0, 5), (0, 7), (1, 8), (2, 3), (2, 5), (3, 5), (3, 10), (9, 5))] == [
        True, False, True, False, False, True, False, True,
    ]  # fmt: skip
    neighbours.start_frame()
    assert neighbours.takes(0, 5)
    assert all(Neighbours(0).takes(0, 0) for _ in range(3))


def test_both_tiers_say_the_same_of_the_same_pixels(made: Deployable, tmp_path: Path) -> None:
    """The fabric's numbers are the integer reference's, on bytes that its thresholds give."""
    assert made.tier is Tier.FABRIC and made.view is not None and made.ready.prepared is not None
    edge = edge_of(made, tmp_path)
    assert edge.is_integer
    image = surface(20, 30)
    events = []
    for line, values in enumerate(image):
        events += edge.add(packet(line, values[None], line), lambda line, index: (index * 1e-10, line * 1e-10))

    differences = np.stack([less_line_mean(values) for values in image])
    stored = np.array(
        [[sum(t <= value for t in made.view.thresholds[0].tolist()) - 128 for value in line] for line in differences.tolist()]
    )
    due = []
    for line, last, window in naive_windows(stored, 7, 7, 1):
        outputs = reference_outputs(made.ready.prepared, window[None, None].astype(np.int8))[0]
        verdict = naive_verdict(outputs.tolist(), made.head)
        if verdict.class_id in made.head.eventful and verdict.margin >= made.head.least_margin:
            due.append((verdict.class_id, verdict.margin, line - 3, last - 3))
    assert len(due) > 10 and edge.evaluations == 14 * 24
    found = [
        (
            event.class_id,
            event.score,
            round(event.y / 4096 * CALIBRATION.y_m_per_code / 1e-10),
            round(event.x / 4096 * CALIBRATION.x_m_per_code / 1e-10),
        )
        for event in events
    ]
    assert found == due
    assert {event.source for event in events} == {EventSource.DETECTOR} and {event.model_id for event in events} == {made.model_id}
    assert [event.sequence for event in events] == list(range(len(events)))


def test_an_atom_is_one_event(made: Deployable, tmp_path: Path) -> None:
    free, held = edge_of(made, tmp_path), edge_of(made, tmp_path)
    held._neighbours = Neighbours(3)
    image = surface(20, 30)
    counts = [
        sum(len(edge.add(packet(n, values[None], n), lambda y, x: (x, y))) for n, values in enumerate(image)) for edge in (free, held)
    ]
    assert counts[0] == counts[1] + held.suppressed > counts[1] > 0 and free.suppressed == 0


def test_a_model_in_floats(tmp_path: Path) -> None:
    """Without calibration nothing is quantized; a margin counts in 1/256."""
    save_model(tmp_path / "model.onnx")
    made = fit(make_ready(Request(tmp_path / "model.onnx", "small")), CALIBRATION, 8)
    edge = edge_of(made, tmp_path / "kept")
    assert not edge.is_integer
    import onnxruntime

    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    image = surface(9, 10)
    units = np.stack([less_line_mean(values) for values in image]) * (CALIBRATION.z_m_per_code / 4096 / 1e-10)
    events = []
    for line, values in enumerate(image):
        events += edge.add(packet(line, values[None], line), lambda line, index: (0.0, 0.0))
    scores = []
    kept = Neighbours(2)
    for line, last, window in naive_windows(units, 7, 7, 1):  # type: ignore[arg-type]
        outputs = session.run(None, {"x": window[None, None].astype(np.float32)})[0][0].tolist()
        margin = outputs[1] - max(outputs[0], outputs[2])
        if margin >= 0.25 and kept.takes(line, last):
            scores.append(round(margin * 256))
    assert [event.score for event in events] == pytest.approx(scores, abs=1) and scores
    assert {LABELS[event.class_id] for event in events} == {"adatom"}


def test_what_a_scan_must_be_for_a_model(made: Deployable, tmp_path: Path) -> None:
    kept = ModelStore(tmp_path)
    detection = Detection(store(made, kept), kept)
    detection.check(ScanSettings(pixels=32, lines=32))
    with pytest.raises(BadInput, match="looks at 7 pixels of 7 lines; the scan has 32 of 6"):
        detection.check(ScanSettings(pixels=32, lines=6))
    save_model(tmp_path / "line.onnx", (2, 1, 64), view={"channels": ["z", "monitor"], "units": [1e-10, 1.0], "hop": 64, "backward": True})
    save_calibration(tmp_path / "calibration.npz", (2, 1, 64))
    line = fit(make_ready(Request(tmp_path / "line.onnx", "line", tmp_path / "calibration.npz", tier=Tier.EDGE)), CALIBRATION, None)
    detection = Detection(store(line, kept), kept)
    with pytest.raises(BadInput, match="give --pixels 64"):
        detection.check(ScanSettings(pixels=128))
    with pytest.raises(BadInput, match="MONITOR, which the scan does not record"):
        detection.check(ScanSettings(pixels=64))
    detection.check(ScanSettings(pixels=64, channels=frozenset({Channel.MONITOR})))
