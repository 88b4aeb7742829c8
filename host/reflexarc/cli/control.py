"""`tune` and `bode`: the feedback as a control loop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from reflexarc.calibration import Calibration
from reflexarc.cli.common import connected, discard_if_empty, limits_for, limits_option, output_folder, record_for, record_option
from reflexarc.cli.own_twin import board_arguments, twin_options
from reflexarc.experiments.settings import ScanSettings

DEFAULTS = ScanSettings()


def loop_options(function: Any) -> Any:
    """What both commands share."""
    options = [
        click.option("--board", "address", help="Socket of a running board. [default: a twin of its own]"),
        click.option("--setpoint", type=float, metavar="A", default=DEFAULTS.setpoint_A, show_default=True, help="Current to hold."),
        click.option("--bias", type=float, metavar="V", default=DEFAULTS.bias_V, show_default=True, help="Bias in volts."),
        click.option("--amplitude", type=float, metavar="M", default=10e-12, show_default=True, help="By which z moves, to both sides."),
        click.option("--out", type=click.Path(path_type=Path), default=Path("out"), show_default=True, help="Folder for the results."),
        click.option("--json", "as_json", is_flag=True, help="As JSON."),
        limits_option,
        record_option,
    ]
    for option in reversed(options):
        function = option(function)
    return twin_options(function)


def _run(options: dict[str, Any], change: bool) -> None:
    from reflexarc.experiments.loop_job import check_amplitude, loop_job

    settings = ScanSettings(setpoint_A=options["setpoint"], bias_V=options["bias"], bandwidth_Hz=300.0)
    check_amplitude(options["amplitude"])
    settings.check(Calibration(), with_limits=False)
    folder = output_folder(options["out"])
    address = options["address"]
    with discard_if_empty(folder), connected(address, board_arguments(options), lockstep=address is None) as board:
        limits = limits_for(board, options["limits_file"])[0]
        record = record_for(board, options["record_file"])
        report = board.run(loop_job(board.device, settings, limits, record, options["amplitude"], folder, change))
    if options["as_json"]:
        click.echo(json.dumps(report, indent=2))
        return
    for name, value in report.items():
        click.echo(f"{name:22} {value:.6g}" if isinstance(value, float) else f"{name:22} {value}")
    click.echo(f"written                {folder}/bode.png, response.csv")


@click.group()
def tune() -> None:
    """Let the controller tune itself."""


@tune.command("feedback")
@loop_options
def tune_feedback(**options: Any) -> None:
    """Approach, measure the response with small steps of z, choose and set the gains, withdraw.

    The gains are the greatest that keep |1/(1+L)| below 1.4, 6 dB and 60 degrees of margin. Writes bode.png and response.csv to OUT/<time>/.
    """
    _run(options, change=True)


@click.command()
@loop_options
def bode(**options: Any) -> None:
    """Approach, measure and draw the response of the current to z, and withdraw; on a twin, theory beside it."""
    _run(options, change=False)
