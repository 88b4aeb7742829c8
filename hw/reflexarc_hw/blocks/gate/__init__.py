from reflexarc_hw.blocks.gate.gate import OUTPUTS, Gate

__all__ = ["OUTPUTS", "Gate"]
