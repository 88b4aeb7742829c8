"""From a model's file to image and report, without a board; which tier, and why."""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_models import LABELS, inputs, save_calibration, save_model

from reflexarc.calibration import Calibration
from reflexarc.compiler.deploy import (
    BOARDS,
    Deployable,
    Request,
    Tier,
    add_check,
    check,
    files,
    fit,
    make_ready,
    onnxruntime_outputs,
    random_windows,
    reference_outputs,
    ring_bytes,
    store,
)
from reflexarc.compiler.image import unpack_image
from reflexarc.compiler.model_store import ModelStore
from reflexarc.compiler.report_text import report_lines
from reflexarc.compiler.wishes import parse_view
from reflexarc.contract.model import OUTPUTS
from reflexarc.contract.packets import Channel
from reflexarc.errors import BadInput

KEYS = {
    "differences", "compared", "thresholds_proven", "thresholds_total", "cycles_predicted", "cycles_measured", "latency_us",
    "latency_after_last_us", "deploy_s", "compile_s", "tier", "tier_reason", "layers", "memory", "boards", "accuracy", "image", "notes", "model_id",
    "view", "head", "labels", "jitter_cycles", "cycles_after_last_predicted", "cycles_after_last_measured", "edge", "check",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    save_model(path / "model.onnx")
    save_calibration(path / "calibration.npz", labels=True)
    return path


@pytest.fixture(scope="module")
def made(folder: Path) -> Deployable:
    return fit(make_ready(Request(folder / "model.onnx", "small", folder / "calibration.npz")), Calibration(), 8)


def test_the_report_has_all_that_was_promised(made: Deployable) -> None:
    report = json.loads(json.dumps(made.report, allow_nan=False))
    assert KEYS <= set(report)
    assert report["tier"] == "fabric" and report["labels"] == LABELS
    # Four channels of the Conv, three of the Gemm, and one of the view.
    assert report["thresholds_proven"] == report["thresholds_total"] == 255 * (4 + 3 + 1)
    assert [layer["op"] for layer in report["layers"]] == ["QLinearConv", "QLinearConv"]
    assert all(layer["sum_least"] < 0 < layer["sum_greatest"] for layer in report["layers"])
    assert all(0 < layer["utilisation"] <= 1 for layer in report["layers"])
    assert all(use["used"] <= use["available"] for use in report["memory"])
    assert report["latency_us"] == pytest.approx(report["cycles_predicted"] / 100)
    assert report["cycles_after_last_predicted"] < report["cycles_predicted"]
    assert report["deploy_s"] is None and report["cycles_measured"] is None


def test_each_board_has_its_latency(made: Deployable) -> None:
    found = {board["board"]: board for board in made.report["boards"]}
    assert set(found) == set(BOARDS) and all(board["fits"] for board in found.values())
    for name, (clock, lanes) in BOARDS.items():
        assert found[name]["products_a_cycle"] == OUTPUTS * lanes
        assert found[name]["latency_us"] == pytest.approx(found[name]["cycles"] / clock * 1e6)
    assert found["ECP5-85F"]["cycles"] > found["PYNQ-Z2"]["cycles"] == made.report["cycles_predicted"]


def test_checksums_are_those_of_what_is_written(made: Deployable) -> None:
    written = files(made)
    assert set(written) == {"small.canonical.onnx", "small.image", "small.report.json"}
    image = written["small.image"]
    assert made.report["image"]["sha256"] == hashlib.sha256(image).hexdigest() and made.report["image"]["bytes"] == len(image)
    assert int(made.report["image"]["crc32"], 16) == zlib.crc32(image[:-4]) == int.from_bytes(image[-4:], "little")
    assert made.report["canonical_sha256"] == hashlib.sha256(written["small.canonical.onnx"]).hexdigest()


def test_the_same_model_is_the_same_image(folder: Path, made: Deployable) -> None:
    again = fit(make_ready(Request(folder / "model.onnx", "other", folder / "calibration.npz")), Calibration(), 8)
    assert again.model_id == made.model_id and again.compiled is not None and made.compiled is not None
    assert again.compiled.words == made.compiled.words
    changed = fit(make_ready(Request(folder / "model.onnx", "other", folder / "calibration.npz", head={"radius": 5})), Calibration(), 8)
    assert changed.model_id != made.model_id


def test_settings_are_what_was_asked_for(made: Deployable) -> None:
    assert made.compiled is not None and made.view is not None
    settings = unpack_image(made.compiled.words).settings
    assert (settings["rows"], settings["records"], settings["hop"], settings["channel_0"]) == (7, 7, 1, Channel.Z)
    assert settings["model_id"] == made.model_id and settings["eventful"] == 0b010 and settings["classes"] == 3
    assert settings["least_margin"] == made.head.least_margin > 1
    # 1.0 of the input is 100 pm.
    prepared = made.ready.prepared
    assert prepared is not None and prepared.input is not None
    z_m = made.view.thresholds[0][128] / 4096 * Calibration().z_m_per_code
    level = (0.5 - prepared.input.zero_point) * prepared.input.scale
    assert z_m == pytest.approx(level * 1e-10, abs=1e-13)


def test_reference_and_onnxruntime_are_compared(made: Deployable) -> None:
    report = dict(made.report)
    add_check(report, check(made, 64))
    assert report["differences"] == 0 and report["compared"] == 64 * 3
    assert report["check"]["rtl_against_onnxruntime"] is None


def test_what_the_rtl_has_otherwise_is_counted(made: Deployable) -> None:
    prepared = made.ready.prepared
    assert prepared is not None
    windows = random_windows(prepared, 10)
    outputs = onnxruntime_outputs(prepared, windows)

    def rtl(words: object, given: object) -> object:
        wrong = outputs.copy()
        wrong[4, 1] ^= 1
        return wrong, np.array([100] * 9 + [101]), np.array([70] * 10)

    report = dict(made.report)
    add_check(report, check(made, 10, rtl))  # type: ignore[arg-type]
    assert report["differences"] == 1 and report["compared"] == 60
    assert report["cycles_measured"] == 101 and report["cycles_after_last_measured"] == 70 and report["jitter_cycles"] == 1
    text = "\n".join(report_lines(report))
    assert "1 of 60 outputs" in text and "101 measured" in text and "jitter 1" in text


def test_windows_lie_in_the_ring_record_by_record() -> None:
    windows = np.arange(2 * 3 * 4, dtype=np.int8).reshape(1, 2, 3, 4)  # channels, lines, records
    ring = ring_bytes(windows)[0]
    assert [int(ring[(record * 3 + line) * 2 + channel]) for record, line, channel in ((0, 0, 1), (1, 2, 0), (3, 1, 1))] == [
        int(windows[0, 1, 0, 0]),
        int(windows[0, 0, 2, 1]),
        int(windows[0, 1, 1, 3]),
    ]


def test_accuracy_before_and_after(folder: Path) -> None:
    accuracy = make_ready(Request(folder / "model.onnx", "small", folder / "calibration.npz")).accuracy
    assert accuracy is not None and accuracy["inputs"] == 50 and accuracy["of"] == "calibration.npz"
    assert 0 <= accuracy["before"] <= 1 and abs(accuracy["before"] - accuracy["after"]) <= accuracy["other_class"] / 50
    allowed = folder / "held_out.npz"
    np.savez(allowed, x=(inputs() * 10).astype(np.int8), x_step=np.float32(0.1), allowed=np.ones((50, 3), bool))
    found = make_ready(Request(folder / "model.onnx", "small", folder / "calibration.npz", allowed)).accuracy
    assert found is not None and found["before"] == found["after"] == 1.0 and found["of"] == "held_out.npz"


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"y": np.zeros(3)}, "no array called as the model's input"),
        ({"x": np.zeros((2, 1, 7, 7), np.float32)}, "which class it is"),
        ({"x": np.zeros((2, 1, 7, 7), np.float32), "labels": np.zeros(3, int)}, "which class it is"),
        ({"x": np.zeros((2, 1, 7, 7), np.float32), "labels": np.array([-1, 0])}, "which class it is"),
        ({"x": np.zeros((2, 1, 7, 6), np.float32), "labels": np.zeros(2, int)}, "shape"),
    ],
)
def test_validation_data_that_say_nothing_are_refused(folder: Path, arrays: dict[str, np.ndarray], says: str) -> None:
    path = folder / "validation.npz"
    np.savez(path, **arrays)
    with pytest.raises(BadInput, match=f"^validation.npz: .*{says}"):
        make_ready(Request(folder / "model.onnx", "small", folder / "calibration.npz", path))


# Tiers


def test_a_float_model_without_calibration_goes_to_the_edge_and_says_why(folder: Path) -> None:
    made = fit(make_ready(Request(folder / "model.onnx", "small")), Calibration(), 8)
    assert made.tier is Tier.EDGE and "give --calibration" in made.reason and made.compiled is None
    assert made.report["edge"]["evaluation_us"] > 0 and made.report["layers"] == [] and KEYS <= set(made.report)
    assert set(files(made)) == {"small.report.json"}
    with pytest.raises(BadInput, match="give --calibration"):
        make_ready(Request(folder / "model.onnx", "small", tier=Tier.FABRIC))


def test_a_model_that_is_too_large_goes_to_the_edge_and_says_by_how_much(tmp_path: Path) -> None:
    save_model(tmp_path / "large.onnx", channels=600, outputs=3)
    save_calibration(tmp_path / "calibration.npz")
    ready = make_ready(Request(tmp_path / "large.onnx", "large", tmp_path / "calibration.npz"))
    made = fit(ready, Calibration(), 8)
    assert made.tier is Tier.EDGE and "more than the 65,536" in made.reason
    assert made.is_canonical and made.report["thresholds_proven"] == made.report["thresholds_total"] == 255 * 604
    with pytest.raises(BadInput, match=r"^large.onnx: .*more than the 65,536"):
        fit(replace(ready, request=replace(ready.request, tier=Tier.FABRIC)), Calibration(), 8)


def test_a_node_that_is_not_supported_goes_to_the_edge(tmp_path: Path) -> None:
    save_model(tmp_path / "model.onnx", hidden="Erf")
    save_calibration(tmp_path / "calibration.npz")
    ready = make_ready(Request(tmp_path / "model.onnx", "small", tmp_path / "calibration.npz", tier=Tier.EDGE))
    assert fit(ready, Calibration(), None).reason == "asked for"


def test_the_edge_tier_can_be_asked_for(folder: Path) -> None:
    made = fit(make_ready(Request(folder / "model.onnx", "small", folder / "calibration.npz", tier=Tier.EDGE)), Calibration(), 8)
    assert (made.tier, made.reason, made.is_canonical, made.compiled) == (Tier.EDGE, "asked for", True, None)


def test_a_board_without_an_engine_gets_the_edge_tier(folder: Path) -> None:
    request = Request(folder / "model.onnx", "small", folder / "calibration.npz")
    assert fit(make_ready(request), Calibration(), None).reason == "the board has no detector engine"
    with pytest.raises(BadInput, match="no detector engine"):
        fit(make_ready(replace(request, tier=Tier.FABRIC)), Calibration(), None)


def test_the_edge_tier_sees_pixels_only(tmp_path: Path) -> None:
    save_model(tmp_path / "burst.onnx", (64,), view={"source": "sample", "channels": ["current"]})
    for tier in (None, Tier.EDGE):
        with pytest.raises(BadInput, match=r"^burst.onnx: "):
            make_ready(Request(tmp_path / "burst.onnx", "burst", tier=tier))
    save_calibration(tmp_path / "calibration.npz", (64,))
    made = fit(make_ready(Request(tmp_path / "burst.onnx", "burst", tmp_path / "calibration.npz")), Calibration(), 4)
    assert made.tier is Tier.FABRIC and made.view is not None and made.view.records == 64


def test_without_a_view_nothing_is_guessed(tmp_path: Path) -> None:
    save_model(tmp_path / "model.onnx", view=None)
    save_calibration(tmp_path / "calibration.npz")
    with pytest.raises(BadInput, match="^model.onnx: the model does not say what it looks at; give --view"):
        make_ready(Request(tmp_path / "model.onnx", "small", tmp_path / "calibration.npz"))
    request = Request(
        tmp_path / "model.onnx", "small", tmp_path / "calibration.npz", view=parse_view("window:7x7"), channels=((Channel.CURRENT, 1e-10),)
    )
    made = fit(make_ready(request), Calibration(), 8)
    assert made.view is not None and made.view.channels == (Channel.CURRENT,) and made.ready.view.center == (3, 3)


def test_a_softmax_at_the_end_is_noted(tmp_path: Path) -> None:
    save_model(tmp_path / "model.onnx", last="Softmax", head=None)
    save_calibration(tmp_path / "calibration.npz")
    made = fit(make_ready(Request(tmp_path / "model.onnx", "small", tmp_path / "calibration.npz")), Calibration(), 8)
    assert any("Softmax" in note for note in made.report["notes"])


def test_members_of_an_ensemble(tmp_path: Path) -> None:
    save_model(tmp_path / "model.onnx", outputs=9, head={"members": 3, "disagreement": True})
    save_calibration(tmp_path / "calibration.npz", labels=True)
    made = fit(make_ready(Request(tmp_path / "model.onnx", "small", tmp_path / "calibration.npz")), Calibration(), 8)
    first = made.ready.prepared.run(inputs())[:, :3].argmax(axis=1)  # type: ignore[union-attr]
    assert made.report["accuracy"]["after"] == pytest.approx((first == np.arange(50) % 3).mean())
    assert (made.head.members, made.head.classes, made.head.disagreement_class) == (3, 3, 3)
    prepared = made.ready.prepared
    assert prepared is not None
    windows = random_windows(prepared, 20)
    assert np.array_equal(onnxruntime_outputs(prepared, windows), reference_outputs(prepared, windows))


def test_what_was_made_is_kept(made: Deployable, tmp_path: Path) -> None:
    kept = ModelStore(tmp_path)
    entry = store(made, kept)
    assert kept.find(str(made.model_id)) == kept.find("small") == kept.entries()[0]
    assert entry.lanes == 8 and entry.labels == tuple(LABELS)
    assert made.compiled is not None and kept.image(kept.find("small")) == made.compiled.words


def test_report_in_lines(made: Deployable) -> None:
    report = dict(made.report) | {"deploy_s": 0.12, "deploy_board_s": 0.003}
    report["trial"] = {"pixels": 100, "pixels_lost": 0, "evaluations": 50, "missed": 0, "events": 2}
    text = "\n".join(report_lines(report))
    for words in (
        "tier         fabric",
        "gemm1",
        "2,040 of 2,040 proven",
        "ECP5-85F, 64 products",
        "0.12 s of board and link",
        "lost 0",
        "SHA-256",
    ):
        assert words in text, words
