"""Sync: lines to and from other instruments that pace the scan or are paced by it."""

import enum

from reflexarc.contract.registers import Access, Block, Register


class SyncMode(enum.IntFlag):
    CAMERA = 1  # a pixel lasts until the camera, triggered at its first sample, was busy and is ready again
    PIXEL_CLOCK = 2  # a pixel lasts until a rising edge of the pixel clock
    LINE_TRIGGER = 4  # a line waits for a rising edge of the line trigger
    EXTERNAL_SCAN = 8  # a scan waits until the column says that its scan inputs are ours


class SyncLine(enum.IntFlag):
    """Input lines, after their synchronisers."""

    CAMERA_READY = 1
    PIXEL_CLOCK = 2
    LINE_TRIGGER = 4
    EXTERNAL_SCAN = 8


BLOCK = Block(
    "sync",
    0xD00,
    "Cameras, spectrometers, mains, external scan: lines that the scan waits for, with a time-out.",
    (
        Register("mode", 0x00, Access.RW, "What pixels, lines and scans wait for.", width=4, values=SyncMode),
        Register("external", 0x04, Access.RW, "1 asks the column for its scan inputs (relay).", width=1),
        Register("wait_samples", 0x08, Access.RW, "Samples after which a wait is late; 0: never.", width=24, unit="samples"),
        Register("pulse_cycles", 0x0C, Access.RW, "Length of a pulse on the pixel line.", width=16, reset=10, minimum=1, unit="cycles"),
        Register("lines", 0x10, Access.RO, "Present levels of the input lines.", width=4, values=SyncLine),
        Register("late", 0x14, Access.RO, "Waits that were late since reset."),
        Register("missed", 0x18, Access.RO, "Edges of the pixel clock that came to a pixel that had one already, since reset."),
    ),
)  # fmt: skip
