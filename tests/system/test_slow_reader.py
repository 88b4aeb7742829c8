"""A client that reads late: what the socket did not take at once comes all the same."""

from __future__ import annotations

import asyncio
import struct

from running_board import StartBoard

from reflexarc.contract.blocks.interlock import InterlockState
from reflexarc.contract.link import Kind
from reflexarc.device import Controller
from reflexarc.device.controller import AsyncController
from reflexarc.device.transport import SocketTransport
from reflexarc.safety import Limits
from reflexarc.scans import standing_still

PIXELS, LINES = 4096, 40  # 4 MB of packets: more than a socket holds


async def late(device: AsyncController) -> int:
    """Ask for a long way, read nothing for a while, then all; packets that came."""
    transport = device.transport
    assert isinstance(transport, SocketTransport)
    await device.set_limits(Limits())
    await device.arm()
    await device.registers.write_raw(standing_still() | {"scan.flags": 0, "scan.pixels": PIXELS, "scan.lines": LINES})
    await device.start_scan()
    device.take_packets()
    cycles = int((PIXELS * LINES + 1000) * device.calibration.cycles_per_sample)
    reading = transport._writer.transport  # type: ignore[attr-defined]
    reading.pause_reading()
    request = asyncio.create_task(transport.request(Kind.ADVANCE, struct.pack("<Q", cycles)))
    await asyncio.sleep(6)
    assert not request.done()
    reading.resume_reading()
    await asyncio.wait_for(request, 20)
    await device.sleep(1e-3)
    assert await device.state() is InterlockState.ARMED
    return len(device.take_packets())


def test_a_reply_that_did_not_fit_comes_later(start_board: StartBoard) -> None:
    with Controller(start_board("--seed", "1").address, lockstep=True) as board:
        assert board.run(late(board.device)) == LINES
        board.disarm()
