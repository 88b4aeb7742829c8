"""The interlock: each condition to the cycle, the self-test, the latch, the lifecycle, and long random runs."""

import pytest
from support import run_block

from reflexarc.contract.blocks.interlock import Strap
from reflexarc_hw.blocks.interlock import Interlock
from reflexarc_hw.blocks.interlock.lifecycle import Lifecycle
from reflexarc_hw.platforms.board import FULL

# A beam: no tip, no motor, one converter that can't be read back.
BEAM = Strap.BLANK_ACTIVE_HIGH | Strap.ESTOP_NORMALLY_CLOSED


def test_lifecycle():
    run_block(Lifecycle(), "cocotb_lifecycle", name="lifecycle")


@pytest.mark.parametrize(("name", "straps", "cycles_per_sample"), [("full", FULL.straps, 16), ("beam", BEAM, 56)])
def test_interlock(name, straps, cycles_per_sample):
    component = Interlock(cycles_per_sample, straps)
    run_block(component, "cocotb_interlock", name=f"interlock_{name}", straps=int(straps), cycles_per_sample=cycles_per_sample)
