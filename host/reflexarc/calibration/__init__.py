"""From physical units to codes and back."""

from reflexarc.calibration.calibration import Calibration, Preamp, PreampKind

__all__ = ["Calibration", "Preamp", "PreampKind"]
