"""Text files that a user names: read whole, or refused in one line."""

from __future__ import annotations

from pathlib import Path

from reflexarc.errors import BadInput


class NotText(BadInput):
    """A file whose ``line``, from 1, is not UTF-8."""

    def __init__(self, said: str, line: int) -> None:
        self.line = line
        super().__init__(f"{said}, line {line}: not UTF-8")


def read_text(path: Path, said: str, kind: str, noun: str, most: int) -> str:
    """Its text, without a byte-order mark.

    BadInput, which begins with ``said``, for what can't be read, a pipe (accepted: an ordinary ``kind`` file) and more than ``most`` bytes
    (which is no ``noun``); NotText for what is not UTF-8.
    """
    try:
        if path.is_fifo():  # opening it could wait for ever
            raise BadInput(f"{said}: is a pipe; accepted: an ordinary {kind} file")
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise BadInput(f"{said}: {error.strerror or error}") from None
    if len(data) > most:
        raise BadInput(f"{said}: longer than {most} bytes, so it is no {noun}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotText(said, data[: error.start].count(b"\n") + 1) from None
