"""Surfaces to scan: generated ones, NumPy arrays and Nanonis scans."""

from .load import load
from .specimen import Feature, Specimen, SpecimenError

__all__ = ["Feature", "Specimen", "SpecimenError", "load"]
