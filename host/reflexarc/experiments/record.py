"""Every sample of z and the current for a while: a raster that stands still, one sample a pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from reflexarc.contract.blocks.scan import POSITION_FRACTION_BITS, ScanState
from reflexarc.contract.packets import Channel
from reflexarc.device.controller import AsyncController
from reflexarc.errors import BadInput, PixelsLost
from reflexarc.scans import standing_still

Array = NDArray[np.float64]
LINE = 4096  # samples in a packet
SAMPLES_MAX = LINE * 8192


async def record_samples(board: AsyncController, samples: int) -> tuple[Array, Array]:
    """z in metres and codes of the current, ``samples`` of each (rounded up to whole packets). BoardTripped if the interlock trips.

    The sample that a z belongs to is the next one: it is what the controller made of the sample before. PixelsLost if any is missing.
    """
    lines = -(-samples // LINE)
    if not 1 <= samples <= SAMPLES_MAX:
        raise BadInput(f"{samples} samples are not possible; accepted: 1 to {SAMPLES_MAX}")
    if await board.scan_state() is not ScanState.IDLE:
        raise BadInput("a scan runs; stop it first")
    channels = (await board.registers.read_raw("capture.channels"))[0]
    both = 1 << Channel.Z | 1 << Channel.CURRENT
    await board.registers.write_raw(
        standing_still() | {"scan.flags": 0, "scan.pixels": LINE, "scan.lines": lines, "capture.channels": both}
    )
    board.take_packets()
    await board.start_scan()
    z, current = np.empty(lines * LINE), np.empty(lines * LINE)
    done = 0
    try:
        while done < lines:
            await board.sleep(min(lines - done, 32) * LINE * board.calibration.sample_period_s)
            for packet in board.take_packets():
                if packet.line != done or packet.lost or len(packet.index) != LINE:
                    raise PixelsLost(f"samples were lost in packet {packet.line}: the link is too slow for each sample")
                here = slice(done * LINE, (done + 1) * LINE)
                z[here], current[here] = packet.sums[Channel.Z], packet.sums[Channel.CURRENT]
                done += 1
            await board.check_live()
    finally:
        await board.stop_scan()
        await board.registers.write_raw({"capture.channels": channels})
    return z * board.calibration.z_m_per_code / (1 << POSITION_FRACTION_BITS), current
