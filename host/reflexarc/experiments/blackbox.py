"""From the board's recorder to records and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reflexarc.device.controller import AsyncController
from reflexarc.device.recorder import BlackBoxEntry
from reflexarc.device.trip import Trip
from reflexarc.errors import BadInput
from reflexarc.report import draw_blackbox, report_text
from reflexarc.store import BlackBox, BlackBoxFile, StoreError, write_blackbox_file
from reflexarc.store.blackbox_file import as_attributes


def _ring(entries: Sequence[BlackBoxEntry], entry_s: float, attributes: Mapping[str, Any]) -> BlackBox:
    def column(name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.array([getattr(entry, name) for entry in entries], dtype=np.float64)

    return BlackBox(
        time_s=column("index") * entry_s,
        current_A=column("current_A"),
        z_m=column("z_m"),
        x_m=column("x_m"),
        y_m=column("y_m"),
        bias_V=column("bias_V"),
        state=np.array([entry.flags for entry in entries], dtype=np.uint32),
        attributes=attributes,
        monitor_V=column("monitor_V"),
        current_low_A=column("current_low_A"),
        current_high_A=column("current_high_A"),
    )


def _trip_attributes(trip: Trip) -> dict[str, Any]:
    return {
        "cause": trip.cause,
        "causes": ", ".join(trip.causes),
        "value": trip.value,
        "limit": trip.limit,
        "unit": trip.unit,
        "detail": trip.detail,
        "trip_time_cycles": trip.time_cycles,
        "trip_time_s": trip.time_s,
    }


async def read_blackbox(board: AsyncController) -> BlackBox | None:
    """The recorder's short ring as the store keeps it; None if nothing is frozen."""
    entries = await board.blackbox()
    trip = await board.last_trip()
    if not entries or trip is None:
        return None
    return _ring(entries, board.calibration.sample_period_s, _trip_attributes(trip))


async def read_blackbox_file(board: AsyncController) -> BlackBoxFile:
    """Both rings and the limits in force. BadInput while the recorder runs: there is no trip, or it was acknowledged.

    Changes nothing on the board but which entry is read, so any client can do it again.
    """
    trip = await board.last_trip()
    recording = await board.recording() if trip is not None else None
    if trip is None or recording is None:
        raise BadInput("there is no black box to read: nothing tripped since the last acknowledgement")
    period = board.calibration.sample_period_s
    hard = await board.limits()
    soft = await board.soft_limits()
    attributes = {
        **_trip_attributes(trip),
        "board": board.board_name,
        "sample_period_s": period,
        "rail_m": board.calibration.z_range_m - board.calibration.z_m_per_code,
    }
    return BlackBoxFile(
        short=_ring(recording.short, period, {"decimation": 1}),
        long=_ring(recording.long, recording.decimation * period, {"decimation": recording.decimation}),
        attributes=attributes,
        hard=as_attributes(hard.as_plain() if hard is not None else {}),
        soft=as_attributes(soft.as_plain()),
    )


def save_blackbox(box: BlackBoxFile, folder: Path) -> str:
    """blackbox.h5, blackbox.png and blackbox.txt in ``folder``; the text. StoreError if one can't be written."""
    text = report_text(box)
    write_blackbox_file(folder / "blackbox.h5", box)
    draw_blackbox(folder / "blackbox.png", box)
    try:
        (folder / "blackbox.txt").write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"{folder / 'blackbox.txt'}: cannot be written ({error.strerror})") from error
    return text
