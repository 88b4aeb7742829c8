from reflexarc_hw.blocks.events.events import DETECTION, EMISSION, SCORED, Events
from reflexarc_hw.blocks.events.found import FOUND

__all__ = ["DETECTION", "EMISSION", "FOUND", "SCORED", "Events"]
