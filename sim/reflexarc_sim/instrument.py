"""The microscope that suits a specimen: which scanner it has, and how far its surface lies."""

from __future__ import annotations

from .plants.stm import StmParameters
from .plants.stm_parameters import DAC_V
from .specimens import Specimen

# Half ranges in metres of scanners as they are sold: an STM's tube, larger tubes, flexure stages.
XY_REACHES_M = (500e-9, 5e-6, 50e-6, 100e-6)
Z_REACHES_M = (100e-9, 1e-6, 10e-6)
SHARE = 0.8  # of z's half range that a specimen may fill
DEPTH = 0.3  # of it, by which the surface's middle lies below z's middle, where the converters stand at power-up
MARGIN = 0.05  # of it, by which the highest place does at least


def stm_for(specimen: Specimen) -> StmParameters:
    """The smallest scanner that reaches all of the specimen, whose surface lies where nothing touches it; else the defaults."""
    reach = max(specimen.size_x_m, specimen.size_y_m) / 2
    depth = float(abs(specimen.heights_m).max())
    xy = next((each for each in XY_REACHES_M if reach <= each * 1.005), XY_REACHES_M[-1])
    z = next((each for each in Z_REACHES_M if depth <= SHARE * each), Z_REACHES_M[-1])
    middle = min(-DEPTH * z, -MARGIN * z - float(specimen.heights_m.max()))
    return StmParameters(x_m_per_V=xy / DAC_V, y_m_per_V=xy / DAC_V, z_m_per_V=z / DAC_V, mean_height_m=middle)


def scanner_of(parameters: StmParameters) -> dict[str, float]:
    """What a host must know to count in metres."""
    return {"x_m_per_V": parameters.x_m_per_V, "y_m_per_V": parameters.y_m_per_V, "z_m_per_V": parameters.z_m_per_V}
