"""Detectors that run on the host, for models that the fabric has no room for: the same events, milliseconds later."""
