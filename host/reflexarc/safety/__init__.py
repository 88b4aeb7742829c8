"""Limits, their file, and the record of the commissioning test."""

from reflexarc.safety.limits import BoardFacts, Fault, Limits, LimitsRefused, Reactions, Rectangle, SoftLimits

__all__ = ["BoardFacts", "Fault", "Limits", "LimitsRefused", "Reactions", "Rectangle", "SoftLimits"]
