"""Threshold events: exact hysteresis, detections to the cycle, records."""

from support import run_block

from reflexarc_hw.blocks.events import ThresholdEvents
from reflexarc_hw.blocks.events.events import BUFFER_WORDS
from reflexarc_hw.blocks.events.events import DETECTION_CYCLES as DECLARED

DETECTION_CYCLES = 4  # a pixel's last sample to the detection


def test_events():
    assert DECLARED == DETECTION_CYCLES
    run_block(ThresholdEvents(), "cocotb_events", name="events", detection_cycles=DETECTION_CYCLES, buffer_words=BUFFER_WORDS)
