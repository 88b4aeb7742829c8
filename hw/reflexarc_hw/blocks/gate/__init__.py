from reflexarc_hw.blocks.gate.gate import READBACK, Gate

__all__ = ["READBACK", "Gate"]
