from reflexarc_hw.blocks.sequencer.sequencer import Sequencer

__all__ = ["Sequencer"]
