"""Threshold events: exact hysteresis, detections to the cycle, records."""

from support import run_block

from reflexarc_hw.blocks.events import Events
from reflexarc_hw.blocks.events.events import BUFFER_WORDS
from reflexarc_hw.blocks.events.events import DETECTION_CYCLES as DECLARED
from reflexarc_hw.blocks.events.events import SCORE_CYCLES as SCORE_DECLARED

DETECTION_CYCLES = 4  # a pixel's last sample to the detection
SCORE_CYCLES = 2  # from there to the scored event


def test_events():
    assert (DECLARED, SCORE_DECLARED) == (DETECTION_CYCLES, SCORE_CYCLES)
    run_block(
        Events(),
        "cocotb_events",
        name="events",
        detection_cycles=DETECTION_CYCLES,
        score_cycles=SCORE_CYCLES,
        buffer_words=BUFFER_WORDS,
    )
