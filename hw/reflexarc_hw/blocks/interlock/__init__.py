from reflexarc_hw.blocks.interlock.interlock import GUARDED, JUDGES, REACTION, Interlock

__all__ = ["GUARDED", "JUDGES", "REACTION", "Interlock"]
