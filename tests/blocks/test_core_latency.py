"""Latencies of the whole core, end to end, as exact numbers of its cycles at both rates."""

from dataclasses import replace

import pytest
from support import UNOPTIMISED, run_block

from reflexarc_hw.core import Core
from reflexarc_hw.platforms.board import FULL
from reflexarc_hw.platforms.timing import COMPRESSED, TRUE_RATE

NO_ENGINE = replace(FULL, lanes=0)  # which takes long to compile and has no part in these ways

ADC_TO_VALID_CYCLES = 1  # the converter's word is registered once; from there on it is "the sample"
TRIP_CYCLES = 2  # sample to safe outputs at the gate
LOST_CYCLES = 3  # a conversion that finds no sample of the one before, to safe outputs at the gate
XY_CYCLES = 11
Z_CYCLES = 14  # sample to z at the gate, with logarithm or without
EVENT_CYCLES = 11  # last sample of a pixel to the bias at the gate
BIAS_CYCLES = 7  # of which from the detection on
PROGRAM_CYCLES = 20  # the same by a program that looks at class, score, x and y: 16 from the detection on


@pytest.mark.parametrize("rate", [COMPRESSED, TRUE_RATE], ids=lambda rate: rate.name)
def test_core_latency(rate):
    assert Z_CYCLES <= 14 and EVENT_CYCLES <= PROGRAM_CYCLES <= 20, "what the design allows"
    run_block(
        Core(rate, NO_ENGINE), "cocotb_core_latency", name=f"core_{rate.name}", make_variables=UNOPTIMISED, cycles_per_sample=rate.cycles_per_sample,
        adc_cycles=rate.adc_cycles, adc_to_valid_cycles=ADC_TO_VALID_CYCLES, dac_cycles=rate.dac_cycles, trip_cycles=TRIP_CYCLES,
        lost_cycles=LOST_CYCLES, xy_cycles=XY_CYCLES, z_cycles=Z_CYCLES, event_cycles=EVENT_CYCLES, bias_cycles=BIAS_CYCLES,
        program_cycles=PROGRAM_CYCLES,
    )  # fmt: skip
