"""Commissioning, and the report of a trip."""

from __future__ import annotations

import getpass
from pathlib import Path

import click

from reflexarc.cli.common import board_option, discard_if_empty, output_folder
from reflexarc.device import Controller
from reflexarc.safety.commissioning import NotCommissioned, record_path, save_record, set_aside


@click.command()
@board_option
@click.option("--record", "record_file", type=click.Path(path_type=Path), help="Where to. [default: the board's in ~/.config/reflexarc]")
@click.option("--operator", help="Who answers. [default: the user's name]")
def commission(address: str, record_file: Path | None, operator: str | None) -> None:
    """Walk through the test of retract direction, blanker and e-stop, and record it. Arming asks for the record.

    z is driven within 2 % of its range below the withdrawn rail. A twin answers for itself.
    """
    from reflexarc.experiments.commission import Question, TwinOperator
    from reflexarc.experiments.commission import commission as walk

    with Controller(address) as board:
        twin = TwinOperator(board) if board.device.is_twin else None

        def ask(question: Question) -> bool:
            if twin is None:
                return click.confirm(question.value)
            answer = twin(question)
            click.echo(f"{question.value} {'yes' if answer else 'NO'} ({twin.seen})")
            return answer

        path = record_file or record_path(board.device.board_name)
        try:
            record = walk(board, ask, operator or (twin.name if twin else _user()))
        except NotCommissioned as error:
            if error.void and (aside := set_aside(path)) is not None:
                click.echo(f"the older record no longer holds: moved to {aside}", err=True)
            raise
        save_record(record, path)
    click.echo(f"commissioned: record {record.number} in {path}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


@click.command()
@board_option
@click.option("--out", type=click.Path(path_type=Path), default=Path("out"), show_default=True, help="Folder for the results.")
def blackbox(address: str, out: Path) -> None:
    """Save what the recorder holds of the last trip: blackbox.h5, blackbox.png and blackbox.txt in OUT/<time>/.

    Can be repeated until the trip is acknowledged, also after a restart of the host.
    """
    from reflexarc.experiments.blackbox import read_blackbox_file, save_blackbox

    with Controller(address) as board:
        box = board.run(read_blackbox_file(board.device))
    folder = output_folder(out)
    with discard_if_empty(folder):
        text = save_blackbox(box, folder)
    click.echo(text)
    click.echo(f"written  {folder}/blackbox.h5, blackbox.png, blackbox.txt")
