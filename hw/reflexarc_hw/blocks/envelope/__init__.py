from reflexarc_hw.blocks.envelope.envelope import Envelope

__all__ = ["Envelope"]
