from reflexarc_hw.blocks.events.events import DETECTION, ThresholdEvents

__all__ = ["DETECTION", "ThresholdEvents"]
