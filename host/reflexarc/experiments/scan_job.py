"""One frame into a file."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reflexarc.device.controller import AsyncController
from reflexarc.errors import BadInput, BoardTripped, ConnectionFailed, PixelsLost
from reflexarc.experiments.approach import approach
from reflexarc.experiments.blackbox import read_blackbox
from reflexarc.experiments.scan import LineCollector, configure_raster, event_row, geometry, progress, raster
from reflexarc.experiments.settings import ScanSettings
from reflexarc.safety.commissioning import CommissioningRecord
from reflexarc.store import ScanWriter

if TYPE_CHECKING:  # models take a moment to load, and most scans have none
    from reflexarc.experiments.detect import Detection


async def scan_job(
    board: AsyncController,
    settings: ScanSettings,
    folder: Path,
    attributes: dict[str, Any],
    record: CommissioningRecord | None = None,
    detection: Detection | None = None,
) -> list[str]:
    """Approach, scan, withdraw. On a trip the black box goes into the file too and BoardTripped tells the cause.

    With a ``detection`` its model looks on; its events are in the file with all others.
    """
    settings.check(board.calibration)
    if detection is not None:
        detection.check(settings)
    await board.set_limits(settings.limits)
    await board.arm(record)
    frame = geometry(settings, board.calibration)
    path = folder / "scan.h5"
    with ScanWriter(path, frame, attributes, settings.lift_m is not None, settings.channels) as writer:
        collector = LineCollector(settings, board.calibration, writer)
        try:
            if detection is not None:
                collector = await detection.begin(board, settings, writer)
            await configure_raster(board, settings)
            await approach(board, settings)
            with progress("scan", settings.lines) as update:
                events = await raster(board, settings, collector, update)
            if detection is not None:
                events = detection.events(events)
                await detection.end(board)
            writer.append_events([event_row(event, board.calibration) for event in events])
        except BoardTripped:
            blackbox = await read_blackbox(board)
            if blackbox is not None:
                writer.write_blackbox(blackbox)
            raise
        except BadInput:
            if not collector.pixels:  # refused before the first line: no file of nothing
                path.unlink()
            raise
        finally:
            with contextlib.suppress(ConnectionFailed):
                await board.disarm()
    lost = collector.expected - collector.pixels
    if lost:
        raise PixelsLost(f"{lost} of {collector.pixels + lost} pixels were lost; the lines that are whole stand in {path}")
    lines = [f"pixels       {collector.pixels}, lost 0"]
    return lines if detection is None else [*lines, detection.summary(events)]
