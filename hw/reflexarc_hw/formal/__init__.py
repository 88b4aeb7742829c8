from reflexarc_hw.formal.free import parts_are_free
from reflexarc_hw.formal.proof import Mutation, Proof

__all__ = ["Mutation", "Proof", "parts_are_free"]
