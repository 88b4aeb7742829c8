"""Look at a board, arm it, trip it, acknowledge."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

import click

from reflexarc.cli.common import TRIPPED, board_option, check_limits_file, limits_for, limits_option, record_for, record_option
from reflexarc.device import Controller
from reflexarc.device.transport import trip_board


@click.command()
@board_option
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def status(address: str, as_json: bool) -> None:
    """What the board does now: interlock, scan, outputs, last trip."""
    with Controller(address) as board:
        entries = board.blackbox()  # first: it waits until the recorder has all
        found = board.status()
        found["blackbox_entries"] = len(entries) if found["interlock"] == "tripped" else 0
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        click.echo(f"{name:18} {value:.6g}" if isinstance(value, float) else f"{name:18} {value}")


@click.command()
@board_option
@limits_option
@record_option
def arm(address: str, limits_file: Path | None, record_file: Path | None) -> None:
    """Arm, and keep the heartbeat going until Ctrl-C, which disarms (the tip withdraws).

    Limits are those of the file, else what 'reflexarc limits set' wrote, else the defaults.
    """
    check_limits_file(limits_file)
    with Controller(address) as board:
        for number in (signal.SIGINT, signal.SIGTERM):  # an end that is asked for disarms, also where a script's shell has SIGINT ignored
            signal.signal(number, signal.default_int_handler)
        try:
            limits, origin = limits_for(board, limits_file)
            if board.status()["interlock"] == "disarmed":  # else arming says what is in the way
                board.set_limits(limits)
            board.arm(record_for(board, record_file))
            click.echo(f"armed; limits: {origin}. Ctrl-C disarms and withdraws. Without this heartbeat the interlock trips by itself.")
            while board.status()["interlock"] == "armed":
                time.sleep(0.2)
        except KeyboardInterrupt:
            board.disarm()
            click.echo("disarmed")
            return
        click.echo(f"tripped: {board.last_trip()}", err=True)
    sys.exit(TRIPPED)


@click.command()
@board_option
def trip(address: str) -> None:
    """Trip the interlock now, whoever uses the board: outputs go safe and the tip withdraws."""
    click.echo(asyncio.run(trip_board(address)))


@click.command()
@board_option
def ack(address: str) -> None:
    """Acknowledge a trip. Refused while its cause persists. Read the black box first: from then on it records anew."""
    with Controller(address) as board:
        found = board.last_trip()
        board.acknowledge()
    click.echo(f"acknowledged: {found}")
