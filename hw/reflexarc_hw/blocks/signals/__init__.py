from reflexarc_hw.blocks.signals.signals import Signals

__all__ = ["Signals"]
