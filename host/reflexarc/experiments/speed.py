"""How fast the twin runs."""

from __future__ import annotations

from typing import Any

from reflexarc.device.controller import AsyncController
from reflexarc.experiments.approach import approach
from reflexarc.experiments.scan import configure_raster
from reflexarc.experiments.settings import ScanSettings
from reflexarc.experiments.tune import tune_feedback
from reflexarc.safety import Limits

BOARD_S = 1.0


async def measure_speed(board: AsyncController) -> dict[str, Any]:
    """Gateware cycles a second of wall time while a scan runs under feedback, plant included; what the tuned feedback reaches."""
    settings = ScanSettings()
    await board.set_limits(Limits())
    await board.arm()
    await configure_raster(board, settings)
    await approach(board, settings)
    await board.start_scan()
    before = await board.truth()
    await board.sleep(BOARD_S)
    after = await board.truth()
    await board.check_live()
    await board.stop_scan()
    _, tuned = await tune_feedback(board)
    return {
        "feedback_bandwidth_Hz": tuned.margins.bandwidth_Hz,
        "twin_cycles_per_s": (after["cycle"] - before["cycle"]) / (after["busy_s"] - before["busy_s"]),
    }
