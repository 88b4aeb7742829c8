from reflexarc_hw.blocks.detector.engine import Engine

__all__ = ["Engine"]
