"""What the commands share: how they end, where their board is, where results go."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import click

from reflexarc.calibration import Calibration
from reflexarc.device import Controller
from reflexarc.device.launch import private_board
from reflexarc.errors import BadInput, BoardTripped, ReflexArcError
from reflexarc.safety.commissioning import CommissioningRecord, find_record
from reflexarc.safety.limits import Limits

USER_ERROR = 2
TRIPPED = 3
INTERRUPTED = 130  # as shells count SIGINT


class Program(click.Group):
    """A group that ends with one line and no traceback for everything that a user can mend."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
        except click.UsageError as error:
            where = f" (see: {error.ctx.command_path} --help)" if error.ctx else ""
            fail(f"{error.format_message()}{where}", USER_ERROR)
        except click.Abort:
            fail("interrupted", INTERRUPTED)
        except BoardTripped as error:
            fail(str(error), TRIPPED)
        except ReflexArcError as error:
            fail(str(error), USER_ERROR)
        sys.exit(code if isinstance(code, int) else 0)


def fail(line: str, code: int) -> NoReturn:
    click.echo(f"reflexarc: {line}", err=True)
    sys.exit(code)


def default_board() -> str:
    """Where a board listens unless told otherwise: ``REFLEXARC_BOARD`` or the user's runtime folder."""
    folder = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/reflexarc-{os.getuid()}"
    return os.environ.get("REFLEXARC_BOARD", f"{folder}/reflexarc.sock")


board_option = click.option(
    "--board", "address", default=default_board, show_default="$REFLEXARC_BOARD or the runtime folder", help="Socket of the board."
)
limits_option = click.option(
    "--limits", "limits_file", type=click.Path(path_type=Path), help="Limits file. [default: what the board holds, else the defaults]"
)
record_option = click.option(
    "--record", "record_file", type=click.Path(path_type=Path), help="Commissioning record. [default: the board's in ~/.config/reflexarc]"
)


@contextlib.contextmanager
def connected(address: str | None, arguments: list[str], lockstep: bool) -> Iterator[Controller]:
    """A controller on the named board, or on a private twin, which its own plant commissions."""
    with contextlib.ExitStack() as stack:
        own = address is None
        if address is None:
            address = stack.enter_context(private_board(*arguments, *(["--hold"] if lockstep else [])))
        board = stack.enter_context(Controller(address, lockstep=lockstep))
        if own:
            from reflexarc.experiments.commission import commission_twin

            commission_twin(board)
        yield board


def limits_for(board: Controller, path: Path | None) -> tuple[Limits, str]:
    """Limits of a file, else those that the board holds, else the defaults; and which."""
    if path is not None:
        from reflexarc.safety.limits_file import load_limits

        facts = board.run(board.device.board_facts())
        return load_limits(path, board.device.calibration, facts).limits, str(path)
    held = board.limits()
    return (held, "as the board holds them") if held is not None else (Limits(), "the defaults")


def check_limits_file(path: Path | None) -> Limits | None:
    """What can be told wrong without a board is told before one is looked for."""
    if path is None:
        return None
    from reflexarc.safety.limits_file import load_limits

    return load_limits(path, Calibration()).limits


def record_for(board: Controller, path: Path | None) -> CommissioningRecord | None:
    """The record at ``path``; None: the board's own or the user's, which arming looks for."""
    if path is None:
        return None
    return find_record(board.device.board_name, int(board.run(board.device.board_facts()).straps), path)


def output_folder(out: Path) -> Path:
    """``out/<time>``, made and writable; BadInput/StoreError otherwise."""
    from reflexarc.store import prepare_output_folder

    name = time.strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{n}" for n in range(2, 100))):
        folder = out / f"{name}{suffix}"
        if not folder.exists():
            return prepare_output_folder(folder)
    raise BadInput(f"{out} already holds 99 results of this second")


@contextlib.contextmanager
def discard_if_empty(folder: Path) -> Iterator[None]:
    """Leave no empty folder behind when nothing came of a job."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise
