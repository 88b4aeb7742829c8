from reflexarc_hw.blocks.dose.dose import Dose

__all__ = ["Dose"]
