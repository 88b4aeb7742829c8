"""Ready programs: trees to run as they are, to read and to change."""

from reflexarc.programs.library.exposure import expose_points
from reflexarc.programs.library.manipulation import pull_adatom, slide_adatom
from reflexarc.programs.library.spectroscopy import current_distance, current_voltage, spectroscopy_grid
from reflexarc.programs.library.tip import condition_tip, pulse_and_check
from reflexarc.programs.library.tracking import track_summit

__all__ = [
    "condition_tip", "current_distance", "current_voltage", "expose_points", "pull_adatom", "pulse_and_check", "slide_adatom",
    "spectroscopy_grid", "track_summit",
]  # fmt: skip
