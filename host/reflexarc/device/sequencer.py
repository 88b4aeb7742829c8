"""Programs on the board: load, start, stop, look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reflexarc.contract.blocks.sequencer import SequencerCommand, load_writes
from reflexarc.contract.program import BANK_ROWS, Row, StopReason
from reflexarc.device.registers import Registers
from reflexarc.errors import BadInput, RegisterRefused


@dataclass(frozen=True)
class ProgramStatus:
    """Of the program that runs, or of the last one."""

    running: bool
    reason: StopReason
    halt: int  # value of the HALT that ended it
    row: int
    instructions: int
    missed: int  # events that came while one was still to be taken


async def load_rows(registers: Registers, rows: Sequence[Row]) -> int:
    """Into the bank that does not run; the bank. BadInput for more rows than it has, RegisterRefused if the board takes not all of them."""
    if not 0 < len(rows) <= BANK_ROWS:
        raise BadInput(f"a program of {len(rows)} rows does not fit; accepted: 1 to {BANK_ROWS}")
    running, bank, refused = await registers.read_raw("sequencer.running", "sequencer.bank", "sequencer.load_refused")
    free = 1 - bank if running else bank
    await registers.write_each([(f"sequencer.{name}", raw) for name, raw in load_writes(rows, free)])
    (after,) = await registers.read_raw("sequencer.load_refused")
    if after != refused:
        raise RegisterRefused(f"the board refused {after - refused} of {len(rows)} rows: their bank runs")
    return free


async def start_program(registers: Registers, bank: int) -> None:
    """RegisterRefused while another one runs."""
    (running,) = await registers.read_raw("sequencer.running")
    if running:
        raise RegisterRefused("a program runs already; stop it first")
    await registers.write_raw({"sequencer.bank": bank, "sequencer.command": SequencerCommand.START})


async def stop_program(registers: Registers) -> None:
    """What it asked for ends."""
    await registers.write_raw({"sequencer.command": SequencerCommand.STOP})


async def program_status(registers: Registers) -> ProgramStatus:
    names = ("running", "reason", "halt", "row", "instructions", "missed")
    running, reason, halt, row, instructions, missed = await registers.read_raw(*(f"sequencer.{name}" for name in names))
    return ProgramStatus(bool(running), StopReason(reason), halt, row, instructions, missed)
