"""Rates: how many cycles a sample has, and how long it is."""

from dataclasses import dataclass

from reflexarc_hw.blocks.system.system import CYCLES_PER_SAMPLE_MIN, FRAME_PHASE, LATEST_SAMPLE_PHASE_FROM_END

SAMPLE_PERIOD_PS = 560_000  # 56 cycles of 10 ns: AD4020, at most 1.8 MS/s (datasheet rev. B, table 2: cycle time 555 ns)


@dataclass(frozen=True)
class Rate:
    """``cycles_per_sample`` of the ``sync`` clock take ``sample_period_ps`` of the instrument's time.

    ``adc_cycles``: from convert to the converter's word at the core, whose register makes it a sample one cycle later. ``dac_cycles``:
    from dac_load to the converter's new output.
    """

    name: str
    cycles_per_sample: int
    sample_period_ps: int
    adc_cycles: int
    dac_cycles: int

    def __post_init__(self) -> None:
        n = self.cycles_per_sample
        if n < CYCLES_PER_SAMPLE_MIN:
            raise ValueError(f"rate {self.name!r}: {n} cycles a sample, at least {CYCLES_PER_SAMPLE_MIN} are needed")
        # Sample by sample, a compressed build equals the true one if a sample comes in the same place before its period's end and a frame's
        # output changes before the same conversion: the second after the period of a regular frame, the third after that of a trip.
        # And a regular frame must be through before a trip in its second period aborts it, as it is at the true rate.
        if self.adc_cycles + 1 != n - LATEST_SAMPLE_PHASE_FROM_END:
            raise ValueError(f"rate {self.name!r}: the sample must come {LATEST_SAMPLE_PHASE_FROM_END} cycles before its period ends")
        regular = FRAME_PHASE + self.dac_cycles
        trip = n - LATEST_SAMPLE_PHASE_FROM_END + 2 + self.dac_cycles
        if not n < regular <= 2 * n - LATEST_SAMPLE_PHASE_FROM_END + 2 or not 2 * n < trip <= 3 * n:
            raise ValueError(
                f"rate {self.name!r}: a DAC output must change in the second period after its frame and the third after a trip"
            )


# AD4020 rev. B: conversion at most 325 ns (table 2), then 20 bits at 100 MHz SCK less what overlaps: there 520 ns after CNV.
# AD5791 rev. E: 24 SCLK of 30 ns (t1 at least 28 ns, table 4, IOVCC from 3.3 V), SYNC setup and high 60 ns, t14 130 ns to the output.
TRUE_RATE = Rate("true", 56, SAMPLE_PERIOD_PS, adc_cycles=52, dac_cycles=91)
COMPRESSED = Rate("compressed", 16, SAMPLE_PERIOD_PS, adc_cycles=12, dac_cycles=19)
RATES = {rate.name: rate for rate in (TRUE_RATE, COMPRESSED)}
