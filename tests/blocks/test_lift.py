"""Second pass: what is kept, interpolation, the greatest step, and the cycles it takes."""

from support import run_block

from reflexarc_hw.blocks.lift import Lift
from reflexarc_hw.blocks.lift.lift import LIFT_CYCLES

LATENCY = 11  # tick to z; the feedback takes it in the cycle after this one


def test_lift():
    assert LIFT_CYCLES == LATENCY
    run_block(Lift(), "cocotb_lift", name="lift", lift_cycles=LATENCY)
