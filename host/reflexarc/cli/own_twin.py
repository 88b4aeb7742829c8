"""Options of the twin that a command starts for itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

NO_ENGINE = ("--lanes=0",)


def twin_options(function: Any) -> Any:
    """Specimen, plant and seed."""
    options = [
        click.option(
            "--specimen", default="au111", show_default=True, help="'au111', 'graphene' or a file: .sxm .ibw .gwy .nc .h5 .npy .png .tif."
        ),
        click.option("--specimen-size", type=float, metavar="M", help="Width in metres of a specimen without its own scale."),
        click.option("--specimen-height", type=float, metavar="M", help="Of an image, from darkest to brightest, in metres."),
        click.option("--channel", help="Of a file with several: the one that is the topography."),
        click.option("--plant", type=click.Path(path_type=Path), help="TOML file with the twin's STM."),
        click.option(
            "--seed", type=click.IntRange(0, 2**63 - 1), default=1, show_default=True, help="Of the twin's noise and generated specimens."
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def board_arguments(options: dict[str, Any], detects: bool = False) -> list[str]:
    """What starts a board with these options. One word each: a number or a name may begin with a minus.

    A twin whose detector has no engine is faster; ``detects``: it is needed.
    """
    arguments = [f"--specimen={options['specimen']}", f"--seed={options['seed']}", *([] if detects else NO_ENGINE)]
    for name, option in (("specimen_size", "--size"), ("specimen_height", "--height"), ("channel", "--channel"), ("plant", "--plant")):
        if options[name] is not None:
            arguments.append(f"{option}={options[name]}")
    return arguments
