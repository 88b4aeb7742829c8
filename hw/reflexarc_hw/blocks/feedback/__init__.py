from reflexarc_hw.blocks.feedback.feedback import Feedback
from reflexarc_hw.blocks.feedback.table import log2_table

__all__ = ["Feedback", "log2_table"]
