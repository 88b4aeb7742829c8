"""Raster and moves against the naive model, tick by tick."""

from support import run_block

from reflexarc_hw.blocks.scan import Scan


def test_scan():
    run_block(Scan(), "cocotb_scan", name="scan")
