"""Queue of points: order, room, refusal, emptying."""

from support import run_block

from reflexarc_hw.blocks.trajectory import Trajectory

OFFER_CYCLES = 3  # push to the point's offer
CLEAR_CYCLES = 2  # clear to nothing being offered


def test_trajectory():
    run_block(Trajectory(), "cocotb_trajectory", name="trajectory", offer_cycles=OFFER_CYCLES, clear_cycles=CLEAR_CYCLES)
