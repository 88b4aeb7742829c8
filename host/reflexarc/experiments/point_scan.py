"""Point lists and free trajectories: fill the scan's queue while it runs, collect what comes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reflexarc.contract.blocks import scan, trajectory
from reflexarc.contract.blocks.scan import ScanCommand, ScanState
from reflexarc.contract.blocks.trajectory import SAMPLES_BITS
from reflexarc.contract.link import BusOperation
from reflexarc.device.controller import AsyncController
from reflexarc.errors import BadInput, BoardTripped, PixelsLost
from reflexarc.experiments.scan import pixel_means
from reflexarc.scans import PointList, Travel, standing_still

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
BUNDLE = 256  # pixels in a packet
PUSH_MOST = 256  # entries in one request to the board


@dataclass(frozen=True, eq=False)
class PointData:
    """One value a pixel, in the list's order; NaN where none came. ``samples`` behind each, ``starved`` times the queue ran empty."""

    z_m: Array
    current_A: Array
    samples: Integers
    starved: int


async def scan_points(board: AsyncController, points: PointList, move_m_per_s: float) -> PointData:
    """Go to the first point and run through the list, which is written to the board while it runs.

    A queue that runs empty holds the scan, blanks the beam where asked, and is counted; the interlock trips if UNDERFLOW is one of its
    conditions. PixelsLost if the link lost any; BoardTripped if the interlock trips.
    """
    calibration = board.calibration
    entries = points.entries(calibration)
    if await board.scan_state() is not ScanState.IDLE:
        raise BadInput("a scan runs; stop it first")
    x_m, y_m, z_m = (float(value) for value in points.points_m[0])
    if points.travel is not Travel.JUMP:
        await board.move_to(x_m, y_m, move_m_per_s, z_m)
    await board.registers.write_raw(standing_still() | {"scan.pixels": BUNDLE, "trajectory.clear": 1})
    (starved_before,) = await board.registers.read_raw("scan.starved")
    await board.sleep(1e-5)
    board.take_packets()
    (free,) = await board.registers.read_raw("trajectory.free")
    done = await _push(board, entries, 0, free)
    await board.registers.write_raw({"scan.command": ScanCommand.LIST})
    data = PointData(np.full(points.pixels, np.nan), np.full(points.pixels, np.nan), np.zeros(points.pixels, np.int64), 0)
    came = 0
    half_queue_s = float(entries[:, 3].mean()) * trajectory.DEPTH / 2 * calibration.sample_period_s
    while True:
        await board.sleep(min(half_queue_s, 0.05))
        state = await board.scan_state()
        came += _collect(board, data)
        await board.check_live()
        if done < len(entries):
            (free,) = await board.registers.read_raw("trajectory.free")
            done = await _push(board, entries, done, free)
        elif state is ScanState.IDLE:
            break
    await board.sleep(1e-4)
    came += _collect(board, data)
    if came != points.pixels:
        raise PixelsLost(f"{points.pixels - came} of {points.pixels} points were lost")
    (starved,) = await board.registers.read_raw("scan.starved")
    return PointData(data.z_m, data.current_A, data.samples, starved - starved_before)


async def _push(board: AsyncController, entries: Integers, done: int, free: int) -> int:
    """Enter as many as there is room for; how many are entered in all."""
    end = min(len(entries), done + free)
    addresses = {name: trajectory.BLOCK.address(name) for name in (*scan.AXES, "push")}
    while done < end:
        operations = []
        for x, y, z, samples, kind in entries[done : min(end, done + PUSH_MOST)].tolist():
            for name, value in (("x", x), ("y", y), ("z", z), ("push", samples | kind << SAMPLES_BITS)):
                operations.append((BusOperation.WRITE, addresses[name], value & 0xFFFFFFFF))
        await board.transport.bus(operations)
        done = min(end, done + PUSH_MOST)
    return done


def _collect(board: AsyncController, data: PointData) -> int:
    """Packets that came, into ``data``; how many pixels."""
    came = 0
    for packet in board.take_packets():
        if packet.aborted:
            raise BoardTripped("the list was cut short")
        where = packet.line * BUNDLE + np.array(packet.index, int)
        data.samples[where] = packet.samples
        data.z_m[where], data.current_A[where] = pixel_means(packet, board.calibration)
        came += len(where)
    return came
