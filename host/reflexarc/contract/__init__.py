"""The one contract: registers, link frames, events, capture packets.

Plain standard-library Python. Gateware, host accessors and the reference documentation derive from it.
"""
