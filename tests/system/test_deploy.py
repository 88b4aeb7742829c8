"""Models onto twins while they scan: nothing is lost, nothing is mixed, what is damaged changes nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import succeeds
from running_board import RunningBoard, StartBoard, make_harmless

from reflexarc.calibration import Calibration
from reflexarc.compiler.deploy import Deployable, Request, Tier, fit, make_ready, store
from reflexarc.compiler.model_store import ModelStore
from reflexarc.contract.blocks.detector import BankState, Fault
from reflexarc.contract.events import Event, EventSource
from reflexarc.contract.words import to_bytes, to_words
from reflexarc.device import Controller
from reflexarc.device.detector import detector_status, load_image
from reflexarc.experiments.approach import approach
from reflexarc.experiments.deploy import deploy_image
from reflexarc.experiments.detect import Detection
from reflexarc.experiments.scan import LineCollector, configure_raster, raster
from reflexarc.experiments.settings import ScanSettings
from reflexarc_hw.platforms.timing import COMPRESSED
from reflexarc_sim.build import build

sys.path.append(str(Path(__file__).parents[1] / "unit"))
from fake_detector import small_image

MODELS = Path(__file__).parents[2] / "models"
ADATOMS = MODELS / "adatoms"
LANES = 4  # of the twin
SETTINGS = ScanSettings(width_m=9e-9, height_m=9e-9, pixels=48, lines=40, pixel_s=100e-6)


def made_of(path: Path, **more: object) -> Deployable:
    request = Request(path / "model.onnx", path.name, path / "calibration.npz", **more)  # type: ignore[arg-type]
    return fit(make_ready(request), Calibration(), LANES)


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


@pytest.fixture(scope="module")
def adatoms() -> Deployable:
    return made_of(ADATOMS)


def test_deploy_to_a_twin_of_its_own(tmp_path: Path) -> None:
    arguments = [
        str(ADATOMS / "model.onnx"),
        "--calibration",
        str(ADATOMS / "calibration.npz"),
        "--validation",
        str(ADATOMS / "held_out.npz"),
    ]
    report = json.loads(succeeds("deploy", *arguments, "--out", tmp_path, "--store", tmp_path / "kept", "--check", "20", "--json"))
    assert report["tier"] == "fabric" and report["differences"] == 0 and report["compared"] == 2 * 20 * 4
    assert report["thresholds_proven"] == report["thresholds_total"] > 10_000
    assert report["cycles_measured"] == report["cycles_predicted"] and report["jitter_cycles"] == 0
    assert report["cycles_after_last_measured"] == report["cycles_after_last_predicted"]
    trial = report["trial"]
    assert trial["pixels_lost"] == 0 and trial["evaluations"] > 0 and trial["missed"] == 0 and not trial["faults"]
    assert report["deploy_board_s"] < 1
    assert report["accuracy"]["after"] > 0.9
    assert "adatoms" in succeeds("models", "list", "--store", tmp_path / "kept")


def test_models_take_turns_while_the_board_scans(board: Controller, adatoms: Deployable, tmp_path: Path) -> None:
    """Two models that differ in their id and in which classes make events: each event is one of the model that ran then."""
    other = made_of(ADATOMS, model_id=adatoms.model_id % 65535 + 1, head={"eventful": ("clean",), "radius": 0, "least_margin": 0.0})
    assert other.compiled is not None and adatoms.compiled is not None
    device = board.device
    changes: list[tuple[int, int]] = []  # time after which, model

    async def job() -> tuple[LineCollector, list[Event]]:
        await device.set_limits(SETTINGS.limits)
        await device.arm()
        await configure_raster(device, SETTINGS)
        await approach(device, SETTINGS)
        collector = LineCollector(SETTINGS, device.calibration, None)

        async def change(line: int) -> None:
            if line in (15, 20, 25, 30):
                model = (other, adatoms)[line // 5 % 2]
                await deploy_image(device, model.compiled.words)
                changes.append((await device.time_cycles(), model.model_id))

        events = await raster(device, SETTINGS, collector, after_line=change)
        return collector, events

    collector, events = board.run(job())
    assert collector.pixels == collector.expected and collector.lost_packets == 0
    status = board.run(detector_status(device.registers))
    assert status.missed == 0 and status.faults == Fault(0) and status.evaluations > 500
    found = [event for event in events if event.source == EventSource.DETECTOR]
    assert {event.model_id for event in found} >= {other.model_id}
    for event in found:
        before = [model for time, model in changes if time <= event.time]
        after = [model for time, model in changes if time > event.time]
        # Between the word that asked for a change and its line's start either may run.
        assert event.model_id in {*before[-1:], *after[:1]}
        assert (event.class_id == 0) == (event.model_id == other.model_id)


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


def test_both_tiers_on_one_scan(board: Controller, adatoms: Deployable, tmp_path: Path) -> None:
    """The gateware and this computer look at the same frame and find the same, at the same places."""
    kept = ModelStore(tmp_path)
    fabric = store(adatoms, kept)
    ready = adatoms.ready
    edge = store(fit(replace(ready, request=replace(ready.request, name="edge", tier=Tier.EDGE, model_id=777)), Calibration(), None), kept)
    device = board.device
    on_fabric, on_edge = Detection(fabric, kept), Detection(edge, kept)

    async def job() -> list[Event]:
        await device.set_limits(SETTINGS.limits)
        await device.arm()
        await on_fabric.begin(device, SETTINGS, None)
        collector = await on_edge.begin(device, SETTINGS, None)
        await configure_raster(device, SETTINGS)
        await approach(device, SETTINGS)
        return on_edge.events(await raster(device, SETTINGS, collector))

    events = board.run(job())
    here = [event for event in events if event.model_id == 777]
    there = [event for event in events if event.model_id == adatoms.model_id and event.source == EventSource.DETECTOR]
    assert len(here) > 0
    assert [(event.class_id, event.score) for event in here] == [(event.class_id, event.score) for event in there]
    pixel = SETTINGS.width_m / SETTINGS.pixels / device.calibration.x_m_per_code * 4096
    assert all(abs(a.x - b.x) < pixel and abs(a.y - b.y) < pixel for a, b in zip(here, there, strict=True))


def test_models_on_a_running_board(detecting_board: RunningBoard, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    arguments = ["--calibration", ADATOMS / "calibration.npz", "--out", tmp_path, "--store", kept, "--board", detecting_board.address]
    first = json.loads(succeeds("deploy", ADATOMS / "model.onnx", *arguments, "--json"))
    second = json.loads(succeeds("deploy", ADATOMS / "model.onnx", *arguments, "--name", "other", "--radius", "1", "--json"))
    assert second["model_id_before"] == first["model_id"] and second["bank"] == 1 - first["bank"]
    listed = succeeds("models", "list", "--store", kept, "--board", detecting_board.address)
    assert f"active, model {second['model_id']} (other)" in listed and "valid" in listed
    assert "runs already" in succeeds("models", "activate", "other", "--store", kept, "--board", detecting_board.address)
    assert "adatoms runs after" in succeeds("models", "activate", "adatoms", "--store", kept, "--board", detecting_board.address)
    assert detecting_board.read_raw("detector.model_id", "detector.radius") == [first["model_id"], first["head"]["radius"]]
