from reflexarc_hw.blocks.gate.gate import LINES, READBACK, Gate

__all__ = ["LINES", "READBACK", "Gate"]
