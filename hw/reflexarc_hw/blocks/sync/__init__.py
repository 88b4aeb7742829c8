"""Lines to and from other instruments."""

from reflexarc_hw.blocks.sync.sync import LINES as LINES
from reflexarc_hw.blocks.sync.sync import Sync as Sync
