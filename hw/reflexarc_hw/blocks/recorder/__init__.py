from reflexarc_hw.blocks.recorder.recorder import Recorder

__all__ = ["Recorder"]
