"""How the plants' functions are compiled."""

from __future__ import annotations

import functools

import numba

# Inlined without exception: an array is seven words to a call, and left to itself LLVM calls some twenty functions a sample, which made the
# step three times as long (110 instead of 38 ns without noise).
shared = functools.partial(numba.njit, error_model="numpy", forceinline=True)
"""For what Python calls too."""

inner = functools.partial(shared, no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""For what only compiled code calls: without the wrappers for Python, the step compiles in four fifths of the time."""
