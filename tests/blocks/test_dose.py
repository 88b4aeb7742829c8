"""Dose of the beam, pulses and charge of the tip: counted from the outputs, to the unit."""

from support import run_block

from reflexarc_hw.blocks.dose import Dose


def test_dose():
    run_block(Dose(), "cocotb_dose", name="dose")


def test_guard():
    run_block(Dose(), "cocotb_guard", name="dose", block="dose")
