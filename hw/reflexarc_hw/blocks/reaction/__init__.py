from reflexarc_hw.blocks.reaction.reaction import Reaction

__all__ = ["Reaction"]
