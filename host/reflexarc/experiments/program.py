"""Run a compiled program on a board and gather what it says."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from reflexarc.contract.blocks.feedback import FeedbackMode
from reflexarc.contract.blocks.interlock import InterlockState
from reflexarc.contract.events import Event, EventSource
from reflexarc.contract.program import StopReason
from reflexarc.device.controller import AsyncController
from reflexarc.device.sequencer import load_rows, program_status, start_program, stop_program
from reflexarc.errors import BadInput, BoardTripped, ConnectionFailed, ReflexArcError
from reflexarc.programs.compile import Compiled

POLL_S = 1e-3  # board time between two looks at a program
DRAIN_S = 100e-6  # that the last records need to leave the board


@dataclass(frozen=True)
class Emission:
    """What `emit` sent: values in SI units, board time."""

    tag: str
    values: tuple[float, ...]
    time_s: float


@dataclass(frozen=True)
class ProgramRun:
    """How a program ended and what it said. ``lost``: records that the board had no room for."""

    reason: str
    emissions: tuple[Emission, ...]
    instructions: int
    time_s: float
    missed_events: int
    lost: int


class Emissions:
    """Records as they come, put together."""

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._tags = list(compiled.tags.items())
        self._parts: list[tuple[int, int]] = []
        self.found: list[Emission] = []

    def take(self, events: list[Event]) -> list[Emission]:
        """What is complete with ``events``. ReflexArcError for a record that this program can't have sent."""
        new: list[Emission] = []
        for event in events:
            if event.source != EventSource.PROGRAM:
                continue
            if event.class_id >= len(self._tags):
                raise ReflexArcError(f"a record of class {event.class_id} came; this program emits {len(self._tags)}")
            tag, kinds = self._tags[event.class_id]
            if event.model_id == 0:
                self._parts = []
            elif event.model_id != len(self._parts):
                continue  # a part before it was lost
            self._parts.append((event.score, event.x))
            if 2 * len(self._parts) >= len(kinds):
                raw = [value for part in self._parts for value in part][: len(kinds)]
                calibration = self._compiled.calibration
                values = tuple(kind.to_physical(calibration, value) for kind, value in zip(kinds, raw, strict=True))
                new.append(Emission(tag, values, calibration.seconds(event.time)))
                self._parts = []
        self.found += new
        return new


async def run_program(
    board: AsyncController, compiled: Compiled, on_emission: Callable[[Emission], None] = lambda emission: None
) -> ProgramRun:
    """Load and start it on an armed board, and wait for its end.

    BadInput for a program of another calibration, BoardTripped if the interlock trips meanwhile or the program itself comes too late. If this
    is interrupted the program is stopped. Feedback that was on is on again, however the program ended.
    """
    if compiled.calibration != board.calibration:
        raise BadInput("the program was compiled for another calibration; compile it for this board's")
    await board.check_live()
    (mode, lost) = await board.registers.read_raw("feedback.mode", "events.lost")
    board.take_events()
    begun = await board.time_cycles()
    collector = Emissions(compiled)

    def gather() -> None:
        for emission in collector.take(board.take_events()):
            on_emission(emission)

    await start_program(board.registers, await load_rows(board.registers, compiled.rows))
    try:
        while (status := await program_status(board.registers)).running:
            await board.sleep(POLL_S)
            gather()
    finally:
        with contextlib.suppress(ConnectionFailed):
            await stop_program(board.registers)
            if mode == FeedbackMode.ON and await board.state() is InterlockState.ARMED:
                await board.feedback_on()
    ended = await board.time_cycles()
    await board.sleep(DRAIN_S)
    gather()
    if status.reason is not StopReason.HALTED:
        await board.check_live()
        raise BoardTripped(f"the program ended in row {status.row}: {status.reason.name.lower().replace('_', ' ')}")
    (lost_now,) = await board.registers.read_raw("events.lost")
    return ProgramRun(
        compiled.reasons[status.halt],
        tuple(collector.found),
        status.instructions,
        board.calibration.seconds(ended - begun),
        status.missed,
        lost_now - lost,
    )
