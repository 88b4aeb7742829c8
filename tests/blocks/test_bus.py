"""The register bus: a bank with a register of each kind, and the fabric between masters and banks."""

import pytest
from example_block import BLOCK
from faulty_bank import OneFaultyBank
from support import run_block

from reflexarc_hw.lib.bus import Fabric, RegisterBank


def test_register_bank():
    run_block(RegisterBank(BLOCK), "cocotb_bank", name="register_bank")


def test_parity_of_locked_registers():
    run_block(OneFaultyBank(BLOCK), "cocotb_faulty_bank", name="faulty_bank")


@pytest.mark.parametrize("masters", [2, 3])
def test_fabric(masters):
    bases = (0x0000, 0x0300, 0x1200)
    run_block(Fabric(masters, bases), "cocotb_fabric", name=f"fabric_{masters}", masters=masters, bases=bases)
