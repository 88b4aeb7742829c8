"""The main job as a user runs it, at a size that fits a test."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import succeeds

from reflexarc.contract.blocks.recorder import DEPTH
from reflexarc.store import ScanData, read_scan

PIXELS, SIZE_M = 80, 30e-9  # 0.375 nm a pixel: an adatom is some pixels wide
SEED = 2  # of a surface that has adatoms in that frame
PIXEL_S = 200e-6
WINDOW = 13  # pixels and lines that the network looks at
KEYS = {
    "pixels", "pixels_lost", "board_s", "twin_cycles_per_s", "event_to_output_cycles", "sample_to_trip_cycles", "time_to_safe_s",
    "topography_rms_fraction", "topography_correlation", "tip_contacts", "trips", "precision", "recall",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    print(f"seed {SEED}")
    out = tmp_path_factory.mktemp("main")
    options = ("--pixels", str(PIXELS), "--size", str(SIZE_M), "--time-per-pixel", str(PIXEL_S), "--seed", str(SEED))
    said = succeeds("run", *options, "--out", str(out), timeout_s=600)
    print(said)
    (found,) = out.iterdir()
    assert f"written            {found}/scan.h5, report.png, report.json" in said
    assert "withdrawn          yes" in said
    return found


@pytest.fixture(scope="module")
def report(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return found


@pytest.fixture(scope="module")
def scan(folder: Path) -> ScanData:
    return read_scan(folder / "scan.h5")


def test_the_report_has_its_keys(report: dict[str, Any]) -> None:
    assert set(report) >= KEYS
    assert all(isinstance(report[key], int | float) and math.isfinite(report[key]) for key in KEYS)


def test_nothing_is_lost(report: dict[str, Any]) -> None:
    assert (report["pixels"], report["pixels_lost"], report["events_lost"]) == (2 * PIXELS**2, 0, 0)


def test_it_reacts(report: dict[str, Any]) -> None:
    assert report["events"] >= 1 and 1 <= report["pulses"] <= report["events"]
    assert 0 < report["event_to_output_cycles"] <= 20


def test_the_network_finds_the_adatoms(report: dict[str, Any]) -> None:
    """Each pixel's window was looked at, with none left out, in as many cycles each time as the compiler said."""
    detector, adatoms = report["detector"], report["adatoms"]
    assert report["model"] == "adatoms" and detector["missed"] == 0
    assert detector["evaluations"] == (PIXELS - WINDOW + 1) ** 2
    assert adatoms["features"] >= 2
    assert report["precision"] >= 0.75 and report["recall"] >= 0.75, adatoms


def test_it_trips_in_two_cycles_and_withdraws(report: dict[str, Any]) -> None:
    assert report["trips"] == 1 and report["sample_to_trip_cycles"] == 2
    assert report["trip"]["cause"] == "CURRENT_HIGH" and report["trip"]["value"] > report["trip"]["limit"] == pytest.approx(2e-9, rel=1e-5)
    assert report["withdrawn_after_trip"] is True
    assert report["tip_contacts"] == 0, "the withdrawal came in time"
    # AD4020: 520 ns to the sample; AD5791: 910 ns to the output; and the gateware between.
    assert 1.4e-6 < report["time_to_safe_s"] < 2e-6


def test_it_follows_the_surface(report: dict[str, Any]) -> None:
    assert report["topography_rms_fraction"] < 0.05 and report["topography_correlation"] > 0.99


def test_the_scan_file(scan: ScanData, report: dict[str, Any]) -> None:
    assert scan.geometry.shape == (PIXELS, PIXELS) and scan.line_complete.all()
    for channels in (scan.forward, scan.backward):
        assert np.isfinite(channels.z_m).all() and (channels.samples == round(PIXEL_S / 560e-9)).all()
        assert np.median(channels.current_A) == pytest.approx(100e-12, rel=0.1)
    assert len(scan.events) == report["events"]
    assert scan.attributes["specimen"] == "au111" and scan.attributes["seed"] == SEED
    assert scan.reference_surface_m is not None and np.ptp(scan.reference_surface_m) > 400e-12


def test_the_black_box_holds_the_crash(scan: ScanData, report: dict[str, Any]) -> None:
    (box,) = scan.blackboxes
    assert len(box) == DEPTH and box.attributes["cause"] == "CURRENT_HIGH"
    trip = int(np.searchsorted(box.time_s, 0))
    assert box.current_A[max(trip - 3, 0) : trip + 1].max() > report["trip"]["limit"]
    before, after = box.z_m[:trip], box.z_m[trip:]
    assert (np.diff(after) >= 0).all() and after[-1] > before[-1] + 5e-9, "z rises from the trip on"
    assert (box.bias_V[trip:] == box.bias_V[-1]).all() and box.bias_V[-1] == pytest.approx(0.5, abs=2e-5)
    assert len(set(box.x_m[trip + 1 :])) == 1 and len(set(box.y_m[trip + 1 :])) == 1


def test_the_picture_is_a_picture(folder: Path) -> None:
    data = (folder / "report.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n") and data.endswith(b"IEND\xaeB`\x82") and len(data) > 20_000
    assert {path.name for path in folder.iterdir()} == {"scan.h5", "report.png", "report.json"}
