"""Detector: runs a quantized network on what the scan brings, and makes events of what it sees."""

import enum

from reflexarc.contract.registers import Access, Block, Register


class BankState(enum.IntEnum):
    EMPTY = 0
    LOADING = 1
    VALID = 2
    BAD_FORMAT = 3  # no image, one for other lanes, or a segment that reaches past its memory; or it was left unfinished
    BAD_CRC = 4


class SwapAt(enum.IntEnum):
    LINE = 0  # at the next line's start, or at once where none is under way
    FRAME = 1


class Fault(enum.IntFlag):
    """Why evaluations are missing."""

    BUSY = 1  # an evaluation was due while another one was under way
    VALUES = 2  # a pixel, sample or push came before the one before it was taken in
    LINES = 4  # the view's lines are too long for the memory


BLOCK = Block(
    "detector",
    0x1100,
    "A network of int8 layers on the pixel stream: two banks, one of which is loaded while the other runs.",
    (
        Register("lanes", 0x00, Access.RO, "Values that enter at once; products a cycle are 16 times as many. 0: there is no engine.", width=8),
        Register("load", 0x04, Access.WO, "Begin to load this bank, which must not be the active one; it is empty from now on.", width=1),
        Register("load_data", 0x08, Access.WO, "Next word of the image."),
        Register("load_end", 0x0C, Access.WO, "1: an image that is not whole by now is a bad one.", width=1),
        Register("state_0", 0x10, Access.RO, "Bank 0.", width=3, values=BankState),
        Register("state_1", 0x14, Access.RO, "Bank 1.", width=3, values=BankState),
        Register("activate", 0x18, Access.WO, "Change to this bank, if it is valid, at the next boundary.", width=1),
        Register("swap_at", 0x1C, Access.RW, "Which boundary.", width=1, values=SwapAt),
        Register("enable", 0x20, Access.RW, "1: evaluate the active bank.", width=1),
        Register("active", 0x24, Access.RO, "Bit 0: the active bank. Bit 1: it is valid. Bit 2: a change is due.", width=3),
        Register("model_id", 0x28, Access.RO, "Model of the active bank.", width=16),
        Register("refused", 0x2C, Access.RO, "Loads and activations that were refused since reset.", unit="commands"),
        Register("radius", 0x30, Access.RW, "No second event so many pixels and lines around one; 0: each evaluation may make one.", width=6),
        Register("offset_x", 0x34, Access.RW, "From the newest pixel to an event's place.", signed=True, unit="m", quantity="x", scale=2**-12),
        Register("offset_y", 0x38, Access.RW, "Likewise.", signed=True, unit="m", quantity="y", scale=2**-12),
        Register("push", 0x3C, Access.WO, "Value of the next channel of a program's record, Q20.12.", signed=True),
        Register("restart", 0x40, Access.WO, "1: the records of a program begin anew.", width=1),
        Register("faults", 0x44, Access.W1C, "Why evaluations are missing.", width=3, values=Fault),
        Register("strict", 0x48, Access.RW, "1: a missing evaluation is an underflow, which trips where that is enabled.", width=1),
        Register("evaluations", 0x4C, Access.RO, "Since reset.", unit="evaluations"),
        Register("missed", 0x50, Access.RO, "Evaluations that were due and not done, since reset.", unit="evaluations"),
        Register("events", 0x54, Access.RO, "Since reset.", unit="events"),
        Register("suppressed", 0x58, Access.RO, "Events that were left out since another one was near.", unit="events"),
        Register("disagreements", 0x5C, Access.RO, "Evaluations in which members of an ensemble did not agree.", unit="evaluations"),
        Register("cycles", 0x60, Access.RO, "Of the last evaluation, from its last input to its verdict.", width=20, unit="cycles"),
        Register("result", 0x64, Access.RO, "Last verdict: class in bits 0 to 7, margin in 8 to 16, bit 17: members do not agree.", width=18),
        Register("output_select", 0x68, Access.RW, "Which output of the last layer is read below.", width=6),
        Register("output", 0x6C, Access.RO, "Value of that output in the last evaluation.", width=8, signed=True),
    ),
)  # fmt: skip
