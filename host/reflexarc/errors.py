"""Errors that a user sees: one line, what was wrong and what would be right."""


class ReflexArcError(Exception):
    """Base of all errors that the command line prints without a traceback."""


class ConnectionFailed(ReflexArcError):
    """No board, another client, a broken link, a contract that differs."""


class BadInput(ReflexArcError):
    """A value that can't be used; nothing reached the gateware."""


class RegisterRefused(ReflexArcError):
    """The board refused a register access: locked, out of range, not there."""


class PixelsLost(ReflexArcError):
    """The host or the link was too slow and the board dropped pixels, counted."""


class InstrumentLate(ReflexArcError):
    """A camera, a clock, a trigger or a column that the scan waits for did not come in time."""


class BoardTripped(ReflexArcError):
    """The interlock tripped while a job ran."""
