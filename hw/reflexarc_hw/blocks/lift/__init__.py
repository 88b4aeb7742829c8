"""Second pass over a line."""

from reflexarc_hw.blocks.lift.lift import Lift as Lift
