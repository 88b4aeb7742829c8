"""What the scan is to do: frames, rasters, point lists, as the registers take them."""

from reflexarc.scans.frame import Frame
from reflexarc.scans.points import PointList, Travel, lissajous, scattered, sparse, spiral
from reflexarc.scans.raster import SAMPLES_MAX, Mode, Raster, RasterPlan, plan_raster, standing_still

__all__ = [
    "SAMPLES_MAX",
    "Frame",
    "Mode",
    "PointList",
    "Raster",
    "RasterPlan",
    "Travel",
    "lissajous",
    "plan_raster",
    "scattered",
    "sparse",
    "spiral",
    "standing_still",
]
