"""`reflexarc`: the command line."""

from __future__ import annotations

import contextlib
import functools
import json
import operator
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
from reflexarc.cli.control import bode, tune
from reflexarc.cli.faults import faults
from reflexarc.cli.limits import limits
from reflexarc.cli.models import compile_model, deploy, detection_of, models, store_option
from reflexarc.cli.own_twin import NO_ENGINE, board_arguments, twin_options
from reflexarc.cli.program import program
from reflexarc.cli.safety import blackbox, commission
from reflexarc.contract.blocks.sync import SyncMode
from reflexarc.errors import BadInput, ReflexArcError
from reflexarc.experiments.settings import OPTIONAL, ScanSettings
from reflexarc.safety.limits import Limits
from reflexarc.scans import Mode
from reflexarc.scans.frame import PIXELS_MAX
from reflexarc.scans.raster import INTERLACE_MAX

SMALL_FRAME_M, LARGE_FRAME_M = 50e-9, 500e-9  # by default, on a specimen that is smaller or larger than
LARGE_M = 1e-6
FASTEST_M_PER_S = 2e-6  # of the tip along a line, by default: at 4 kHz the current stays well below 20 setpoints on slopes up to 0.8
FRAME_OPTIONS = (
    "mode", "interlace", "center_x_m", "center_y_m", "angle_deg", "shear_deg", "slope_x", "slope_y", "drift_m_per_s", "lift_m",
    "acceleration_m_per_s2", "stepped", "wait_s",
)  # fmt: skip
GENERATED = ("au111", "graphene")  # specimens for which the twin takes the default scanner
ALSO = {channel.name.lower().replace("_", "-"): channel for channel in OPTIONAL}
ADATOMS = Path(__file__).parents[3] / "models" / "adatoms" / "model.onnx"
LARGEST_SCANNER = Calibration(x_m_per_V=1e-5, y_m_per_V=1e-5, z_m_per_V=1e-6)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """ReflexArc: a real-time controller for scanning probe and electron microscopes.

    'run', 'scan' and 'program run' start a twin of their own (the compiled gateware with an STM); 'scan' and 'program run' take a running
    board instead where --board names one, and the others always do. Start one with: reflexarc-board --socket board.sock
    """


for command in (status, arm, trip, ack, limits, commission, blackbox, faults, tune, bode, program, deploy, compile_model, models):
    main.add_command(command)


def scan_options(function: Any) -> Any:
    """Options that `run` and `scan` share."""
    d = ScanSettings()
    options = [
        click.option(
            "--size",
            type=float,
            metavar="M",
            help="Width and height of the frame in metres. [default: the specimen, at most 50e-9, of one above 1e-6 at most 500e-9]",
        ),
        click.option("--pixels", type=int, default=d.pixels, show_default=True, help="Pixels in a line, and lines."),
        click.option("--setpoint", type=float, metavar="A", default=d.setpoint_A, show_default=True, help="Current to hold, in amperes."),
        click.option("--bias", type=float, metavar="V", default=d.bias_V, show_default=True, help="Bias in volts."),
        click.option(
            "--bandwidth", type=float, metavar="HZ", default=d.bandwidth_Hz, show_default=True, help="Unity gain of the feedback."
        ),
        click.option(
            "--time-per-pixel", type=float, metavar="S", help=f"In seconds. [default: {d.pixel_s:g}, more above {FASTEST_M_PER_S:g} m/s]"
        ),
        click.option("--time-per-line", type=float, metavar="S", help="Instead: time of a line in one direction, in seconds."),
        click.option("--out", type=click.Path(path_type=Path), default=Path("out"), show_default=True, help="Folder for the results."),
    ]
    for option in reversed(options):
        function = option(function)
    return twin_options(function)


def frame_options(function: Any) -> Any:
    """Options of the frame that only `scan` has."""
    options = [
        click.option("--lines", type=int, help="Lines, where not as many as pixels."),
        click.option(
            "--mode", type=click.Choice([mode.value for mode in Mode]), help="How lines are run through. [default: trace-retrace]"
        ),
        click.option("--interlace", type=int, metavar="N", help="Scan each Nth line first, then those between."),
        click.option("--center-x", "center_x_m", type=float, metavar="M", help="Of the frame, in metres."),
        click.option("--center-y", "center_y_m", type=float, metavar="M", help="Of the frame, in metres."),
        click.option("--angle", "angle_deg", type=float, metavar="DEG", help="Turn the frame, counter-clockwise."),
        click.option("--shear", "shear_deg", type=float, metavar="DEG", help="Lean its slow axis towards the fast one."),
        click.option("--slope-x", type=float, metavar="RATIO", help="Plane that z follows: rise per way in x."),
        click.option("--slope-y", type=float, metavar="RATIO", help="Plane that z follows: rise per way in y."),
        click.option("--drift", "drift_m_per_s", type=float, nargs=3, metavar="X Y Z", help="Drift to follow, in metres per second."),
        click.option("--lift", "lift_m", type=float, metavar="M", help="Scan each line twice, the second time so much higher."),
        click.option("--stepped", is_flag=True, default=None, help="Stand for each pixel and jump to the next, as for a beam."),
        click.option(
            "--wait-for",
            type=click.Choice([str(mode.name).lower().replace("_", "-") for mode in SyncMode]),
            multiple=True,
            help="Each pixel for a camera's ready line or a clock, each line for a trigger, the scan for the column. Repeatable.",
        ),
        click.option("--wait", "wait_s", type=float, metavar="S", help="Longest of these waits. [default: 1]"),
        click.option(
            "--also",
            type=click.Choice(list(ALSO)),
            multiple=True,
            help="Record beside z and current: the monitor in volts, the pulses that a counter had in each pixel. Repeatable.",
        ),
        click.option("--acceleration", "acceleration_m_per_s2", type=float, metavar="M/S2", help="Greatest in turns."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def settings_from(
    options: dict[str, Any], specimen_size_m: list[float] | None, limits: Limits | None = None, scanner: Calibration = LARGEST_SCANNER
) -> ScanSettings:
    """Settings of the options; BadInput for what contradicts itself or can't be."""
    pixels = options["pixels"]
    for name, most in (("pixels", PIXELS_MAX), ("lines", PIXELS_MAX), ("interlace", min(INTERLACE_MAX, options.get("lines") or pixels))):
        value = options.get(name)
        if value is not None and not 1 <= value <= most:
            raise BadInput(f"{name} = {value} is not possible; accepted: 1 to {most}")
    if options["time_per_pixel"] is not None and options["time_per_line"] is not None:
        raise BadInput("give --time-per-pixel or --time-per-line, not both")
    size = options["size"]
    if size is None:
        reach_m = 2 * min(scanner.x_range_m, scanner.y_range_m)
        size = min([LARGE_FRAME_M if min(specimen_size_m or [0]) > LARGE_M else SMALL_FRAME_M, reach_m, *(specimen_size_m or [])])
    pixel_s = max(ScanSettings().pixel_s, size / pixels / FASTEST_M_PER_S)
    if options["time_per_pixel"] is not None:
        pixel_s = options["time_per_pixel"]
    elif options["time_per_line"] is not None:
        pixel_s = options["time_per_line"] / pixels
    more = {name: options[name] for name in FRAME_OPTIONS if options.get(name) is not None}
    if options.get("wait_for"):
        more["waits_for"] = functools.reduce(operator.or_, (SyncMode[name.upper().replace("-", "_")] for name in options["wait_for"]))
    more["channels"] = frozenset(ALSO[name] for name in options.get("also", ()))
    if "mode" in more:
        more["mode"] = Mode(more["mode"])
    if limits is not None:
        more["limits"] = limits
    return ScanSettings(
        width_m=size, height_m=size, pixels=pixels, lines=options.get("lines") or pixels, pixel_s=pixel_s, setpoint_A=options["setpoint"],
        bias_V=options["bias"], bandwidth_Hz=options["bandwidth"], **more,
    )  # fmt: skip


def check_early(options: dict[str, Any], address: str | None, limits: Limits | None, with_limits: bool) -> None:
    """What can be told wrong from the options alone is told before minutes of building: by the default scanner, or the largest there is."""
    settings = settings_from(options, None, limits)
    default_scanner = address is None and options["plant"] is None and options["specimen"].strip().lower() in GENERATED
    try:
        settings.check(Calibration(), with_limits)
    except BadInput:
        if default_scanner:
            raise
        with contextlib.suppress(BadInput):
            settings.check(LARGEST_SCANNER, with_limits)
            return
        raise


@main.command()
@scan_options
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    default=ADATOMS,
    show_default="models/adatoms/model.onnx of the source tree",
    help="Network whose events are reacted to.",
)
@click.option("--threshold", is_flag=True, help="Instead: react to what stands above the terraces.")
def run(model: Path, threshold: bool, **options: Any) -> None:
    """The main job: approach, scan with reactions, meet a crash, and report.

    A network on the gateware looks at each pixel's surroundings and tells of adatoms, at which the gateware gives pulses by itself.

    On a twin of its own, in lockstep: two runs with one seed give the same image bytes. Writes scan.h5, report.png and report.json to
    OUT/<time>/.
    """
    from reflexarc.experiments.main_job import main_job, table

    check_early(options, None, None, with_limits=True)
    ready = None
    if not threshold:
        from reflexarc.experiments.features import ready_model

        ready = ready_model(model)
    folder = output_folder(options["out"])
    with discard_if_empty(folder):
        # The main twin first: it refuses a specimen that can't be read before anything else is built.
        with connected(None, board_arguments(options, detects=ready is not None), lockstep=True) as board:
            welcome = board.device.transport.welcome
            settings = settings_from(options, welcome["specimen_size_m"], scanner=board.device.calibration)
            settings.check(board.device.calibration)
            timings = true_rate_timings()
            attributes = {
                "specimen": welcome["specimen"],
                "seed": options["seed"],
                "setpoint_A": settings.setpoint_A,
                "bias_V": settings.bias_V,
            }
            result = board.run(main_job(board.device, settings, folder, timings, attributes, ready))
    click.echo("\n".join(table(result.report)))
    click.echo(f"written            {folder}/scan.h5, report.png, report.json")
    if result.report["pixels_lost"] or not result.report["withdrawn_after_trip"]:
        raise ReflexArcError("pixels were lost or the tip was not withdrawn: see the table")


@main.command()
@scan_options
@frame_options
@limits_option
@record_option
@click.option("--board", "address", help="Socket of a running board. [default: a twin of its own]")
@click.option("--lockstep/--free", default=None, help="Board time runs as asked, repeatable (default on an own twin), or freely.")
@click.option("--detect", metavar="MODEL", help="A deployed model, by name or id, looks on. See: reflexarc models list")
@store_option
def scan(
    address: str | None,
    lockstep: bool | None,
    limits_file: Path | None,
    record_file: Path | None,
    detect: str | None,
    store: Path | None,
    **options: Any,
) -> None:
    """Approach and scan one frame into OUT/<time>/scan.h5, then withdraw."""
    from reflexarc.experiments.scan_job import scan_job

    detection = None if detect is None else detection_of(detect, store)
    given = check_limits_file(limits_file)
    # A board that is named may hold limits of its own: they are looked at once it is there.
    check_early(options, address, given, with_limits=given is not None or address is None)
    folder = output_folder(options["out"])
    with discard_if_empty(folder):
        with connected(
            address, board_arguments(options, detects=detection is not None), lockstep=address is None if lockstep is None else lockstep
        ) as board:
            welcome = board.device.transport.welcome
            limits = limits_for(board, limits_file)[0]
            settings = settings_from(options, welcome.get("specimen_size_m"), limits, board.device.calibration)
            attributes = {"specimen": welcome.get("specimen", ""), "seed": options["seed"]}
            record = record_for(board, record_file)
            for line in board.run(scan_job(board.device, settings, folder, attributes, record, detection)):
                click.echo(line)
    click.echo(f"written      {folder}/scan.h5")


def true_rate_timings() -> Any:
    """Reaction times on a true-rate twin of its own."""
    from reflexarc.experiments.timings import measure_timings

    with connected(None, ["--rate=true", *NO_ENGINE], lockstep=True) as board:
        return board.run(measure_timings(board.device))


@main.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def bench(as_json: bool) -> None:
    """Reaction times in the gateware's cycles, with converters in seconds, and the twin's speed."""
    from reflexarc.experiments.detector_bench import measure_detectors
    from reflexarc.experiments.speed import measure_speed

    found = dict(true_rate_timings().as_dict())
    with connected(None, [*NO_ENGINE], lockstep=True) as board:
        found |= board.run(measure_speed(board.device))
    found["detectors"] = measure_detectors()
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    detectors = found.pop("detectors")
    for name, value in found.items():
        click.echo(f"{name:26} {value:.6g}")
    for row in detectors:
        click.echo(
            f"{row['network']}, {row['products_a_cycle']} products a cycle: {row['cycles']} cycles, {row['after_last']} after the last input; "
            f"onnxruntime {row['onnxruntime_median_us']:.1f} us, 99.9 % {row['onnxruntime_p999_us']:.1f} us; {', '.join(row['boards'])}"
        )


if __name__ == "__main__":
    main()
