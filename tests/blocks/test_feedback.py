"""The two controllers: linearizers, PI with its limits, hold, displacement and excitation, and the cycles it takes."""

import math

import naive_feedback
import pytest
from support import run_block

from reflexarc.contract.blocks.feedback import BIAS_BLOCK, BLOCK
from reflexarc.contract.blocks.gate import CODE_MAX
from reflexarc_hw.blocks.feedback import Feedback, log2_table
from reflexarc_hw.blocks.feedback.feedback import OUTPUT_CYCLES

ERROR_CYCLES = 7  # sample valid to the error
LATENCY = 12  # sample valid to the output; the gate adds 2 for z, and 14 are allowed
# Bound of the logarithm in 2**-12: rounding down takes less than 1; a value of the table is off by up to 1/32; a chord of length 2**-8 lies
# below the curve by up to 2**-16 / (8 ln 2), 0.012.
BELOW, ABOVE = 1 + 1 / 32 + 0.012, 1 / 32
# Of the second one: what it has of its own, and a random run.
OF_BIAS = [
    "random_samples_every_16_cycles_equal_the_model",
    "off_gives_the_output_to_what_is_driven_and_takes_it_back_without_a_bump",
    "losing_live_in_any_cycle_of_a_sample_gives_the_output_to_the_gate",
    "at_reset_the_gates_safe_value_stands",
]


@pytest.mark.parametrize(("block", "rest", "testcase"), [(BLOCK, CODE_MAX, None), (BIAS_BLOCK, 0, OF_BIAS)], ids=("z", "bias"))
def test_feedback(block, rest, testcase):
    assert OUTPUT_CYCLES == LATENCY
    run_block(
        Feedback(block, rest), "cocotb_feedback", name=block.name, testcase=testcase, block=block.name, rest=rest, output_cycles=LATENCY,
        error_cycles=ERROR_CYCLES, sample_cycles_min=12,
    )  # fmt: skip


def test_table_is_that_of_the_naive_model():
    table = naive_feedback.LOG2
    assert log2_table() == [(table[index], table[index + 1] - table[index]) for index in range(256)]


def test_logarithm_is_within_its_bound_for_every_code():
    for code in range(1, 1 << 19):
        deviation = naive_feedback.log2(code) - 4096 * math.log2(code)
        assert -BELOW <= deviation <= ABOVE, f"code {code}: off by {deviation} / 4096"
    for code in range(0, 1 << 19, 97):
        assert naive_feedback.log2(-1 - code) == naive_feedback.log2(code)
    assert naive_feedback.log2(0) == naive_feedback.log2(-1) == 0


def test_logarithm_never_falls():
    values = [naive_feedback.log2(code) for code in range(1 << 19)]
    assert all(low <= high for low, high in zip(values, values[1:], strict=False))
