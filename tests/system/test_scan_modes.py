"""One specimen in every mode of the scan: the same surface comes out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from running_board import RunningBoard, StartBoard

from reflexarc.contract.packets import Direction
from reflexarc.device import Controller
from reflexarc.device.controller import AsyncController
from reflexarc.experiments.approach import approach
from reflexarc.experiments.point_scan import PointData, scan_points
from reflexarc.experiments.scan import LineCollector, configure_raster, raster, true_surface
from reflexarc.experiments.settings import ScanSettings
from reflexarc.scans import Frame, Mode, PointList, Travel, lissajous, scattered, sparse, spiral

SEED = 5
NOISE_M = 6e-12  # rms of what 100 pA and 4 kHz leave on these hills, the loop's lag included; each mode by itself is below 4 pm
SETTINGS = ScanSettings(width_m=10e-9, height_m=10e-9, pixels=32, lines=32, pixel_s=120e-6, drift_m_per_s=(20e-12, -10e-12, 0.0))


@pytest.fixture(scope="module")
def hills(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gentle, without symmetry: 200 pm from the lowest to the highest place."""
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    heights = (
        1.2e-10 * np.exp(-((x - 0.4) ** 2 + (y - 0.3) ** 2) / 0.12) + 3e-11 * x - 8e-11 * np.exp(-((x + 0.4) ** 2 + (y + 0.5) ** 2) / 0.2)
    )
    path = tmp_path_factory.mktemp("specimen") / "hills.npy"
    np.save(path, heights)
    return path


@pytest.fixture(scope="module")
def board(start_module_board: StartBoard, hills: Path) -> RunningBoard:
    return start_module_board("--seed", str(SEED), "--specimen", str(hills), "--size", "14e-9")


@pytest.fixture(scope="module")
def controller(board: RunningBoard) -> Iterator[Controller]:
    """Approached and scanning: the tests share one approach."""
    with Controller(board.address, lockstep=True) as found:
        found.run(begin(found.device))
        yield found
        found.disarm()


async def begin(device: AsyncController) -> None:
    await device.set_limits(SETTINGS.limits)
    await device.arm()
    await configure_raster(device, SETTINGS)
    await approach(device, SETTINGS)


async def scan(device: AsyncController, settings: ScanSettings) -> tuple[LineCollector, np.ndarray]:
    """One frame and the true surface under it."""
    settings.check(device.calibration)
    await configure_raster(device, settings)
    await device.sleep(3e-3)
    collector = LineCollector(settings, device.calibration, None)
    await raster(device, settings, collector)
    assert collector.pixels == collector.expected and not collector.lost_packets
    return collector, await true_surface(device, settings, collector.line_time_s)


def difference_m(image: np.ndarray, truth: np.ndarray) -> float:
    """RMS without a common offset (the gap)."""
    left = image - truth
    return float(np.sqrt(np.mean((left - left.mean()) ** 2)))


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("trace and retrace", {}),
        ("serpentine", {"mode": Mode.SERPENTINE}),
        ("forward", {"mode": Mode.FORWARD}),
        ("interlaced", {"interlace": 4}),
        ("rotated", {"angle_deg": 33.0}),
        ("sheared, sub-window", {"shear_deg": 20.0, "width_m": 6e-9, "center_x_m": 1.5e-9}),
    ],
)
def test_rasters_show_the_surface(controller: Controller, name: str, changes: dict[str, object]) -> None:
    settings = dataclasses.replace(SETTINGS, **changes)  # type: ignore[arg-type]
    collector, truth = controller.run(scan(controller.device, settings))
    found = difference_m(collector.image_m, truth)
    print(f"seed {SEED}, {name}: {found * 1e12:.1f} pm of {np.ptp(truth) * 1e12:.0f} pm")
    assert found < NOISE_M


def test_interlaced_lines_come_in_their_order(controller: Controller) -> None:
    settings = dataclasses.replace(SETTINGS, interlace=4, lines=10, pixels=8, pixel_s=30e-6)
    collector, _ = controller.run(scan(controller.device, settings))
    order = np.argsort(collector.line_time_s).tolist()
    assert order == [0, 4, 8, 1, 5, 9, 2, 6, 3, 7]


async def points(device: AsyncController, listed: PointList) -> tuple[PointData, np.ndarray]:
    (start,) = (device.calibration.seconds(await device.time_cycles()),)
    data = await scan_points(device, listed, SETTINGS.move_m_per_s)
    end = device.calibration.seconds(await device.time_cycles())
    middle = listed.points_m if listed.travel is not Travel.SWEEP else (listed.points_m[1:] + listed.points_m[:-1]) / 2
    truth = np.frombuffer(await device.true_surface(middle[:, 0].tolist(), middle[:, 1].tolist(), (start + end) / 2), "<f8")
    return data, truth


def lists() -> list[tuple[str, PointList]]:
    frame = Frame(10e-9, 10e-9, 32, 32)
    return [
        ("spiral", PointList(spiral((0.0, 0.0), 5e-9, 0.5e-9), 100e-6, Travel.GO, 2e-6)),
        ("Lissajous", PointList(lissajous(frame, 7, 8, 800), 200e-6, Travel.SWEEP)),
        ("sparse", PointList(sparse(frame, 0.2, SEED)[0], 100e-6, Travel.GO, 2e-6)),
        ("random", PointList(scattered(frame, 150, SEED), np.linspace(50e-6, 200e-6, 150), Travel.GO, 2e-6)),
    ]


@pytest.mark.parametrize(("name", "listed"), lists(), ids=lambda value: value if isinstance(value, str) else "")
def test_lists_show_the_surface(controller: Controller, name: str, listed: PointList) -> None:
    data, truth = controller.run(points(controller.device, listed))
    found = difference_m(data.z_m, truth)
    print(f"seed {SEED}, {name}: {found * 1e12:.1f} pm, {listed.pixels} points, starved {data.starved} times")
    assert data.starved == 0 and found < NOISE_M
    assert np.array_equal(data.samples, np.rint(listed.dwell_s / controller.device.calibration.sample_period_s)[: listed.pixels])


def test_a_second_pass_flies_over_the_first(controller: Controller) -> None:
    """z of the second pass is that of the first, so much higher; the current falls as the gap's exponential says."""
    lift_m = 40e-12
    settings = dataclasses.replace(SETTINGS, lift_m=lift_m, lines=12)
    collector, _ = controller.run(scan(controller.device, settings))
    for direction in Direction:
        higher = collector.second_z_m[direction] - collector.z_m[Direction.FORWARD]
        assert np.isfinite(higher).all()
        assert higher.mean() == pytest.approx(lift_m, abs=2e-12) and higher.std() < 6e-12
        ratio = np.median(collector.second_current_A[direction]) / np.median(collector.current_A[Direction.FORWARD])
        assert ratio == pytest.approx(np.exp(-2 * 1.087e10 * lift_m), rel=0.15)


def registration_px(image: np.ndarray, device_surface: np.ndarray) -> tuple[float, float]:
    """Shift of the image against the surface in pixels, (x, y), by a parabola through the peak of the cross-correlation."""
    a, b = image - image.mean(), device_surface - device_surface.mean()
    window = np.outer(np.hanning(a.shape[0]), np.hanning(a.shape[1]))
    correlation = np.fft.fftshift(np.fft.ifft2(np.fft.fft2(a * window) * np.conj(np.fft.fft2(b * window))).real)
    y, x = np.unravel_index(np.argmax(correlation), correlation.shape)

    def vertex(values: np.ndarray) -> float:
        return float((values[0] - values[2]) / (2 * (values[0] - 2 * values[1] + values[2])))

    fx, fy = vertex(correlation[y, x - 1 : x + 2]), vertex(correlation[y - 1 : y + 2, x])
    return x + fx - a.shape[1] // 2, y + fy - a.shape[0] // 2


def test_a_rotated_scan_that_follows_drift_registers_with_the_surface(start_board: StartBoard, hills: Path, tmp_path: Path) -> None:
    """Drift of 1 nm/s over a frame, followed: half a pixel at most; not followed: more than that."""
    plant = tmp_path / "drifting.toml"
    plant.write_text("drift_x_m_per_s = 800e-12\ndrift_y_m_per_s = -600e-12\n")
    address = start_board("--seed", str(SEED), "--specimen", str(hills), "--size", "14e-9", "--plant", str(plant)).address
    settings = dataclasses.replace(
        SETTINGS, angle_deg=25.0, pixel_s=250e-6, pixels=40, lines=40, width_m=8e-9, height_m=8e-9, drift_m_per_s=(800e-12, -600e-12, 0.0)
    )
    with Controller(address, lockstep=True) as board:
        board.run(begin(board.device))
        shifts = {}
        for name, drift in (("followed", settings.drift_m_per_s), ("left alone", (0.0, 0.0, 0.0))):
            frame = dataclasses.replace(settings, drift_m_per_s=drift)
            began_s = board.device.calibration.seconds(board.run(board.device.time_cycles()))
            collector, _ = board.run(scan(board.device, frame))
            places = frame.frame.place_m(np.arange(frame.lines)[:, None], np.arange(frame.pixels)[None, :])
            began_s = float(np.nanmin(collector.line_time_s))
            surface = board.run(board.device.true_surface(places[..., 0].ravel().tolist(), places[..., 1].ravel().tolist(), began_s))
            shifts[name] = registration_px(collector.image_m, np.frombuffer(surface, "<f8").reshape(frame.lines, frame.pixels))
            print(f"seed {SEED}, drift {name}: {shifts[name][0]:+.2f}, {shifts[name][1]:+.2f} pixels")
        board.disarm()
    assert max(map(abs, shifts["followed"])) < 0.5
    assert max(map(abs, shifts["left alone"])) > 0.5
