"""ReflexArc gateware, in Amaranth."""
