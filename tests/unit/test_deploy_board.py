"""A model onto a board that answers by the contract; and what of it must not be."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fake_detector import FakeBoard, FakeDetector, small_image
from small_models import save_calibration, save_model

from reflexarc.calibration import Calibration
from reflexarc.compiler.deploy import Request, fit, make_ready
from reflexarc.compiler.wishes import parse_view
from reflexarc.contract.blocks.detector import SwapAt
from reflexarc.contract.blocks.scan import ScanState
from reflexarc.contract.model import ViewSource
from reflexarc.contract.packets import Channel
from reflexarc.errors import ReflexArcError, RegisterRefused
from reflexarc.experiments.deploy import add_loaded, deploy_image, offset_m, problems, raise_problems, trial_settings
from reflexarc.experiments.settings import ScanSettings


def deploy(board: FakeBoard, words: list[int], **more: Any) -> Any:
    return asyncio.run(deploy_image(board, words, **more))  # type: ignore[arg-type]


def test_load_change_switch_on() -> None:
    board = FakeBoard(FakeDetector(waits=True), boundary_s=0.02)
    loaded = deploy(board, small_image(model_id=5), at=SwapAt.FRAME, radius=4)
    assert (loaded.bank, loaded.before) == (1, 0) and loaded.board_s == pytest.approx(0.02)
    values = board.detector.values
    assert (values["enable"], values["radius"], values["swap_at"], values["model_id"]) == (1, 4, SwapAt.FRAME, 5)
    board.board_s = 0.0
    assert deploy(board, small_image(model_id=6)).before == 5
    report: dict[str, Any] = {}
    add_loaded(report, loaded)
    assert report["deploy_s"] >= 0 and report["model_id_before"] == 0


def test_a_frame_that_nobody_scans_is_not_waited_for() -> None:
    board = FakeBoard(FakeDetector(waits=True), boundary_s=1.0)
    board.scanning = ScanState.IDLE
    loaded = deploy(board, small_image(model_id=5), at=SwapAt.FRAME)
    assert loaded.due and loaded.board_s == 0 and board.detector.values["enable"] == 1
    board.detector.boundary()
    assert board.detector.values["model_id"] == 5


def test_a_refusal_leaves_all_as_it_was() -> None:
    board = FakeBoard(FakeDetector())
    deploy(board, small_image(model_id=5), radius=4)
    before = dict(board.detector.values)
    damaged = small_image(model_id=6)
    damaged[8] ^= 1
    with pytest.raises(RegisterRefused, match="the old model keeps running"):
        deploy(board, damaged, radius=1)
    changed = {name for name, value in board.detector.values.items() if before[name] != value}
    assert changed == {"state_0"}
    with pytest.raises(RegisterRefused, match="no detector engine"):
        deploy(FakeBoard(FakeDetector(lanes=0)), small_image())


def test_a_compiled_model_is_one_that_the_board_takes(tmp_path: Path) -> None:
    save_model(tmp_path / "model.onnx")
    save_calibration(tmp_path / "calibration.npz")
    made = fit(make_ready(Request(tmp_path / "model.onnx", "small", tmp_path / "calibration.npz")), Calibration(), 4)
    assert made.compiled is not None
    board = FakeBoard(FakeDetector(lanes=4))
    deploy(board, made.compiled.words)
    assert board.detector.values["model_id"] == made.model_id


def test_an_event_tells_of_the_middle_of_its_window() -> None:
    settings = ScanSettings(width_m=64e-9, height_m=32e-9, pixels=64, lines=32)
    view = parse_view("window:7x9").resolved((1, 1, 7, 9))
    assert view.center == (4, 3)
    assert offset_m(settings, view) == pytest.approx((-4.5e-9, -3e-9))
    backward = parse_view("window:7x9").resolved((1, 1, 7, 9)).__class__(**{**view.__dict__, "backward": True})
    assert offset_m(settings, backward) == pytest.approx((4.5e-9, -3e-9))
    turned = ScanSettings(width_m=64e-9, height_m=32e-9, pixels=64, lines=32, angle_deg=90.0)
    assert offset_m(turned, view) == pytest.approx((3e-9, -4.5e-9))
    stepped = ScanSettings(width_m=64e-9, height_m=32e-9, pixels=64, lines=32, stepped=True)
    assert offset_m(stepped, view) == pytest.approx((-4e-9, -3e-9))


@pytest.mark.parametrize(
    ("text", "dimensions", "pixels", "lines"),
    [
        ("window:13x13", (1, 1, 13, 13), 32, 25),
        ("lines:2", (1, 1, 2, 128), 128, 14),
        ("burst:64", (1, 64), 32, 13),
        ("window:3x40", (1, 1, 3, 40), 44, 15),
    ],
)
def test_the_scan_of_a_trial_has_room_for_the_view(text: str, dimensions: tuple[int, ...], pixels: int, lines: int) -> None:
    view = parse_view(text).resolved(dimensions)
    settings = trial_settings(view)
    settings.check(Calibration())
    assert (settings.pixels, settings.lines) == (pixels, lines)
    if view.source is ViewSource.SAMPLE:
        assert settings.pixel_samples(Calibration()) > 64


def test_further_channels_are_recorded_in_a_trial() -> None:
    view = parse_view("line").__class__(rows=1, records=64, hop=64, channels=(Channel.Z, Channel.MONITOR), units=(1.0, 1.0))
    assert trial_settings(view).channels == {Channel.MONITOR}


GOOD: dict[str, Any] = {
    "differences": 0, "compared": 9, "thresholds_proven": 255, "thresholds_total": 255, "cycles_predicted": 100, "cycles_measured": 100,
    "cycles_after_last_predicted": 50, "cycles_after_last_measured": None,
}  # fmt: skip
TRIAL = {"pixels": 9, "pixels_lost": 0, "evaluations": 3, "missed": 0, "faults": [], "events": 0, "other_models": 0}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"differences": 2}, "2 of 9 outputs differ"),
        ({"thresholds_proven": 254}, "1 thresholds are not onnxruntime's"),
        ({"cycles_measured": 101}, "101 cycles were measured, 100 predicted"),
        ({"cycles_after_last_measured": 49}, "49 cycles after last were measured, 50 predicted"),
        ({"trial": TRIAL | {"pixels_lost": 1}}, "1 pixels were lost"),
        ({"trial": TRIAL | {"faults": ["BUSY"]}}, "evaluations are missing: BUSY"),
        ({"trial": TRIAL | {"other_models": 1}}, "events of another model"),
    ],
)
def test_what_is_not_as_promised_is_an_error(change: dict[str, Any], says: str) -> None:
    assert problems(GOOD) == problems(GOOD | {"trial": TRIAL}) == []
    with pytest.raises(ReflexArcError, match=says):
        raise_problems(GOOD | change)
