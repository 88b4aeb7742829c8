from reflexarc_hw.formal.proof import Mutation, Proof

__all__ = ["Mutation", "Proof"]
