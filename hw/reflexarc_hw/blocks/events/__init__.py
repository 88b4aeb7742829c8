from reflexarc_hw.blocks.events.events import DETECTION, EMISSION, SCORED, ThresholdEvents

__all__ = ["DETECTION", "EMISSION", "SCORED", "ThresholdEvents"]
