from reflexarc_hw.blocks.capture.capture import PIXEL, Capture

__all__ = ["PIXEL", "Capture"]
