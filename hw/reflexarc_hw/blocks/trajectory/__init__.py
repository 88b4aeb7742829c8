"""Queue of points for the scan."""

from reflexarc_hw.blocks.trajectory.trajectory import Trajectory as Trajectory
