"""Rasters, lists and moves against the naive model, tick by tick; and with the blocks that pace them."""

from scan_path import ScanPath
from support import run_block

from reflexarc_hw.blocks.scan import Scan
from reflexarc_hw.blocks.scan.scan import MARKER_DELAY_SAMPLES as DECLARED_DELAY
from reflexarc_hw.blocks.scan.scan import TICK_CYCLES_MIN as DECLARED_MIN

TICK_CYCLES_MIN = 11  # from one tick to the next
PLACE_CYCLES = 4  # tick to x, y, z and overflow
MARKER_DELAY_SAMPLES = 2


def test_scan():
    assert (DECLARED_MIN, DECLARED_DELAY) == (TICK_CYCLES_MIN, MARKER_DELAY_SAMPLES)
    run_block(
        Scan(), "cocotb_scan", name="scan",
        tick_cycles_min=TICK_CYCLES_MIN, place_cycles=PLACE_CYCLES, marker_delay_samples=MARKER_DELAY_SAMPLES,
    )  # fmt: skip


def test_scan_path():
    run_block(ScanPath(), "cocotb_scan_path", name="scan_path")
