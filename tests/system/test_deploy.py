"""Models onto twins while they scan: nothing is lost, nothing is mixed, what is damaged changes nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import one_line, reflexarc, succeeds
from running_board import RunningBoard, StartBoard, make_harmless

from reflexarc.calibration import Calibration
from reflexarc.compiler.deploy import Deployable, Request, fit, make_ready, store
from reflexarc.compiler.model_store import ModelStore
from reflexarc.contract.blocks.detector import BankState, Fault
from reflexarc.contract.events import Event, EventSource
from reflexarc.contract.packets import Packet
from reflexarc.contract.words import to_bytes, to_words
from reflexarc.device import Controller
from reflexarc.device.detector import detector_status, load_image
from reflexarc.edge import stored_detector
from reflexarc.experiments.approach import approach
from reflexarc.experiments.deploy import aim, deploy_image
from reflexarc.experiments.scan import LineCollector, configure_raster, raster
from reflexarc.experiments.settings import ScanSettings
from reflexarc_hw.platforms.timing import COMPRESSED
from reflexarc_sim.build import build
from reflexarc_sim.engine import build_engine

sys.path.append(str(Path(__file__).parents[1] / "unit"))
from fake_detector import small_image
from small_models import LABELS, save_calibration, save_model

MODELS = Path(__file__).parents[2] / "models"
ADATOMS = MODELS / "adatoms"
LANES = 4  # of the twin
SLOW_S = 900  # wall time on a slow machine


@pytest.fixture(scope="module")
def detecting_board(start_module_board: StartBoard) -> RunningBoard:
    build(COMPRESSED, LANES)
    return start_module_board("--seed", "3", f"--lanes={LANES}")


@pytest.fixture
def board(detecting_board: RunningBoard) -> Iterator[Controller]:
    """In lockstep, disarmed before and after."""
    with Controller(detecting_board.address, lockstep=True) as client:
        make_harmless(client)
        yield client
        make_harmless(client)


def test_deploy_to_a_twin_of_its_own(tmp_path: Path) -> None:
    build(COMPRESSED, LANES)
    build_engine(LANES)
    files = ["--calibration", str(ADATOMS / "calibration.npz"), "--validation", str(ADATOMS / "held_out.npz")]
    folders = ["--out", str(tmp_path), "--store", str(tmp_path / "kept")]
    text = succeeds("deploy", str(ADATOMS / "model.onnx"), *files, *folders, "--check", "20", "--json", timeout_s=SLOW_S)
    report = json.loads(text)
    assert report["tier"] == "fabric" and report["differences"] == 0 and report["compared"] == 2 * 20 * 4
    assert report["thresholds_proven"] == report["thresholds_total"] > 10_000
    assert report["cycles_measured"] == report["cycles_predicted"] and report["jitter_cycles"] == 0
    assert report["cycles_after_last_measured"] == report["cycles_after_last_predicted"]
    trial = report["trial"]
    assert trial["pixels_lost"] == 0 and trial["evaluations"] > 0 and trial["missed"] == 0 and not trial["faults"]
    assert report["deploy_board_s"] < 1
    assert report["accuracy"]["after"] > 0.9
    assert "adatoms" in succeeds("models", "list", "--store", str(tmp_path / "kept"))


def small(folder: Path, number: int) -> Deployable:
    """A model of five pixels of three lines, all of whose classes make events; each number is another network."""
    view = {"channels": ["z"], "units": [1e-10], "line_mean": True, "center": [2, 1]}
    path = save_model(folder / f"model{number}.onnx", (1, 3, 5), view=view, head={"eventful": LABELS}, seed=number)
    ready = make_ready(Request(path, f"small{number}", save_calibration(folder / "calibration.npz", (1, 3, 5)), model_id=number))
    return fit(ready, Calibration(), LANES)


def test_models_take_turns_while_the_board_scans(board: Controller, tmp_path: Path) -> None:
    """Nothing is lost or missed, and each verdict is that of one model on one window: what this computer makes of the same pixels."""
    device, calibration = board.device, board.device.calibration
    settings = ScanSettings(width_m=1.5e-9, height_m=1.5e-9, pixels=24, lines=24, pixel_s=60e-6)
    kept = ModelStore(tmp_path)
    made = {number: small(tmp_path, number) for number in (11, 12)}
    edges = {number: stored_detector(store(model, kept), kept, calibration) for number, model in made.items()}
    here: dict[int, list[Event]] = {11: [], 12: []}
    changes: list[int] = []  # cycle after which the newest model runs

    class Collector(LineCollector):
        def add(self, packet: Packet) -> None:
            super().add(packet)
            for number, edge in edges.items():
                here[number] += edge.add(packet, lambda line, index: tuple(settings.frame.place_m(line, index)[:2]))

    async def change(line: int) -> None:
        if line % 6 == 0 and line < 24:
            words = made[11 + line // 6 % 2].compiled.words  # type: ignore[union-attr]
            loaded = await deploy_image(device, words)
            assert not loaded.due
            changes.append(await device.time_cycles())

    async def job() -> tuple[LineCollector, list[Event]]:
        await device.set_limits(settings.limits)
        await device.arm()
        await deploy_image(device, made[11].compiled.words)  # type: ignore[union-attr]
        await aim(device, settings, made[11].ready.view)
        await configure_raster(device, settings)
        await approach(device, settings)
        collector = Collector(settings, calibration, None)
        return collector, await raster(device, settings, collector, after_line=change)

    collector, events = board.run(job())
    assert collector.pixels == collector.expected and collector.lost_packets == 0
    status = board.run(detector_status(device.registers))
    assert status.missed == 0 and status.faults == Fault(0) and len(changes) == 3

    def told(events: list[Event]) -> dict[tuple[int, int], tuple[int, int]]:
        """Class and score by line and pixel."""
        first, pitch = settings.frame.place_m(0, 0), settings.width_m / settings.pixels
        scale = np.array([calibration.y_m_per_code, calibration.x_m_per_code]) / 4096
        places = [np.rint((np.array([event.y, event.x]) * scale - [first[1], first[0]]) / pitch).astype(int) for event in events]
        return {(int(line), int(pixel)): (event.class_id, event.score) for (line, pixel), event in zip(places, events, strict=True)}

    for number in made:
        due = told(here[number])
        assert len(due) == 22 * 20  # each window of the frame
        found = told([event for event in events if event.source == EventSource.DETECTOR and event.model_id == number])
        assert len(found) >= 3 * 20 and found.items() <= due.items()
    # A change comes with a line, and three lines make a window: of 24 lines 4 times 2 have none, and those in which a model was loaded.
    assert sum(event.source == EventSource.DETECTOR for event in events) == status.evaluations >= 12 * 20
    for event in events:
        assert event.model_id in (11, 12)


def test_an_image_that_is_damaged_anywhere_changes_nothing(board: Controller, tmp_path: Path) -> None:
    """Each byte of a small image, a bit of it turned over."""
    registers = board.device.registers
    good = small_image(lanes=LANES, model_id=4321)
    board.run(deploy_image(board.device, good))
    whole = to_bytes(small_image(lanes=LANES, model_id=1234))
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        words = to_words(bytes(damaged))

        async def load(words: list[int] = words) -> list[int]:
            """Without the host's own look at the header."""
            (active,) = await registers.read_raw("detector.active")
            bank = 1 - (active & 1)
            await registers.write_each(
                [("detector.load", bank), *(("detector.load_data", word) for word in words), ("detector.load_end", 1)]
            )
            await registers.write_raw({"detector.activate": bank})
            await board.device.sleep(20e-6)
            return await registers.read_raw(f"detector.state_{bank}", "detector.active", "detector.model_id")

        state, active, model = board.run(load())
        assert state in (BankState.BAD_FORMAT, BankState.BAD_CRC), place
        assert active & 6 == 2 and model == 4321, place
        with pytest.raises(Exception, match=r".") as caught:
            board.run(load_image(registers, words))
        assert "\n" not in str(caught.value)
    board.run(deploy_image(board.device, to_words(whole)))
    assert board.run(detector_status(registers)).running == 1234


def test_models_on_a_running_board(detecting_board: RunningBoard, tmp_path: Path) -> None:
    model, board, kept = str(ADATOMS / "model.onnx"), ["--board", detecting_board.address], ["--store", str(tmp_path / "kept")]
    more = ["--calibration", str(ADATOMS / "calibration.npz"), "--out", str(tmp_path), "--json"]
    first = json.loads(succeeds("deploy", model, *more, *board, *kept, timeout_s=SLOW_S))
    second = json.loads(succeeds("deploy", model, *more, *board, *kept, "--name", "other", "--radius", "1", timeout_s=SLOW_S))
    assert second["model_id_before"] == first["model_id"] and second["bank"] == 1 - first["bank"] and not second["change_due"]
    listed = succeeds("models", "list", *board, *kept, timeout_s=SLOW_S)
    assert f"active, model {second['model_id']} (other)" in listed and f"bank {first['bank']}: valid" in listed
    assert "runs already" in succeeds("models", "activate", "other", *board, *kept, timeout_s=SLOW_S)
    assert "adatoms runs after" in succeeds("models", "activate", "adatoms", *board, *kept, timeout_s=SLOW_S)
    assert detecting_board.read_raw("detector.model_id", "detector.radius") == [first["model_id"], first["head"]["radius"]]
    assert "will run at the next frame" in succeeds("models", "activate", "other", *board, *kept, "--at", "frame", timeout_s=SLOW_S)
    assert detecting_board.read_raw("detector.model_id", "detector.active")[1] >> 2 == 1


def test_a_scan_with_a_model(detecting_board: RunningBoard, tmp_path: Path) -> None:
    kept = ["--store", str(tmp_path / "kept")]
    files = ["--calibration", str(ADATOMS / "calibration.npz"), "--out", str(tmp_path)]
    succeeds("deploy", str(ADATOMS / "model.onnx"), *files, *kept, "--board", detecting_board.address, timeout_s=SLOW_S)
    frame = "--lockstep --pixels 16 --lines 15 --size 4e-9 --time-per-line 4e-3".split()
    scan = ["--board", detecting_board.address, *frame, "--detect", "adatoms", *kept, "--out", str(tmp_path / "scans")]
    text = succeeds("scan", *scan, timeout_s=SLOW_S)
    # 13 x 13 pixels: 4 places in each of 3 lines.
    assert "of adatoms: " in text and "; 12 evaluations, 0 missed" in text
    assert "looks at 13 pixels of 13 lines; the scan has 12 of 15" in one_line(reflexarc("scan", *scan, "--pixels", "12"))
