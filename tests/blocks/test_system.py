# amaranth: UnusedElaboratable=no
"""Time base: conversions, frames, lost samples, 64-bit time."""

import pytest
from support import run_block

from reflexarc_hw.blocks.system import System


@pytest.mark.parametrize(("cycles_per_sample", "channels"), [(16, 2), (56, 2), (16, 1)])
def test_system(cycles_per_sample, channels):
    component = System(cycles_per_sample, 560_000, 0x1234_5678, channels)
    name = f"system_{cycles_per_sample}_{channels}"
    run_block(component, "cocotb_system", name=name, cycles_per_sample=cycles_per_sample, channels=channels)


@pytest.mark.parametrize("cycles_per_sample", [1, 15])
def test_too_few_cycles_a_sample_are_refused(cycles_per_sample):
    with pytest.raises(ValueError, match=f"{cycles_per_sample} cycles a sample.*at least 16"):
        System(cycles_per_sample, 560_000, 0)
