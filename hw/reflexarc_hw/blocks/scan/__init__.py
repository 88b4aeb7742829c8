from reflexarc_hw.blocks.scan.scan import Scan

__all__ = ["Scan"]
