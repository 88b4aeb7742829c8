"""Distance feedback: logarithm, PI with its limits, hold, and the cycles it takes."""

import math

import naive_feedback
from support import run_block

from reflexarc_hw.blocks.feedback import Feedback, log2_table
from reflexarc_hw.blocks.feedback.feedback import Z_CYCLES

ERROR_CYCLES = 7  # sample valid to the error
LATENCY = 12  # sample valid to z; the gate adds 2, and 14 are allowed
# Bound of the logarithm in 2**-12: rounding down takes less than 1; a value of the table is off by up to 1/32; a chord of length 2**-8 lies
# below the curve by up to 2**-16 / (8 ln 2), 0.012.
BELOW, ABOVE = 1 + 1 / 32 + 0.012, 1 / 32


def test_feedback():
    assert Z_CYCLES == LATENCY
    run_block(Feedback(), "cocotb_feedback", name="feedback", z_cycles=LATENCY, error_cycles=ERROR_CYCLES, sample_cycles_min=12)


def test_table_is_that_of_the_naive_model():
    table = naive_feedback.TABLE
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
