from reflexarc_hw.blocks.system.system import System

__all__ = ["System"]
