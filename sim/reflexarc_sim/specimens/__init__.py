"""Surfaces to scan: generated ones, arrays, images, and the files of microscopes."""

from .load import load
from .specimen import Feature, Specimen, SpecimenError

__all__ = ["Feature", "Specimen", "SpecimenError", "load"]
