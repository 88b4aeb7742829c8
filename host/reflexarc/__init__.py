"""ReflexArc: a real-time controller for scanning probe and scanning electron microscopes."""

__version__ = "0.1.0"
