"""Detectors that run on the host, for models that the fabric has no room for: the same events, milliseconds later."""

from reflexarc.edge.detector import EdgeDetector, stored_detector

__all__ = ["EdgeDetector", "stored_detector"]
