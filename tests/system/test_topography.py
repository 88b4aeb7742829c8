"""What the microscope sees is what is there: RMS error of the topography against the true surface, as a share of its peak-to-peak range.

Each scan is at most 64 pixels wide and slow enough for the loop: the fastest slope that the surface offers times the speed must stay below
what the bandwidth named here can follow.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from running_board import StartBoard

from reflexarc.contract.packets import Direction
from reflexarc.device import Controller
from reflexarc.device.controller import AsyncController
from reflexarc.experiments.scan import LineCollector, approach, configure_raster, raster, true_surface
from reflexarc.experiments.settings import ScanSettings
from reflexarc.report import TopographyMetrics, topography_metrics

SEED = 7
BANDWIDTH_HZ = 4e3
MOIRE = Path(__file__).parents[3] / "shared" / "data" / "moire_10nm.sxm"  # real data; beside the checkout, not in it


async def scan(board: AsyncController, settings: ScanSettings) -> dict[Direction, TopographyMetrics]:
    """One frame, both directions against the truth; nothing lost."""
    settings.check(board.calibration)
    await board.set_limits(settings.limits)
    await board.arm()
    await configure_raster(board, settings)
    await approach(board, settings)
    collector = LineCollector(settings, board.calibration, None)
    await raster(board, settings, collector)
    await board.disarm()
    assert collector.pixels == 2 * settings.pixels * settings.lines and not collector.lost_packets
    assert (await board.truth())["contacts"] == 0
    surface = await true_surface(board, settings, collector.line_time_s)
    assert np.isfinite(surface).all()
    found = {direction: topography_metrics(collector.z_m[direction], surface) for direction in Direction}
    for direction, metrics in found.items():
        speed = settings.width_m / settings.pixels / settings.pixel_s
        print(f"{direction.name.lower()} at {speed * 1e6:.2f} um/s, {settings.bandwidth_Hz:g} Hz: {metrics}")
    return found


def scanned(start_board: StartBoard, settings: ScanSettings, *specimen: str) -> dict[Direction, TopographyMetrics]:
    print(f"seed {SEED}")
    with Controller(start_board("--seed", str(SEED), *specimen).address, lockstep=True) as board:
        return board.run(scan(board.device, settings))


def test_generated_gold(start_board: StartBoard) -> None:
    """20 nm across one monatomic step of 235 pm, at 1.8 um/s."""
    settings = ScanSettings(width_m=20e-9, height_m=20e-9, pixels=32, lines=32, pixel_s=350e-6, bandwidth_Hz=BANDWIDTH_HZ)
    for metrics in scanned(start_board, settings).values():
        assert metrics.rms_fraction < 0.05 and metrics.correlation > 0.99


def test_an_array_of_heights(start_board: StartBoard, tmp_path: Path) -> None:
    """A surface that is different along x and y and in all four quadrants, so that no mirroring or turning goes unseen."""
    y, x = np.mgrid[-1:1:48j, -1:1:96j]
    heights = (
        2e-10 * np.exp(-((x - 0.4) ** 2 + (y - 0.3) ** 2) / 0.05) + 5e-11 * x - 1e-10 * np.exp(-((x + 0.5) ** 2 + (y + 0.5) ** 2) / 0.1)
    )
    np.save(tmp_path / "hills.npy", heights)
    settings = ScanSettings(width_m=12e-9, height_m=6e-9, pixels=32, lines=16, pixel_s=150e-6, bandwidth_Hz=BANDWIDTH_HZ)
    found = scanned(start_board, settings, "--specimen", str(tmp_path / "hills.npy"), "--size", "12e-9")
    for metrics in found.values():
        assert metrics.peak_to_peak_m == pytest.approx(np.ptp(heights), rel=0.1)
        assert metrics.rms_fraction < 0.05 and metrics.correlation > 0.99


@pytest.mark.skipif(not MOIRE.exists(), reason="the real scan moire_10nm.sxm is not beside this checkout")
def test_a_real_scan(start_board: StartBoard) -> None:
    """10 nm of a measured moire pattern, atoms and the noise of its own microscope included, 64 x 64 pixels in both directions (8,192)."""
    settings = ScanSettings(width_m=10e-9, height_m=10e-9, pixels=64, lines=64, pixel_s=100e-6, bandwidth_Hz=BANDWIDTH_HZ)
    for metrics in scanned(start_board, settings, "--specimen", str(MOIRE)).values():
        assert metrics.rms_fraction < 0.05 and metrics.correlation > 0.97
