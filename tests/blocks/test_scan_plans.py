"""What the host plans is where the scan goes: registers of plans and lists through the naive model of the scan."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from naive_scan import World, raster

from reflexarc.calibration import Calibration
from reflexarc.contract.blocks import scan
from reflexarc.contract.blocks.scan import ScanState
from reflexarc.contract.blocks.trajectory import PointKind
from reflexarc.errors import BadInput
from reflexarc.scans import Frame, Mode, PointList, Raster, Travel, lissajous, plan_raster, scattered, sparse, spiral

CALIBRATION = Calibration()
UNIT = np.array([CALIBRATION.x_m_per_code, CALIBRATION.y_m_per_code, CALIBRATION.z_m_per_code])
PERIOD_S = CALIBRATION.sample_period_s
FRAME = Frame(20e-9, 12e-9, 16, 9, 3e-9, -4e-9, angle_deg=31.0, shear_deg=12.0, slope_x=0.02, slope_y=-0.05)


def ticks(chosen: Raster) -> list:
    plan = plan_raster(chosen, CALIBRATION)
    config = {register.name: register.reset for register in scan.BLOCK.registers} | {
        name.removeprefix("scan."): value for name, value in plan.registers.items()
    }
    start = [round(value / unit * 4096) << 8 for value, unit in zip(plan.start_m, UNIT, strict=True)]
    world = World()
    world.move_step = 1 << 40  # to the next field at once
    return list(raster(config, *start, world=world))


MODES = list(itertools.product(Mode, (1, 3), (0.0, 40 * PERIOD_S)))


@pytest.mark.parametrize(("mode", "interlace", "overscan_s"), MODES)
def test_the_mean_of_each_pixels_samples_is_its_centre(mode: Mode, interlace: int, overscan_s: float) -> None:
    chosen = Raster(FRAME, 6 * PERIOD_S, mode, interlace, overscan_s=overscan_s, acceleration_m_per_s2=50.0)
    found: dict[tuple[int, int, int], list] = {}
    for tick in ticks(chosen):
        if tick.marker:
            key = (tick.marker["line"], tick.marker["direction"], tick.marker["index"])
            found.setdefault(key, []).append(np.array(tick.place) / 2**20 * UNIT)
    ways = {Mode.TRACE_RETRACE: 2, Mode.SERPENTINE: 1, Mode.FORWARD: 1}[mode]
    assert len(found) == FRAME.pixels * FRAME.lines * ways
    for (line, _, index), places in found.items():
        assert len(places) == 6
        # 0.02 of a pixel: what rounding of steps and places of 20 bits leaves.
        assert np.linalg.norm(np.mean(places, 0) - FRAME.place_m(line, index)) < 0.02 * FRAME.width_m / FRAME.pixels


@pytest.mark.parametrize("mode", list(Mode))
def test_turns_keep_the_acceleration_and_join_at_the_lines_speed(mode: Mode) -> None:
    """Second differences of x and y, in every sample from the first line's first pixel to the last one's last."""
    most = 30.0
    chosen = Raster(FRAME, 6 * PERIOD_S, mode, overscan_s=20 * PERIOD_S, acceleration_m_per_s2=most)
    places = np.array([tick.place for tick in ticks(chosen) if tick.state not in (ScanState.WAIT, ScanState.IDLE)]) / 2**20 * UNIT
    acceleration = np.abs(np.diff(places, 2, axis=0))[:, :2] / PERIOD_S**2
    # Positions are multiples of 2^-20 code, and the last place of a turn is exact.
    rounding = 4 * UNIT[0] * 2**-12 / PERIOD_S**2
    assert acceleration.max() < most * 1.05 + rounding


def test_z_follows_the_plane_everywhere() -> None:
    chosen = Raster(FRAME, 6 * PERIOD_S, overscan_s=20 * PERIOD_S, acceleration_m_per_s2=30.0)
    places = np.array([tick.place for tick in ticks(chosen)]) / 2**20 * UNIT
    plane = FRAME.slope_x * (places[:, 0] - FRAME.center_x_m) + FRAME.slope_y * (places[:, 1] - FRAME.center_y_m)
    assert np.abs(places[:, 2] - plane).max() < 2e-12


def test_a_sub_window_lies_on_the_frames_grid() -> None:
    part = FRAME.window(3, 2, 5, 4)
    for line, index in itertools.product(range(4), range(5)):
        assert np.allclose(part.place_m(line, index)[:2], FRAME.place_m(line + 2, index + 3)[:2], atol=1e-15)
    for outside in ((-1, 0, 3, 3), (14, 0, 3, 3), (0, 7, 3, 3)):
        with pytest.raises(BadInput, match="is not within 16 x 9"):
            FRAME.window(*outside)


def run_list(points: PointList) -> list[tuple[np.ndarray, int]]:
    """Mean place of each pixel's samples, and their number, by adding up what the entries say."""
    place = np.zeros(3, object)
    found = []
    entries = points.entries(CALIBRATION).tolist()
    assert [bool(kind & PointKind.LAST) for *_, kind in entries] == [False] * (len(entries) - 1) + [True]
    for *values, samples, kind in entries:
        there = []
        if not kind & PointKind.SEGMENT:
            place = np.array([value << 8 for value in values], object)
        for _ in range(samples):
            there.append(place)
            if kind & PointKind.SEGMENT:
                place = place + np.array(values, object)
        if kind & PointKind.PIXEL:
            found.append((np.array(np.sum(there, 0) / samples, float) / 2**20 * UNIT, samples))
    return found


@pytest.mark.parametrize("travel", list(Travel))
def test_lists_meet_their_points(travel: Travel) -> None:
    rng = np.random.default_rng(4)
    print("seed 4")
    points = rng.uniform(-1, 1, (40, 3)) * [100e-9, 60e-9, 5e-9] / (50 if travel is Travel.SWEEP else 1)
    dwell = rng.integers(1, 60, 40) * PERIOD_S
    speed = 2e-3 if travel is Travel.GO else None
    found = run_list(PointList(points, dwell, travel, speed))
    if travel is Travel.SWEEP:
        assert [samples for _, samples in found] == np.rint(dwell[:-1] / PERIOD_S).tolist()
        # A sample stands before each step: the mean of n samples lies half a step before the middle.
        for (place, samples), here, there in zip(found, points[:-1], points[1:], strict=True):
            assert np.linalg.norm(place - (here + (there - here) * (samples - 1) / 2 / samples)) < 2e-12
    else:
        assert [samples for _, samples in found] == np.rint(dwell / PERIOD_S).tolist()
        for (place, _), point in zip(found, points, strict=True):
            assert np.abs(place - point).max() < 2e-12


def test_ways_between_points_keep_the_speed() -> None:
    points = np.array([[0, 0], [30e-9, 40e-9], [30e-9, 39.9e-9]])
    entries = PointList(points, 1e-6, Travel.GO, 1e-4).entries(CALIBRATION)
    for *step, samples, kind in entries.tolist():
        if kind & PointKind.SEGMENT:
            assert np.linalg.norm(np.array(step) / 2**20 * UNIT) <= 1.0001e-4 * PERIOD_S and samples >= 1
    assert entries[1, 3] == pytest.approx(50e-9 / 1e-4 / PERIOD_S, abs=1.5)


def test_makers_of_points() -> None:
    round_ = spiral((1e-9, 2e-9), 5e-9, 0.5e-9)
    radius = np.hypot(*(round_ - [1e-9, 2e-9]).T)
    assert radius[0] == 0 and radius.max() == pytest.approx(5e-9, rel=0.02) and np.all(np.diff(radius) > 0)
    figure = lissajous(FRAME, 3, 4, 500)
    corners = FRAME.corners_m()
    assert figure.shape == (500, 3) and figure[:, 0].min() > corners[:, 0].min() and figure[:, 0].max() < corners[:, 0].max()
    places, grid = sparse(FRAME, 0.3, 1)
    assert len(places) == len(grid) == len({tuple(each) for each in grid.tolist()})
    assert np.allclose(places, FRAME.place_m(grid[:, 0], grid[:, 1]))
    assert np.allclose(places, sparse(FRAME, 0.3, 1)[0]) and len(sparse(FRAME, 1.0, 1)[1]) == FRAME.pixels * FRAME.lines
    assert scattered(FRAME, 77, 2).shape == (77, 3)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: PointList(np.zeros((3, 2)), [1e-6, 0.0, 1e-6]), "dwell times"),
        (lambda: PointList(np.full((3, 2), np.nan), 1e-6), "are not possible"),
        (lambda: PointList(np.zeros((3, 4)), 1e-6), "are not possible"),
        (lambda: PointList(np.zeros((3, 2)), 1e-6, Travel.GO), "a speed above 0"),
        (lambda: PointList(np.zeros((1, 2)), 1e-6, Travel.SWEEP), "two points"),
        (lambda: PointList([[600e-9, 0]], 1e-6).entries(CALIBRATION), "beyond the scanner"),
        (lambda: PointList([[0, 0]], 100.0).entries(CALIBRATION), "a dwell of"),
        (lambda: spiral((0, 0), 1e-9, 2e-9), "a spiral of"),
        (lambda: lissajous(FRAME, 2, 4, 10), "common factor"),
        (lambda: sparse(FRAME, 0.0, 1), "fraction"),
        (lambda: scattered(FRAME, 0, 1), "0 points"),
        (lambda: plan_raster(Raster(FRAME, 1e-7), CALIBRATION), "below the minimum"),
        (lambda: plan_raster(Raster(FRAME, 1e-3, Mode.FORWARD, lift=True), CALIBRATION), "second pass"),
        (lambda: plan_raster(Raster(FRAME, 1e-3, interlace=0), CALIBRATION), "interlace"),
        (lambda: plan_raster(Raster(FRAME, 1e-3, settle_s=-1.0), CALIBRATION), "settle_s"),
        (lambda: plan_raster(Raster(FRAME, 1e-3, acceleration_m_per_s2=1e-9), CALIBRATION), "acceleration allowed"),
        (lambda: plan_raster(Raster(FRAME, 1e-3, drift_m_per_s=(1.0, 0, 0)), CALIBRATION), "a drift of 1 m/s in x is not possible"),
        (lambda: plan_raster(Raster(FRAME, 1e-3, stepped=True), CALIBRATION), "neither overscan nor acceleration"),
        (lambda: Frame(1e-9, 1e-9, 0, 3), "pixels = 0"),
        (lambda: Frame(1e-9, 1e-9, 3, 3, shear_deg=80.0), "shear_deg"),
        (lambda: Frame(-1e-9, 1e-9, 3, 3), "width_m"),
    ],
)
def test_what_can_not_be_is_refused_in_one_line(make, match: str) -> None:
    with pytest.raises(BadInput, match=match) as refusal:
        make()
    assert "\n" not in str(refusal.value)
