from reflexarc_hw.blocks.interlock.interlock import Interlock

__all__ = ["Interlock"]
