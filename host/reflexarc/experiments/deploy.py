"""A model onto a board, while whatever runs there goes on; and what the board says of it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reflexarc.compiler.network import Int8
from reflexarc.compiler.wishes import ViewWish
from reflexarc.contract.blocks.detector import Fault, SwapAt
from reflexarc.contract.blocks.scan import ScanState
from reflexarc.contract.events import Event, EventSource
from reflexarc.contract.model import ViewSource
from reflexarc.contract.words import to_bytes
from reflexarc.device.controller import AsyncController
from reflexarc.device.detector import DetectorStatus, activate, detector_status, is_active, load_image, set_enabled, until_active
from reflexarc.errors import BadInput, ConnectionFailed, ReflexArcError
from reflexarc.experiments.approach import approach
from reflexarc.experiments.scan import LineCollector, configure_raster, raster
from reflexarc.experiments.settings import OPTIONAL, ScanSettings

CHANGE_MAX_S = 60.0  # board time; a frame may take hours, but then nobody wants to wait for it here
TRIAL_LINES, TRIAL_PIXELS = 12, 32  # of the scan on a twin of its own: beyond those that the view needs, and at least
TRIAL_PIXEL_S = 60e-6
TRIAL_M_PER_S = 1e-6  # of the tip: the feedback follows any slope


@dataclass(frozen=True)
class Loaded:
    """``wall_s``: board and link, from the first word to the change; ``board_s``: the same in board time. ``before``: model that ran until then.

    ``due``: the change is still to come, at the next frame's start; then the times are those until it was asked for.
    """

    bank: int
    wall_s: float
    board_s: float
    before: int
    due: bool = False


async def deploy_image(board: AsyncController, words: Sequence[int], *, at: SwapAt = SwapAt.LINE, radius: int = 0) -> Loaded:
    """Load, change, switch on. The old model keeps running until the new one is whole and a boundary comes. RegisterRefused if it is not taken.

    A frame's start is waited for only while something is scanned.
    """
    before = (await detector_status(board.registers)).running
    begun, cycle = time.perf_counter(), await board.time_cycles()
    bank = await load_image(board.registers, words)
    await board.registers.write_raw({"detector.radius": radius})
    await activate(board.registers, bank, at)
    await set_enabled(board.registers, True)
    due = at is SwapAt.FRAME and await board.scan_state() is ScanState.IDLE and not await is_active(board.registers, bank)
    if not due:
        await until_active(board.registers, bank, board.sleep, CHANGE_MAX_S)
    wall_s = time.perf_counter() - begun
    return Loaded(bank, wall_s, board.calibration.seconds(await board.time_cycles() - cycle), before, due)


def offset_m(settings: ScanSettings, view: ViewWish) -> tuple[float, float]:
    """From where the newest pixel's last sample was to the place that a result tells of, for ``detector.offset_x`` and ``offset_y``.

    That is ``view.center`` records and lines before the middle of that pixel, which was half a pixel before its end unless the scan is stepped.
    """
    frame = settings.frame
    records, lines = view.center
    back = records + (0.0 if settings.stepped else 0.5)
    way = -(-back if view.backward else back) * frame.along_m - lines * settings.interlace * frame.across_m
    return float(way[0]), float(way[1])


async def aim(board: AsyncController, settings: ScanSettings, view: ViewWish) -> None:
    """Have the detector's events tell the place that the model means, in this scan."""
    x_m, y_m = offset_m(settings, view)
    await board.registers.write({"detector.offset_x": x_m, "detector.offset_y": y_m})


# On a twin of one's own: what the detector does while it scans.


@dataclass
class Trial:
    """What came of it. ``status``: at its end; ``pixels`` of ``expected`` came."""

    loaded: Loaded
    status: DetectorStatus
    pixels: int = 0
    expected: int = 0
    events: list[Event] = field(default_factory=list)

    @property
    def lost(self) -> int:
        return self.expected - self.pixels


def trial_settings(view: ViewWish) -> ScanSettings:
    """A frame with room for the view. Whole lines are as long as the view is."""
    shape = view.shape
    whole = view.source is ViewSource.PIXEL and (view.hop or 0) >= shape.columns
    pixels = shape.columns if whole else max(TRIAL_PIXELS, shape.columns + 4) if view.source is ViewSource.PIXEL else TRIAL_PIXELS
    pixel_s = TRIAL_PIXEL_S
    if view.source is ViewSource.SAMPLE:
        pixel_s = max(pixel_s, 2 * shape.columns * 0.56e-6)
    channels = frozenset(channel for channel in view.channels if channel in OPTIONAL)
    lines, pitch_m = shape.rows + TRIAL_LINES, TRIAL_M_PER_S * pixel_s
    return ScanSettings(width_m=pixels * pitch_m, height_m=lines * pitch_m, pixels=pixels, lines=lines, pixel_s=pixel_s, channels=channels)


async def trial(board: AsyncController, words: Sequence[int], view: ViewWish, *, at: SwapAt, radius: int) -> Trial:
    """Deploy while a short scan runs, on a twin that is not armed yet; withdrawn again at the end."""
    if view.source is ViewSource.PROGRAM:
        return await _pushed(board, words, view, at=at, radius=radius)
    settings = trial_settings(view)
    await board.set_limits(settings.limits)
    await board.arm()
    collector = LineCollector(settings, board.calibration, None)
    loaded: list[Loaded] = []
    try:
        await configure_raster(board, settings)
        await aim(board, settings, view)
        await approach(board, settings)

        async def deploy(line: int) -> None:
            if line == 2:
                loaded.append(await deploy_image(board, words, radius=radius))

        if at is SwapAt.FRAME:  # the change comes with the start
            loaded.append(await deploy_image(board, words, at=at, radius=radius))
        events = await raster(board, settings, collector, after_line=deploy if at is SwapAt.LINE else None)
        status = await detector_status(board.registers)
    finally:
        with contextlib.suppress(ConnectionFailed):
            await board.disarm()
    found = [event for event in events if event.source == EventSource.DETECTOR]
    return Trial(loaded[0], status, collector.pixels, collector.expected, found)


async def _pushed(board: AsyncController, words: Sequence[int], view: ViewWish, *, at: SwapAt, radius: int) -> Trial:
    """The same with records as a program pushes them."""
    loaded = await deploy_image(board, words, at=at, radius=radius)
    await board.registers.write_raw({"detector.restart": 1})
    for _ in range(view.shape.columns * view.shape.channels):
        await board.registers.write_raw({"detector.push": 0})
        await board.sleep(10e-6)
    await board.sleep(1e-3)
    return Trial(loaded, await detector_status(board.registers), events=board.take_events())


def add_loaded(report: dict[str, Any], loaded: Loaded) -> None:
    report["deploy_s"] = round(loaded.wall_s, 4)
    report["deploy_board_s"] = round(loaded.board_s, 6)
    report["bank"] = loaded.bank
    report["change_due"] = loaded.due
    report["model_id_before"] = loaded.before


def add_trial(report: dict[str, Any], tried: Trial) -> None:
    add_loaded(report, tried.loaded)
    status = tried.status
    report["trial"] = {
        "pixels": tried.pixels,
        "pixels_lost": tried.lost,
        "evaluations": status.evaluations,
        "missed": status.missed,
        "faults": [fault.name for fault in Fault if fault in status.faults],
        "events": len(tried.events),
        "other_models": len({event.model_id for event in tried.events} - {report["model_id"]}),
        "cycles_to_verdict": status.last.cycles,
    }


# RTL.


def rtl(words: Sequence[int], windows: Int8) -> tuple[Int8, NDArray[np.int64], NDArray[np.int64]]:
    """Windows through the compiled engine: outputs, cycles with all inputs there, cycles after the last one. BadInput where it can't be built."""
    with tempfile.TemporaryDirectory(prefix="reflexarc-") as folder:
        image, given, out = (Path(folder) / name for name in ("image", "windows.npy", "out.npz"))
        image.write_bytes(to_bytes(words))
        np.save(given, windows)
        command = [sys.executable, "-m", "reflexarc_sim.engine", str(image), str(given), str(out)]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1].removeprefix("reflexarc_sim.engine: ")
            raise BadInput(f"the RTL can't be run: {last}")
        with np.load(out) as found:
            return found["outputs"], found["cycles"], found["after_last"]


def problems(report: dict[str, Any]) -> list[str]:
    """What must not be, in words; none if all is as it was promised."""
    found = []
    if report["differences"]:
        found.append(f"{report['differences']} of {report['compared']} outputs differ")
    if report["thresholds_proven"] != report["thresholds_total"]:
        found.append(f"{report['thresholds_total'] - report['thresholds_proven']} thresholds are not onnxruntime's")
    for kind in ("cycles", "cycles_after_last"):
        predicted, measured = report[f"{kind}_predicted"], report[f"{kind}_measured"]
        if measured is not None and measured != predicted:
            found.append(f"{measured} {kind.replace('_', ' ')} were measured, {predicted} predicted")
    tried = report.get("trial") or {}
    if tried.get("pixels_lost"):
        found.append(f"{tried['pixels_lost']} pixels were lost")
    if tried.get("faults"):
        found.append(f"evaluations are missing: {', '.join(tried['faults'])}")
    if tried.get("other_models"):
        found.append("events of another model came after the change")
    return found


def raise_problems(report: dict[str, Any]) -> None:
    if found := problems(report):
        raise ReflexArcError("; ".join(found))
