"""The one error of the store."""

from __future__ import annotations

import os

from reflexarc.errors import ReflexArcError


class StoreError(ReflexArcError):
    """Something on the disk is not as it must be; the message is one line, fit to be shown to the user as it is."""


def one_line(error: BaseException) -> str:
    """The gist of an error of HDF5 or the operating system in one line (HDF5 puts time stamps and buffer addresses in its messages)."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)  # h5py puts its whole message into error.strerror
    text = " ".join(str(error).split())
    _, found, rest = text.partition("error message = '")
    if found:
        return rest.partition("'")[0]
    return text[:200] or type(error).__name__
