from reflexarc_hw.blocks.correlator.correlator import Correlator

__all__ = ["Correlator"]
