"""The output gate: rounding, safe outputs from the first moment, withdrawal, DAC frames."""

import pytest
from support import run_block

from reflexarc_hw.blocks.gate import Gate


@pytest.mark.parametrize("cycles_per_sample", [16, 56])
def test_gate(cycles_per_sample):
    run_block(Gate(cycles_per_sample), "cocotb_gate", name=f"gate_{cycles_per_sample}", cycles_per_sample=cycles_per_sample)
