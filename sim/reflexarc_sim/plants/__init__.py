"""What the controller controls: microscopes, simulated sample by sample.

`stm*.py` are the STM: its parameters, its places in the shared arrays, its compiled step, and the object around them. What another
microscope has too is beside it, a module for each concern: `noise`, `flicker` (1/f noise), `scanner` (hysteresis, creep), `motion` (drift,
coarse motor), `tip`; each works on a block of an array, wherever that begins.
"""
