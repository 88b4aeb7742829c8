"""What the microscope sees is what is there: RMS error of the topography against the true surface, as a share of its peak-to-peak range.

Each scan is at most 64 pixels wide and slow enough for the loop: the fastest slope that the surface offers times the speed must stay below
what the bandwidth named here can follow.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gwyfile
import h5py
import igor2.binarywave
import numpy as np
import pytest
from numpy.typing import NDArray
from running_board import StartBoard
from scipy.ndimage import map_coordinates

from reflexarc.contract.packets import Direction
from reflexarc.device import Controller
from reflexarc.device.controller import AsyncController
from reflexarc.experiments.approach import approach
from reflexarc.experiments.scan import LineCollector, configure_raster, raster, true_surface
from reflexarc.experiments.settings import ScanSettings
from reflexarc.report import TopographyMetrics, topography_metrics
from reflexarc.safety import Limits

SEED = 7
BANDWIDTH_HZ = 4e3
DATA = Path(__file__).parents[3] / "shared" / "data"  # real data; beside the checkout, not in it
MOIRE = DATA / "moire_10nm.sxm"


async def frame(board: AsyncController, settings: ScanSettings) -> LineCollector:
    """Approach, scan one frame, withdraw."""
    settings.check(board.calibration)
    await board.set_limits(settings.limits)
    await board.arm()
    await configure_raster(board, settings)
    await approach(board, settings)
    collector = LineCollector(settings, board.calibration, None)
    await raster(board, settings, collector)
    await board.disarm()
    return collector


async def scan(board: AsyncController, settings: ScanSettings) -> dict[Direction, TopographyMetrics]:
    """One frame, both directions against the truth; nothing lost."""
    collector = await frame(board, settings)
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


def asylum_heights(path: Path) -> NDArray[np.float64]:
    """The first channel, row 0 at the lowest y: the first index is x, the second y from the bottom up."""
    return np.asarray(igor2.binarywave.load(path)["wave"]["wData"][:, :, 0].T, np.float64)


def gwyddion_heights(path: Path) -> NDArray[np.float64]:
    """The first channel, which is stored from the top down."""
    return np.asarray(gwyfile.load(str(path))["/0/data"].data[::-1], np.float64)


def nsid_heights(path: Path) -> NDArray[np.float64]:
    """The first channel, x first, y rising."""
    with h5py.File(path) as file:
        return np.asarray(file["Measurement_000/Channel_0/Channel_0/Channel_0"], np.float64).T


@pytest.mark.parametrize(
    ("name", "heights_of", "width_m", "center_m", "window_m", "speed_m_per_s"),
    [
        ("afm_P0089OP0027.ibw", asylum_heights, 2.0e-6, (408e-9, 408e-9), 251e-9, 5e-6),
        ("pto_110_virgin.gwy", gwyddion_heights, 10.0e-6, (3.14e-6, 784e-9), 1.25e-6, 50e-6),
        ("pto_pfm_nsid.h5", nsid_heights, 1.0e-6, (-47e-9, 235e-9), 125e-9, 10e-6),
    ],
)
def test_the_topography_of_a_file(
    start_board: StartBoard,
    name: str,
    heights_of: Callable[[Path], NDArray[Any]],
    width_m: float,
    center_m: tuple[float, float],
    window_m: float,
    speed_m_per_s: float,
) -> None:
    """A window of a real surface of other microscopes, as large as they are: what is seen is what the file says, read here without us."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the real data {name} are not beside this checkout")
    heights = heights_of(path)
    pixels, half_turn_s = 16, 5e-3
    settings = ScanSettings(
        width_m=window_m, height_m=window_m, center_x_m=center_m[0], center_y_m=center_m[1], pixels=pixels, lines=pixels,
        pixel_s=window_m / pixels / speed_m_per_s, bandwidth_Hz=6e3, move_m_per_s=100e-6, approach_m_per_s=2e-6,
        acceleration_m_per_s2=speed_m_per_s / half_turn_s + window_m / pixels / half_turn_s**2, limits=Limits(current_high_A=4e-9),
    )  # fmt: skip

    with Controller(start_board("--seed", str(SEED), "--specimen", str(path)).address, lockstep=True) as board:
        seen = board.run(frame(board.device, settings)).image_m
    pitch = width_m / (heights.shape[1] - 1)  # axes run from the first point to the last
    places = settings.frame.place_m(np.arange(pixels)[:, None], np.arange(pixels)[None, :])
    middle = (np.array(heights.shape) - 1) / 2
    there = map_coordinates(heights, [places[..., 1] / pitch + middle[0], places[..., 0] / pitch + middle[1]], order=1)
    correlation = float(np.corrcoef(seen.ravel(), there.ravel())[0, 1])
    ratio = float(np.polyfit(there.ravel(), seen.ravel(), 1)[0])
    print(f"seed {SEED}, {name}: {np.ptp(there) * 1e9:.1f} nm, correlation {correlation:.4f}, scale {ratio:.3f}")
    assert correlation > 0.95 and ratio == pytest.approx(1, abs=0.05)
