"""Each ready program on the twin: what it says is what the plant does."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from running_board import RunningBoard, StartBoard

from reflexarc.contract.blocks.scan import ScanState
from reflexarc.contract.packets import Channel, Direction
from reflexarc.device import Controller
from reflexarc.experiments.approach import approach
from reflexarc.experiments.program import Emission, ProgramRun, run_program
from reflexarc.experiments.scan import configure_raster
from reflexarc.experiments.settings import ScanSettings
from reflexarc.programs.library import (
    condition_tip,
    current_distance,
    current_voltage,
    expose_points,
    pull_adatom,
    pulse_and_check,
    slide_adatom,
    spectroscopy_grid,
    track_summit,
)
from reflexarc.programs.tree import ProgramTree
from reflexarc.programs.verify import Assumptions, verify
from reflexarc.safety.limits import Limits
from reflexarc_sim.specimens import load

SEEDS = int(os.environ.get("REFLEXARC_SEEDS", "1"))  # of manipulations; `make programs` runs ten
MAP = int(os.environ.get("REFLEXARC_MAP", "3"))  # points of a spectroscopy map in x and y; `make programs` takes 64
QUIET = """
drift_x_m_per_s = 0.0
drift_y_m_per_s = 0.0
drift_z_m_per_s = 0.0
"""
WIDE = Limits(current_high_A=4.9e-9, current_low_A=-4.9e-9, current_slew_A=None)


class Instrument:
    """A twin with its tip approached, and programs on it."""

    def __init__(self, running: RunningBoard, limits: Limits) -> None:
        self.limits = limits
        self.board = Controller(running.address, lockstep=True)
        self.board.set_limits(limits)
        self.board.arm()
        self.board.run(approach(self.board.device, ScanSettings()))

    def run(self, tree: ProgramTree, tip: bool = True, risks: int = 0) -> ProgramRun:
        """As a user would: shown safe, then run."""
        verdict = verify(tree, Assumptions(self.board.device.calibration, self.limits, tip=tip))
        assert not verdict.faults and len(verdict.risks) == risks, verdict.findings
        assert verdict.compiled is not None and verdict.bounds is not None
        ran = self.board.run(run_program(self.board.device, verdict.compiled))
        assert ran.lost == 0
        # Looked at each millisecond of board time.
        assert ran.time_s <= verdict.bounds.time_s + 2e-3
        return ran


@pytest.fixture(scope="module")
def stm(start_module_board: StartBoard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instrument]:
    plant = tmp_path_factory.mktemp("plant") / "plant.toml"
    plant.write_text(QUIET)
    instrument = Instrument(start_module_board("--plant", str(plant)), Limits())
    yield instrument
    instrument.board.close()


def values(ran: ProgramRun, tag: str) -> np.ndarray:
    return np.array([emission.values for emission in ran.emissions if emission.tag == tag])


def intervals(emissions: list[Emission], cycle_s: float) -> set[int]:
    """Cycles from each to the next."""
    cycles = [round(emission.time_s / cycle_s) for emission in emissions]
    return {later - earlier for earlier, later in zip(cycles[:-1], cycles[1:], strict=True)}


def test_current_voltage(stm: Instrument) -> None:
    """Proportional to the bias, at steps that are equal to the cycle, and the bias is back."""
    ran = stm.run(current_voltage(-0.4, 0.4, 9))
    iv = values(ran, "iv")
    assert ran.reason == "done" and iv[:, 0] == pytest.approx(np.linspace(-0.4, 0.4, 9), abs=4e-5)
    assert np.corrcoef(iv[:, 0], iv[:, 1])[0, 1] > 0.99
    assert iv[-1, 1] == pytest.approx(80e-12, rel=0.3)
    assert stm.board.read("gate.bias")[0] == pytest.approx(0.5, abs=4e-5)
    cycle_s = stm.board.device.calibration.seconds(1)
    assert len(intervals(list(ran.emissions), cycle_s)) == 1


def test_current_distance(stm: Instrument) -> None:
    """The current falls as the work function of the plant says, 1.087e10 per metre for 4.5 eV; the feedback goes on from where it was."""
    before = stm.board.read("feedback.output")[0]
    iz = values(stm.run(current_distance(150e-12, 6)), "iz")
    way = iz[:, 0] - iz[0, 0]
    assert way == pytest.approx(np.linspace(0, 150e-12, 6), abs=2e-12)
    slope = np.polyfit(way[:5], np.log(iz[:5, 1]), 1)[0]
    assert slope == pytest.approx(-2 * 1.087e10, rel=0.15)
    assert stm.board.read("feedback.engaged")[0] == 1
    assert stm.board.read("feedback.output")[0] == pytest.approx(before, abs=30e-12)


def test_spectroscopy_grid(stm: Instrument) -> None:
    """A map with nothing of the host between the points: it only looks whether the program has ended."""
    half = 0.1e-9 * (MAP - 1)
    ran = stm.run(spectroscopy_grid((0.0, 0.0), 2 * half, MAP, MAP, 0.1, 0.4, 4, mean_of=8, rest_s=100e-6))
    points, iv = values(ran, "point"), values(ran, "iv").reshape(MAP**2, 4, 2)
    places = np.linspace(-half, half, MAP)
    assert points[:, 0] == pytest.approx(np.tile(places, MAP), abs=2e-12)
    assert points[:, 1] == pytest.approx(np.repeat(places, MAP), abs=2e-12)
    assert iv[:, :, 0] == pytest.approx(np.tile(np.linspace(0.1, 0.4, 4), (MAP**2, 1)), abs=4e-5)
    assert (np.diff(iv[:, :, 1].mean(axis=0)) > 0).all()
    assert stm.board.read("gate.x_code", "gate.y_code") == pytest.approx([0.0, 0.0], abs=2e-12)


def test_pulse_and_check(stm: Instrument) -> None:
    """Nothing here changes by a pulse: it pulses as often as it may. A pulse is counted by the dose."""
    before = stm.board.dose()["pulses"]
    ran = stm.run(pulse_and_check(1.0, 10e-6, up_to=3))
    assert ran.reason == "unchanged" and len(values(ran, "pulse")) == 3
    assert stm.board.dose()["pulses"] - before == 3
    ran = stm.run(pulse_and_check(1.0, 10e-6, up_to=3, below=1.5))
    assert ran.reason == "changed" and len(values(ran, "pulse")) == 1


def test_condition_tip(stm: Instrument) -> None:
    ran = stm.run(condition_tip(1.5, 10e-6))
    ((near, far),) = values(ran, "test")
    assert ran.reason == "good" and far / near == pytest.approx(math.exp(-2 * 1.087), rel=0.4)
    ran = stm.run(condition_tip(1.5, 10e-6, up_to=2, falls_to=0.01))
    assert ran.reason == "bad" and len(values(ran, "test")) == 2


def test_expose_points(stm: Instrument) -> None:
    """The beam is open for as long as was asked, to the cycle, and blanked on all ways."""
    times = [10e-6, 20e-6, 5e-6]
    before = stm.board.read("dose.open_time")[0]
    stm.run(expose_points([(0, 0), (5e-9, 0), (5e-9, 5e-9)], times, speed_m_per_s=2e-6), tip=False)
    calibration = stm.board.device.calibration
    assert stm.board.read("dose.open_time")[0] - before == sum(calibration.cycles(one) for one in times)
    assert stm.board.read("gate.blanked")[0] == 1


DRIFT = (1e-9, -0.5e-9)


def flattest(seed: int) -> tuple[float, float]:
    """Middle of the flattest 5 nm of the specimen that a seed makes, within 10 nm of its centre: no step, none of its own adatoms."""
    specimen = load("au111", seed=seed)
    around = np.linspace(-2.5e-9, 2.5e-9, 21)
    centres = [(x * 1e-9, y * 1e-9) for x in range(-10, 11) for y in range(-10, 11)]
    return min(centres, key=lambda centre: float(np.ptp(specimen.height_at(centre[0] + around[:, None], centre[1] + around[None, :]))))


def frame(centre_m: tuple[float, float]) -> ScanSettings:
    return ScanSettings(width_m=5e-9, height_m=5e-9, center_x_m=centre_m[0], center_y_m=centre_m[1], pixels=25, lines=25, pixel_s=100e-6)


def image(board: Controller, frame: ScanSettings) -> np.ndarray:
    """Forward lines: heights in metres, lowest line first."""
    board.run(configure_raster(board.device, frame))
    board.device.take_packets()
    board.run(board.device.start_scan())
    while board.run(board.device.scan_state()) is not ScanState.IDLE:
        board.run(board.device.sleep(10e-3))
    board.run(board.device.sleep(1e-3))
    lines = sorted((one for one in board.device.take_packets() if one.direction is Direction.FORWARD), key=lambda one: one.line)
    assert [one.line for one in lines] == list(range(frame.lines))
    means = np.array([np.divide(one.sums[Channel.Z], one.samples) for one in lines])
    return np.asarray(means / 4096 * board.device.calibration.z_m_per_code)


def summit(heights: np.ndarray, frame: ScanSettings) -> tuple[float, float]:
    """Where the adatom is, in the scanner's frame: the middle of all that is more than half as high as the highest place."""
    above = heights - np.median(heights)
    rows, columns = np.nonzero(above > above.max() / 2)
    step_m = frame.width_m / frame.pixels
    return (
        frame.center_x_m + (columns.mean() + 0.5) * step_m - frame.width_m / 2,
        frame.center_y_m + (rows.mean() + 0.5) * step_m - frame.height_m / 2,
    )


@pytest.mark.parametrize("seed", range(1, SEEDS + 1))
@pytest.mark.parametrize("program", [slide_adatom, pull_adatom])
def test_manipulation(start_board: StartBoard, tmp_path: Path, program: Callable[..., ProgramTree], seed: int) -> None:
    """The adatom is at the target afterwards: a scan shows it, and the plant knows."""
    x_m, y_m = flattest(seed)
    target = (x_m + 1e-9, y_m + 0.6e-9)
    plant = tmp_path / "plant.toml"
    plant.write_text(QUIET + f"adatoms_m = [[{x_m - 1e-9}, {y_m - 0.6e-9}]]\nadatom_height_m = 0.15e-9\n")
    instrument = Instrument(start_board("--plant", str(plant), "--seed", str(seed)), WIDE)
    board = instrument.board
    (begin,) = board.run(board.device.truth())["adatoms"]
    assert math.dist(summit(image(board, frame((x_m, y_m))), frame((x_m, y_m))), begin) < 0.3e-9
    instrument.run(program(tuple(begin), target, speed_m_per_s=150e-9), risks=int(program is pull_adatom))
    (there,) = board.run(board.device.truth())["adatoms"]
    assert math.dist(begin, target) > 2e-9 and math.dist(there, target) < 0.3e-9
    assert math.dist(summit(image(board, frame((x_m, y_m))), frame((x_m, y_m))), target) < 0.4e-9
    board.close()


def test_track_summit(start_board: StartBoard, tmp_path: Path) -> None:
    """It begins beside an adatom that drifts, climbs, and stays with it."""
    plant = tmp_path / "plant.toml"
    plant.write_text(
        f"drift_x_m_per_s = {DRIFT[0]}\ndrift_y_m_per_s = {DRIFT[1]}\ndrift_z_m_per_s = 0.0\n"
        "adatoms_m = [[0.0, 0.0]]\nadatom_height_m = 0.2e-9\n"
    )
    instrument = Instrument(start_board("--plant", str(plant)), Limits())
    at = values(instrument.run(track_summit((0.3e-9, 0.2e-9), turns=60, step_m=30e-12)), "at")
    ((x_m, y_m),) = instrument.board.run(instrument.board.device.truth())["adatoms"]
    seconds = instrument.board.device.calibration.seconds(instrument.board.run(instrument.board.device.time_cycles()))
    assert seconds > 0.3  # it has gone by as much as it is wide
    assert math.dist(at[-5:].mean(axis=0), (x_m + DRIFT[0] * seconds, y_m + DRIFT[1] * seconds)) < 0.1e-9
    instrument.board.close()
