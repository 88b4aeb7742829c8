"""Sequencer: runs programs."""

import enum
from collections.abc import Iterable

from reflexarc.contract.program import BANK_ROWS, BANKS, Row, StopReason
from reflexarc.contract.registers import Access, Block, Register


class SequencerCommand(enum.IntEnum):
    START = 1  # the program of `bank`, from its first row, all registers 0; ignored unless idle and armed
    STOP = 2  # what it asked for ends


# Blocks that no program writes: what watches over it, and itself.
PROTECTED = ("interlock", "signals", "envelope", "dose", "recorder", "system", "sequencer")

BLOCK = Block(
    "sequencer",
    0x1000,
    "Runs programs: one row an instruction, see the instruction set. Rows go to the bank that does not run.",
    (
        Register("command", 0x00, Access.WO, "Start or stop.", width=2, values=SequencerCommand),
        Register("bank", 0x04, Access.RW, "Bank that START runs.", width=1),
        Register("running", 0x08, Access.RO, "1 while a program runs.", width=1),
        Register("reason", 0x0C, Access.RO, "Why the last program ended.", width=3, values=StopReason),
        Register("halt", 0x10, Access.RO, "Value of the HALT that ended the last program."),
        Register("row", 0x14, Access.RO, "Row that is under way or was the last.", width=9),
        Register("instructions", 0x18, Access.RO, "Instructions done since the last start.", unit="instructions"),
        Register("clock", 0x1C, Access.RO, "Cycles since MARK or the start.", unit="cycles"),
        Register("load_row", 0x20, Access.WO, "Where the next row goes: bank * 512 + row; moves on with each.", width=10, maximum=BANKS * BANK_ROWS - 1),
        Register("load_value", 0x24, Access.RW, "The value of the next row."),
        Register("load_control", 0x28, Access.WO, "The control word: enters the row at load_row. Refused for the bank that runs."),
        Register("load_refused", 0x2C, Access.RO, "Rows that were refused since reset.", unit="rows"),
        Register("longest_pause", 0x30, Access.RO, "Longest time that programs kept the scan waiting since reset.", unit="cycles"),
        Register("emitted", 0x34, Access.RO, "Records that programs emitted since reset.", unit="records"),
        Register("missed", 0x38, Access.RO, "Events that came while one was still to be taken, since the last start.", unit="events"),
    ),
)  # fmt: skip


def load_writes(rows: Iterable[Row], bank: int) -> list[tuple[str, int]]:
    """Registers and raw values that bring ``rows`` into a bank, in their order."""
    writes = [("load_row", bank * BANK_ROWS)]
    for row in rows:
        value, control = row.words()
        writes += [("load_value", value), ("load_control", control)]
    return writes
