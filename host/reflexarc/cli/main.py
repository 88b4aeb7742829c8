"""`reflexarc`: the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from reflexarc import __version__
from reflexarc.calibration import Calibration
from reflexarc.cli.board import ack, arm, status, trip
from reflexarc.cli.common import (
    Program,
    check_limits_file,
    connected,
    discard_if_empty,
    limits_for,
    limits_option,
    output_folder,
    record_for,
    record_option,
)
from reflexarc.cli.faults import faults
from reflexarc.cli.limits import limits
from reflexarc.cli.safety import blackbox, commission
from reflexarc.errors import BadInput, ReflexArcError
from reflexarc.experiments.settings import ScanSettings
from reflexarc.safety.limits import Limits


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """ReflexArc: a real-time controller for scanning probe and electron microscopes.

    'run' and 'scan' start a twin of their own (the compiled gateware with an STM); 'scan' takes a running board instead where --board
    names one, and the others always do. Start one with: reflexarc-board --socket board.sock
    """


for command in (status, arm, trip, ack, limits, commission, blackbox, faults):
    main.add_command(command)


def scan_options(function: Any) -> Any:
    """Options that `run` and `scan` share."""
    d = ScanSettings()
    options = [
        click.option(
            "--specimen", default="au111", show_default=True, help="'au111', a .npy file (with --specimen-size) or a Nanonis .sxm file."
        ),
        click.option("--specimen-size", type=float, metavar="M", help="Width of an .npy specimen in metres."),
        click.option(
            "--size", type=float, metavar="M", help="Width and height of the frame in metres. [default: the specimen, at most 50e-9]"
        ),
        click.option("--pixels", type=int, default=d.pixels, show_default=True, help="Pixels in a line, and lines."),
        click.option("--setpoint", type=float, metavar="A", default=d.setpoint_A, show_default=True, help="Current to hold, in amperes."),
        click.option("--bias", type=float, metavar="V", default=d.bias_V, show_default=True, help="Bias in volts."),
        click.option(
            "--bandwidth", type=float, metavar="HZ", default=d.bandwidth_Hz, show_default=True, help="Unity gain of the feedback."
        ),
        click.option("--time-per-pixel", type=float, metavar="S", help=f"In seconds. [default: {d.pixel_s:g}]"),
        click.option("--time-per-line", type=float, metavar="S", help="Instead: time of a line in one direction, in seconds."),
        click.option(
            "--seed", type=click.IntRange(0, 2**63 - 1), default=1, show_default=True, help="Of the twin's noise and generated specimens."
        ),
        click.option("--out", type=click.Path(path_type=Path), default=Path("out"), show_default=True, help="Folder for the results."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def settings_from(options: dict[str, Any], specimen_size_m: list[float] | None, limits: Limits | None = None) -> ScanSettings:
    """Settings of the options; BadInput for what contradicts itself or can't be."""
    pixels = options["pixels"]
    if options["time_per_pixel"] is not None and options["time_per_line"] is not None:
        raise BadInput("give --time-per-pixel or --time-per-line, not both")
    pixel_s = ScanSettings().pixel_s
    if options["time_per_pixel"] is not None:
        pixel_s = options["time_per_pixel"]
    elif options["time_per_line"] is not None:
        pixel_s = options["time_per_line"] / max(pixels, 1)
    size = options["size"]
    if size is None:
        size = min([50e-9, *(specimen_size_m or [])])
    return ScanSettings(
        width_m=size, height_m=size, pixels=pixels, lines=pixels, pixel_s=pixel_s, setpoint_A=options["setpoint"], bias_V=options["bias"],
        bandwidth_Hz=options["bandwidth"], limits=limits or Limits(),
    )  # fmt: skip


def board_arguments(options: dict[str, Any]) -> list[str]:
    arguments = ["--specimen", options["specimen"], "--seed", str(options["seed"])]
    if options["specimen_size"] is not None:
        arguments.append(f"--size={options['specimen_size']}")  # one word: it may begin with a minus
    return arguments


@main.command()
@scan_options
def run(**options: Any) -> None:
    """The main job: approach, scan with reactions, meet a crash, and report.

    On a twin of its own, in lockstep: two runs with one seed give the same image bytes. Writes scan.h5, report.png and report.json to
    OUT/<time>/.
    """
    from reflexarc.experiments.main_job import main_job, table

    # What can be told wrong from the options alone is told before minutes of building.
    settings_from(options, None).check(Calibration())
    folder = output_folder(options["out"])
    with discard_if_empty(folder):
        # The main twin first: it refuses a specimen that can't be read before anything else is built.
        with connected(None, board_arguments(options), lockstep=True) as board:
            timings = true_rate_timings()
            welcome = board.device.transport.welcome
            settings = settings_from(options, welcome["specimen_size_m"])
            attributes = {
                "specimen": welcome["specimen"],
                "seed": options["seed"],
                "setpoint_A": settings.setpoint_A,
                "bias_V": settings.bias_V,
            }
            result = board.run(main_job(board.device, settings, folder, timings, attributes))
    click.echo("\n".join(table(result.report)))
    click.echo(f"written            {folder}/scan.h5, report.png, report.json")
    if result.report["pixels_lost"] or not result.report["withdrawn_after_trip"]:
        raise ReflexArcError("pixels were lost or the tip was not withdrawn: see the table")


@main.command()
@scan_options
@limits_option
@record_option
@click.option("--board", "address", help="Socket of a running board. [default: a twin of its own]")
@click.option("--lockstep/--free", default=None, help="Board time runs as asked, repeatable (default on an own twin), or freely.")
def scan(address: str | None, lockstep: bool | None, limits_file: Path | None, record_file: Path | None, **options: Any) -> None:
    """Approach and scan one frame into OUT/<time>/scan.h5, then withdraw."""
    from reflexarc.experiments.scan_job import scan_job

    given = check_limits_file(limits_file)
    # A board that is named may hold limits of its own: they are looked at once it is there.
    settings_from(options, None, given).check(Calibration(), with_limits=given is not None or address is None)
    folder = output_folder(options["out"])
    with discard_if_empty(folder):
        with connected(address, board_arguments(options), lockstep=address is None if lockstep is None else lockstep) as board:
            welcome = board.device.transport.welcome
            settings = settings_from(options, welcome.get("specimen_size_m"), limits_for(board, limits_file)[0])
            attributes = {"specimen": welcome.get("specimen", ""), "seed": options["seed"]}
            record = record_for(board, record_file)
            for line in board.run(scan_job(board.device, settings, folder, attributes, record)):
                click.echo(line)
    click.echo(f"written      {folder}/scan.h5")


def true_rate_timings() -> Any:
    """Reaction times on a true-rate twin of its own."""
    from reflexarc.experiments.timings import measure_timings

    with connected(None, ["--rate", "true"], lockstep=True) as board:
        return board.run(measure_timings(board.device))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def bench(as_json: bool) -> None:
    """Reaction times in the gateware's cycles, with converters in seconds, and the twin's speed."""
    from reflexarc.experiments.speed import measure_speed

    found = dict(true_rate_timings().as_dict())
    with connected(None, [], lockstep=True) as board:
        found |= board.run(measure_speed(board.device))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        click.echo(f"{name:26} {value:.6g}")


if __name__ == "__main__":
    main()
