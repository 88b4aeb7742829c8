"""Raster scan."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from reflexarc.calibration import Calibration
from reflexarc.contract.blocks import lift
from reflexarc.contract.blocks.scan import POSITION_FRACTION_BITS, ScanState
from reflexarc.contract.blocks.sync import SyncMode
from reflexarc.contract.events import Event
from reflexarc.contract.packets import Channel, Direction, Packet
from reflexarc.device.controller import AsyncController
from reflexarc.errors import BadInput, BoardTripped, ConnectionFailed, InstrumentLate
from reflexarc.experiments.settings import ALWAYS, ScanSettings
from reflexarc.store import EXTRA_CHANNELS, EventRow, ScanGeometry, ScanWriter

Array = NDArray[np.float64]
LIFT_PLACES, LIFT_SPACING_MAX = lift.DEPTH, lift.BLOCK["spacing"].high
POSITION_ONE = 1 << POSITION_FRACTION_BITS  # one DAC LSB in Q20.12
DRAIN_S = 100e-6  # board time that the last packets of a frame need to leave the board


def geometry(settings: ScanSettings, calibration: Calibration) -> ScanGeometry:
    """The frame as the store describes it."""
    return ScanGeometry(
        pixels=settings.pixels,
        lines=settings.lines,
        width_m=settings.width_m,
        height_m=settings.height_m,
        center_x_m=settings.center_x_m,
        center_y_m=settings.center_y_m,
        pixel_s=settings.pixel_samples(calibration) * calibration.sample_period_s,
        angle_deg=settings.angle_deg,
    )


async def configure_raster(board: AsyncController, settings: ScanSettings) -> None:
    """Registers for the raster of ``settings``, its channels and what it waits for, and the tip to the first pixel.

    The column is asked for its scan inputs.
    """
    plan = settings.plan(board.calibration)
    await board.registers.write_raw(plan.registers)
    if settings.lift_m is not None:
        await configure_lift(board, settings)
    await board.registers.write_raw(
        {
            "sync.mode": int(settings.waits_for),
            "sync.wait_samples": max(1, board.calibration.samples(settings.wait_s)) if settings.waits_for else 0,
            "sync.external": int(SyncMode.EXTERNAL_SCAN in settings.waits_for),
            "capture.channels": sum(1 << channel for channel in {*ALWAYS, *settings.channels}),
        }
    )
    x_m, y_m, z_m = plan.start_m
    await board.move_to(x_m, y_m, settings.move_m_per_s, z_m)


async def configure_lift(board: AsyncController, settings: ScanSettings) -> None:
    """The second pass: ``lift_m`` above the first, reached as fast as the feedback may move z."""
    assert settings.lift_m is not None
    samples = settings.pixels * settings.pixel_samples(board.calibration)
    spacing = max(0, math.ceil(math.log2(samples / (LIFT_PLACES - 1))))
    if spacing > LIFT_SPACING_MAX:
        raise BadInput(
            f"a line of {samples} samples is too long for a second pass; accepted: up to {(LIFT_PLACES - 1) << LIFT_SPACING_MAX}"
        )
    await board.registers.write(
        {"lift.height": settings.lift_m, "lift.step": settings.slew_m_per_s * board.calibration.sample_period_s, "lift.spacing": spacing}
    )


def pixel_means(packet: Packet, calibration: Calibration) -> tuple[Array, Array]:
    """z in metres and current in amperes of each pixel that came."""
    samples = np.array(packet.samples)
    z_m = np.array(packet.sums[Channel.Z]) / samples * calibration.z_m_per_code / POSITION_ONE
    means = np.array(packet.sums[Channel.CURRENT]) / samples
    return z_m, np.array([calibration.code_to_current_A(mean) for mean in means])


class LineCollector:
    """Packets to lines in physical units, with every loss counted.

    ``z_m`` and ``current_A`` are images of the first pass by direction, NaN where the mode scans none; ``second_z_m`` and
    ``second_current_A`` of the second. ``extra`` and ``second_extra`` have the same of each further channel of the settings: the monitor in
    volts, NaN where there is none; the counters' pulses in each pixel as whole numbers, 0 where there are none.
    """

    def __init__(self, settings: ScanSettings, calibration: Calibration, writer: ScanWriter | None) -> None:
        self._settings = settings
        self._calibration = calibration
        self._writer = writer
        self._sequence: int | None = None
        plan = settings.plan(calibration)
        shape = (settings.lines, settings.pixels)
        self._images = {
            (second, direction): (np.full(shape, np.nan), np.full(shape, np.nan)) for second in (False, True) for direction in Direction
        }
        self.z_m: dict[Direction, Array] = {direction: self._images[False, direction][0] for direction in Direction}
        self.current_A: dict[Direction, Array] = {direction: self._images[False, direction][1] for direction in Direction}
        self.second_z_m: dict[Direction, Array] = {direction: self._images[True, direction][0] for direction in Direction}
        self.second_current_A: dict[Direction, Array] = {direction: self._images[True, direction][1] for direction in Direction}
        channels = [channel for channel in EXTRA_CHANNELS if channel in settings.channels]
        self.extra, self.second_extra = (
            {channel: {direction: _empty(channel, shape) for direction in Direction} for channel in channels} for _ in range(2)
        )
        self.line_time_s = np.full(settings.lines, np.nan)  # of the first pass over each line
        self._due = [set(plan.directions(line)) for line in range(settings.lines)]
        self.expected = settings.pixels * sum(len(due) for due in self._due)
        self.pixels = 0
        self.lost_packets = 0
        self.lines_done = 0

    @property
    def image_m(self) -> Array:
        """Topography of all lines, whichever way each was scanned first."""
        forward, backward = self.z_m[Direction.FORWARD], self.z_m[Direction.BACKWARD]
        return np.where(np.isfinite(forward), forward, backward)

    def add(self, packet: Packet) -> None:
        """Take one packet. A gap in the sequence counts the packets between."""
        if self._sequence is not None:
            self.lost_packets += (packet.sequence - self._sequence - 1) & 0xFFFFFFFF
        self._sequence = packet.sequence
        if packet.line >= self._settings.lines or packet.pixels != self._settings.pixels:
            raise BadInput(f"packet of line {packet.line} with {packet.pixels} pixels does not belong to this scan")
        missing = [channel.name for channel in (*ALWAYS, *self.extra) if channel not in packet.sums]
        if missing:
            raise BadInput(f"packet of line {packet.line} comes without {' and '.join(missing)}; were the channels changed meanwhile?")
        z, current = (image[packet.line] for image in self._images[packet.second, packet.direction])
        index, samples = np.array(packet.index, int), np.array(packet.samples)
        z[index], current[index] = pixel_means(packet, self._calibration)
        images = self.second_extra if packet.second else self.extra
        extra = {channel: image[packet.direction][packet.line] for channel, image in images.items()}
        for channel, row in extra.items():
            sums = np.array(packet.sums[channel], np.int64)
            row[index] = sums / samples * self._calibration.monitor_V_per_code if channel is Channel.MONITOR else sums
        self.pixels += len(packet.index)
        due = self._due[packet.line]
        if np.isnan(self.line_time_s[packet.line]):
            self.line_time_s[packet.line] = self._calibration.seconds(packet.time)
        if not packet.aborted:
            due.discard((packet.second, packet.direction))
            self.lines_done += not due
        if self._writer is not None and not packet.aborted and not packet.lost:
            counts = np.zeros(self._settings.pixels, int)
            counts[index] = samples
            self._writer.write_line(packet.line, packet.direction, z, current, counts, packet.time, packet.second, extra)


def _empty(channel: Channel, shape: tuple[int, int]) -> NDArray[Any]:
    dtype = EXTRA_CHANNELS[channel].dtype
    return np.full(shape, 0 if issubclass(dtype, np.integer) else np.nan, dtype)


def event_row(event: Event, calibration: Calibration) -> EventRow:
    """An event in physical units. The score stays in the channel's raw unit, for what it means depends on the source."""
    return EventRow(
        source=event.source,
        class_id=event.class_id,
        score=float(event.score),
        x_m=event.x * calibration.x_m_per_code / POSITION_ONE,
        y_m=event.y * calibration.y_m_per_code / POSITION_ONE,
        time_s=calibration.seconds(event.time),
        model_id=event.model_id,
        sequence=event.sequence,
    )


async def raster(
    board: AsyncController,
    settings: ScanSettings,
    collector: LineCollector,
    on_line: Callable[[int], None] = lambda line: None,
    after_line: Callable[[int], Awaitable[None] | None] | None = None,
) -> list[Event]:
    """Run one frame that ``configure_raster`` prepared; events that came meanwhile.

    ``after_line(n)`` may return an awaitable, done in the middle of the line after the ``n``-th. BoardTripped if the interlock trips: what
    came until then is in the collector and in the file. InstrumentLate, the scan stopped, if what it waits for does not come in time and the
    interlock lets that pass (UNDERFLOW).
    """
    (late,) = await board.registers.read_raw("sync.late")
    await board.start_scan()
    events: list[Event] = []
    line_s = settings.line_s(board.calibration)
    done = 0

    def take() -> None:
        nonlocal done
        for packet in board.take_packets():
            collector.add(packet)
        events.extend(board.take_events())
        while done < collector.lines_done:
            done += 1
            on_line(done)

    try:
        while True:
            await board.sleep(line_s)
            before = done
            take()
            for line in range(before + 1, done + 1):
                action = after_line(line) if after_line is not None else None
                if action is not None:
                    await action
            if await board.scan_state() is ScanState.IDLE:
                break
            await board.check_live()
            if settings.waits_for and (await board.registers.read_raw("sync.late"))[0] != late:
                await board.stop_scan()
                names = " or ".join(str(mode.name).lower().replace("_", " ") for mode in settings.waits_for)
                raise InstrumentLate(
                    f"the scan waited for the {names} for more than {settings.wait_s:g} s and was stopped; is it connected?"
                )
    finally:
        # After a trip too: a line that was cut short is on its way. A link that broke has told its reason already.
        with contextlib.suppress(ConnectionFailed):
            await board.sleep(DRAIN_S)
            if SyncMode.EXTERNAL_SCAN in settings.waits_for:
                await board.registers.write_raw({"sync.external": 0})
        take()
    await board.check_live()
    if collector.lines_done < settings.lines and not collector.lost_packets:
        raise BoardTripped(f"the scan ended after {collector.lines_done} of {settings.lines} lines")
    return events


async def true_surface(board: AsyncController, settings: ScanSettings, line_time_s: Sequence[float] | Array) -> Array:
    """Twin only: the surface under each pixel at the time when its line was scanned, shape (lines, pixels)."""
    frame = settings.frame
    surface = np.full((settings.lines, settings.pixels), np.nan)
    middle_s = settings.pixels * settings.pixel_samples(board.calibration) * board.calibration.sample_period_s / 2
    for line, when in enumerate(line_time_s):
        if np.isfinite(when):
            places = frame.place_m(line, np.arange(settings.pixels))
            heights = await board.true_surface(places[:, 0].tolist(), places[:, 1].tolist(), float(when) + middle_s)
            surface[line] = np.frombuffer(heights, dtype="<f8")
    return surface


@contextlib.contextmanager
def progress(text: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error; call it with how many are done."""
    with tqdm(total=total, desc=text, unit="line", leave=False, disable=None) as bar:  # None: only on a terminal

        def update(done: int) -> None:
            bar.update(done - bar.n)

        yield update
