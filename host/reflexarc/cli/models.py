"""`reflexarc deploy`, `compile` and `models`: a network for the detector, from its file to the board."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reflexarc.cli.common import connected, default_board
from reflexarc.contract.blocks.detector import BLOCK, BankState, SwapAt
from reflexarc.contract.model import LANES
from reflexarc.device import Controller
from reflexarc.errors import BadInput

if TYPE_CHECKING:  # the compiler takes a moment to load, and other commands do not need it
    from reflexarc.compiler.deploy import Deployable, Ready, Request
    from reflexarc.compiler.model_store import ModelStore
    from reflexarc.experiments.detect import Detection

RADIUS_MAX = BLOCK["radius"].high

model_argument = click.argument("model", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
store_option = click.option(
    "--store",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where models are kept. [default: $REFLEXARC_MODELS or the data folder]",
)
at_option = click.option(
    "--at",
    type=click.Choice([at.name.lower() for at in SwapAt]),
    default="line",
    show_default=True,
    help="Boundary at which the model changes.",
)


def model_options(function: Any) -> Any:
    """What the model is, where its file does not say it, or is to be told otherwise."""
    options = [
        click.option("--calibration", type=click.Path(path_type=Path), metavar="X.npz", help="Inputs that a float model is quantized by."),
        click.option(
            "--validation", type=click.Path(path_type=Path), metavar="X.npz", help="Inputs with labels: accuracy before and after."
        ),
        click.option("--view", help="window:32x32 (lines x pixels), line, lines:2, burst:64 (samples) or program:16 (records)."),
        click.option("--channel", "channels", multiple=True, help="z, current, monitor, counter-0, counter-1; z:100pm: 1.0 is so much."),
        click.option("--hop", type=click.IntRange(1), help="Records from an evaluation to the next."),
        click.option("--backward/--forward", default=None, help="The way back of each line, or the way there."),
        click.option("--line-mean/--as-measured", default=None, help="Each value less its line's mean up to it, or not."),
        click.option("--members", type=click.IntRange(1, 5), help="Networks of an ensemble, outputs one behind the other."),
        click.option("--event", "eventful", multiple=True, metavar="CLASS", help="Class that makes an event, label or number; several."),
        click.option("--least-margin", type=click.FloatRange(0), help="From the greatest output to the second, in its unit, for an event."),
        click.option("--disagreement/--no-disagreement", default=None, help="Members that do not agree make an event."),
        click.option("--radius", type=click.IntRange(0, RADIUS_MAX), help="Pixels and lines around an event without a second one."),
        click.option("--name", help="[default: the file's name, or its folder's for model.onnx]"),
        click.option("--model-id", type=click.IntRange(1, 65535), help="In each event. [default: from the model's content]"),
        click.option(
            "--check", "count", type=click.IntRange(0), default=0, metavar="N", help="Random inputs through the compiled engine too."
        ),
        click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="For its files. [default: beside the model]"),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def request_of(model: Path, options: dict[str, Any], tier: str) -> Request:
    from reflexarc.compiler.deploy import Request, Tier
    from reflexarc.compiler.model_store import checked_name, name_of
    from reflexarc.compiler.wishes import parse_channel, parse_view

    changes = {name: options[name] for name in ("hop", "backward", "line_mean") if options[name] is not None}
    head = {name: options[name] for name in ("members", "least_margin", "disagreement", "radius") if options[name] is not None}
    if options["eventful"]:
        head["eventful"] = tuple(options["eventful"])
    return Request(
        path=model,
        name=checked_name(options["name"]) if options["name"] is not None else name_of(model),
        calibration=options["calibration"],
        validation=options["validation"],
        view=None if options["view"] is None else parse_view(options["view"]),
        head=head,
        channels=tuple(parse_channel(text) for text in options["channels"]),
        changes=changes,
        tier=None if tier == "auto" else Tier(tier),
        model_id=options["model_id"],
    )


def ready_of(request: Request, out: Path | None) -> Ready:
    """And the folder for its files is there."""
    from reflexarc.compiler.deploy import make_ready
    from reflexarc.store.folder import prepare_output_folder

    ready = make_ready(request)
    prepare_output_folder(request.path.parent if out is None else out)
    return ready


def at_best(ready: Ready) -> Deployable:
    """For the first engine that it fits, whatever its width; otherwise for the edge tier. What neither takes is told before a board is looked for."""
    from reflexarc.calibration import Calibration
    from reflexarc.compiler.deploy import Tier, fit

    made = None
    for lanes in LANES:
        try:
            made = fit(ready, Calibration(), lanes)
        except BadInput:
            if lanes == max(LANES):
                raise
            continue
        if made.tier is Tier.FABRIC:
            break
    assert made is not None
    return made


def checked(made: Deployable, count: int) -> None:
    """The report with random inputs compared; through RTL only where that is asked for."""
    from reflexarc.compiler.deploy import CHECKED, Tier, add_check, check
    from reflexarc.experiments.deploy import rtl

    through_rtl = rtl if count and made.tier is Tier.FABRIC else None
    add_check(made.report, check(made, count or CHECKED, through_rtl))


def finish(made: Deployable, out: Path | None, as_json: bool) -> None:
    """Files, the report, and an error if something is not as it was promised."""
    from reflexarc.compiler.deploy import files
    from reflexarc.compiler.report_text import report_lines
    from reflexarc.experiments.deploy import raise_problems

    folder = made.ready.request.path.parent if out is None else out
    lines = list(report_lines(made.report))
    written = files(made) | {f"{made.name}.report.txt": "".join(f"{line}\n" for line in lines).encode()}
    for name, data in sorted(written.items()):
        try:
            (folder / name).write_bytes(data)
        except OSError as error:
            raise BadInput(f"{folder / name}: {error.strerror or error}") from None
    if as_json:
        click.echo(json.dumps(made.report, indent=2))
    else:
        for line in lines:
            click.echo(line)
        click.echo(f"{'written':13}{folder}/{', '.join(sorted(written))}")
    raise_problems(made.report)


def models_in(folder: Path | None) -> ModelStore:
    from reflexarc.compiler.model_store import ModelStore, default_folder

    return ModelStore(default_folder() if folder is None else folder)


def detection_of(name: str, store: Path | None) -> Detection:
    from reflexarc.experiments.detect import Detection

    kept = models_in(store)
    return Detection(kept.find(name), kept)


# The commands


@click.command()
@model_argument
@model_options
@click.option("--board", "address", help="Socket of a running board. [default: a twin of its own, which scans meanwhile]")
@click.option(
    "--tier", type=click.Choice(["auto", "fabric", "edge"]), default="auto", show_default=True, help="The gateware, or this computer."
)
@at_option
@store_option
@json_option
def deploy(
    model: Path, address: str | None, tier: str, at: str, store: Path | None, as_json: bool, count: int, out: Path | None, **options: Any
) -> None:
    """Make MODEL.onnx integer, prove it, compile it, load it into the board while that goes on with what it does, and report.

    A model that the gateware has no room for goes to the edge tier: onnxruntime on this computer, with the same events, milliseconds later. The
    report says which tier and why. Written: NAME.canonical.onnx, NAME.image, NAME.report.json and NAME.report.txt.
    """
    from reflexarc.compiler.deploy import Tier, fit
    from reflexarc.compiler.deploy import store as keep
    from reflexarc.device.detector import detector_status

    request = request_of(model, options, tier)
    ready = ready_of(request, out)
    models = models_in(store)
    made = at_best(ready)
    if made.tier is Tier.EDGE:  # no board has a part in it
        checked(made, count)
        keep(made, models)
        finish(made, out, as_json)
        return
    with connected(address, [], lockstep=address is None) as board:
        lanes = board.run(detector_status(board.device.registers)).lanes
        made = fit(ready, board.device.calibration, lanes or None)
        taken = models.free_id(made.name, made.model_id)
        if request.model_id is None and taken != made.model_id:
            made = fit(ready, board.device.calibration, lanes or None, taken)
        checked(made, count)
        if made.compiled is not None:
            load(board, made, SwapAt[at.upper()], own=address is None)
    keep(made, models)
    finish(made, out, as_json)


def load(board: Controller, made: Deployable, at: SwapAt, own: bool) -> None:
    from reflexarc.experiments.deploy import add_loaded, add_trial, deploy_image, trial

    assert made.compiled is not None
    words, radius = made.compiled.words, made.ready.head.radius
    if own:
        add_trial(made.report, board.run(trial(board.device, words, made.ready.view, at=at, radius=radius)))
    else:
        add_loaded(made.report, board.run(deploy_image(board.device, words, at=at, radius=radius)))


@click.command("compile")
@model_argument
@model_options
@click.option(
    "--lanes", type=click.Choice([str(lanes) for lanes in LANES]), default="8", show_default=True, help="Of the engine; 16 products each."
)
@json_option
def compile_model(model: Path, lanes: str, as_json: bool, count: int, out: Path | None, **options: Any) -> None:
    """What `deploy` does without a board: the canonical model, the image for an engine of so many lanes, and the report."""
    from reflexarc.calibration import Calibration
    from reflexarc.compiler.deploy import fit

    made = fit(ready_of(request_of(model, options, "fabric"), out), Calibration(), int(lanes))
    checked(made, count)
    finish(made, out, as_json)


@click.group()
def models() -> None:
    """Models that were deployed: list them, change to one, remove one."""


@models.command("list")
@click.option("--board", "address", help="Say what this board runs, too.")
@store_option
@json_option
def list_models(address: str | None, store: Path | None, as_json: bool) -> None:
    """Those that are kept, by name and id, and with --board what is in that board's banks."""
    from reflexarc.device.detector import detector_status

    entries = models_in(store).entries()
    status = None
    if address is not None:
        with Controller(address) as board:
            status = board.run(detector_status(board.device.registers))
    names = {entry.model_id: entry.name for entry in entries}
    banks = []
    for bank, state in enumerate(status.states if status is not None else ()):
        # Of the bank that is not active the gateware tells its state alone.
        runs = status is not None and bank == status.active and status.running != 0
        model_id = status.running if runs and status is not None else None
        banks.append({"bank": bank, "state": state.name, "active": runs, "model_id": model_id, "name": names.get(model_id or 0)})
    if as_json:
        kept = [vars(entry) | {"labels": list(entry.labels)} for entry in entries]
        click.echo(json.dumps({"models": kept, "banks": banks if status is not None else None}, indent=2))
        return
    for entry in entries:
        engine = f"{entry.lanes} lanes" if entry.lanes else "-"
        labels = ", ".join(entry.labels)
        click.echo(f"{entry.name:24} {entry.model_id:5}  {entry.tier:6}  {engine:8}  {entry.date[:10]}  {labels}".rstrip())
    if not entries:
        click.echo("no models are kept yet; deploy one: reflexarc deploy model.onnx")
    for found in banks:
        if found["active"]:
            click.echo(f"bank {found['bank']}: active, model {found['model_id']} ({found['name'] or 'not one of these'})")
        else:
            click.echo(f"bank {found['bank']}: {BankState[str(found['state'])].name.lower().replace('_', ' ')}")


@models.command()
@click.argument("name")
@click.option(
    "--board", "address", default=default_board, show_default="$REFLEXARC_BOARD or the runtime folder", help="Socket of the board."
)
@at_option
@store_option
def activate(name: str, address: str, at: str, store: Path | None) -> None:
    """Have the board run the model NAME (or id): loaded into the bank that is free, unless it runs already."""
    from reflexarc.device.detector import detector_status
    from reflexarc.experiments.deploy import deploy_image

    kept = models_in(store)
    entry = kept.find(name)
    words = kept.image(entry)
    with Controller(address) as board:
        status = board.run(detector_status(board.device.registers))
        if status.running == entry.model_id and status.enabled:
            click.echo(f"{entry.name} runs already, in bank {status.active}")
            return
        loaded = board.run(deploy_image(board.device, words, at=SwapAt[at.upper()], radius=int(entry.head.get("radius", 0))))
    when = "will run at the next frame's start" if loaded.due else f"runs after {loaded.wall_s:.3g} s"
    click.echo(f"{entry.name} {when}, in bank {loaded.bank}")


@models.command()
@click.argument("name")
@store_option
def remove(name: str, store: Path | None) -> None:
    """Forget the model NAME (or id). What a board runs goes on running."""
    kept = models_in(store)
    entry = kept.find(name)
    kept.remove(entry)
    click.echo(f"removed {entry.name}")
