from reflexarc_hw.blocks.capture.capture import COUNTERS, Capture

__all__ = ["COUNTERS", "Capture"]
