"""Limits: show, check, set, and the soft ones."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from reflexarc.calibration import Calibration
from reflexarc.cli.common import board_option
from reflexarc.contract.blocks.interlock import Cause, ReadyLine
from reflexarc.device import Controller
from reflexarc.errors import BadInput
from reflexarc.safety.limits import ALWAYS, ENTRIES, REACTIONS, SOFT_ENTRIES, Limits, Rectangle, SoftLimits, from_mask
from reflexarc.safety.limits_file import LimitsFile, default_text, load_limits
from reflexarc.safety.units import UnitError, parse, show


@click.group()
def limits() -> None:
    """Hard limits from a reviewed file, locked while armed; soft limits at any time. Of two the tighter counts."""


file_argument = click.argument("file", type=click.Path(path_type=Path))


@limits.command("show")
@board_option
@click.option("--default", "default", is_flag=True, help="The default limits as a file with comments, without a board.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show_limits(address: str, default: bool, as_json: bool) -> None:
    """What the board holds: hard, soft, and what counts."""
    if default:
        click.echo(json.dumps(Limits().as_plain(), indent=2) if as_json else default_text(), nl=as_json)
        return
    with Controller(address) as board:
        hard, soft = board.limits(), board.soft_limits()
        effective = board.run(board.device.effective_limits())
        enable, present = board.run(board.device.registers.read_raw("interlock.enable", "interlock.present"))
    if hard is None:
        raise BadInput("no limits were set on this board yet; set some: reflexarc limits set FILE")
    if as_json:
        plain = {"hard": hard.as_plain(), "soft": soft.as_plain(), "effective": effective.as_plain()}
        counting = [cause.name for cause in Cause if (enable & present) >> cause & 1]
        click.echo(json.dumps(plain | {"counting": counting}, indent=2))
        return
    for line in table(hard, soft, effective, from_mask(enable), from_mask(present)):
        click.echo(line)


@limits.command("check")
@file_argument
@click.option("--board", "address", help="Check against this board too: where it stands and what it has.")
def check(file: Path, address: str | None) -> None:
    """Check a file against calibration and ranges; every fault is named with its line. Nothing is written."""
    found = load_limits(file, Calibration())
    if address is not None:
        with Controller(address) as board:
            found = _load(file, board)
    click.echo(f"{file}: no faults")
    _tell_omitted(found)


@limits.command("set")
@file_argument
@board_option
def set_limits(file: Path, address: str) -> None:
    """Check a file, write it to a disarmed board, read back, compare; say what changed. With a fault nothing is written."""
    load_limits(file, Calibration())
    with Controller(address) as board:
        found = _load(file, board)
        before = board.limits()
        board.set_limits(found.limits)
        after = board.limits()
    assert after is not None
    changes = list(differences(before, after))
    click.echo(f"{file}: set, read back and compared; {len(changes)} changed")
    for line in changes:
        click.echo(f"  {line}")
    _tell_omitted(found)


@limits.command("soft")
@click.argument("values", nargs=-1, metavar="[NAME=VALUE]...")
@board_option
def soft(values: tuple[str, ...], address: str) -> None:
    """Set soft limits, armed or not: reflexarc limits soft current.high="1 nA" pulses=none. Without any: show them.

    Names are those of 'limits show'; 'none' opens a limit.
    """
    wanted = dict(_soft_value(text) for text in values)
    with Controller(address) as board:
        found = board.set_soft_limits(**wanted) if wanted else board.soft_limits()
    for entry in SOFT_ENTRIES:
        click.echo(f"{entry.path:24} {entry.shown(getattr(found, entry.name))}")


def _load(file: Path, board: Controller) -> LimitsFile:
    return load_limits(file, board.device.calibration, board.run(board.device.board_facts()))


def _tell_omitted(found: LimitsFile) -> None:
    if found.omitted:
        click.echo(f"not in the file, so as by default: {', '.join(found.omitted)}")


def _soft_value(text: str) -> tuple[str, float | None]:
    name, equals, value = text.partition("=")
    entry = next((entry for entry in SOFT_ENTRIES if name.strip() in (entry.path, entry.name)), None)
    if not equals or entry is None:
        known = ", ".join(entry.path for entry in SOFT_ENTRIES)
        raise BadInput(f'"{text}" sets no soft limit; write NAME=VALUE with a name of: {known}')
    if value.strip() == "none":
        return entry.name, None
    try:
        return entry.name, parse(value.strip(), entry.unit)
    except UnitError as error:
        raise BadInput(f"{entry.path}: {error}") from None


def table(hard: Limits, soft: SoftLimits, effective: SoftLimits, enable: Iterable[Cause], present: Iterable[Cause]) -> list[str]:
    """The limits of a board as lines for people."""
    rows = [("limit", "hard", "soft", "counts")]
    for entry in ENTRIES:
        mine = entry.shown(getattr(hard, entry.name))
        rows.append(
            (entry.path, mine, entry.shown(getattr(soft, entry.name)), entry.shown(getattr(effective, entry.name)))
            if entry.has_soft
            else (entry.path, mine, "", "")
        )
    lines = [f"{path:24} {a:>16} {b:>16} {c:>16}".rstrip() for path, a, b, c in rows]
    for index, keep_out in enumerate(hard.keep_outs):
        lines.append(f"{f'keep_out {index}':24} {_rectangle(keep_out)}")
    lines.append(f"{'region':24} {_rectangle(hard.region) if hard.region else 'none'}")
    lines.append(f"{'lines.ready':24} {', '.join(line.name or '' for line in ReadyLine if line in hard.ready_lines) or 'none'}")
    lines.append(f"{'preamp.gain_lines':24} {hard.gain_lines}")
    for name in REACTIONS:
        lines.append(f"{f'reactions.{name}':24} {_names(getattr(hard.reactions, name))}")
    on, has = set(enable) | ALWAYS, set(present)
    lines.append(f"{'conditions that count':24} {_names(on & has)}")
    lines.append(f"{'switched off':24} {_names(has - on)}")
    lines.append(f"{'not on this board':24} {_names(set(Cause) - has)}")
    return lines


def _rectangle(rectangle: Rectangle) -> str:
    edges = [show(getattr(rectangle, f"{edge}_m"), "m") for edge in ("x_low", "x_high", "y_low", "y_high")]
    return f"x {edges[0]} to {edges[1]}, y {edges[2]} to {edges[3]}"


def _names(causes: Iterable[Cause]) -> str:
    return ", ".join(cause.name for cause in sorted(causes)) or "none"


def differences(before: Limits | None, after: Limits) -> Iterable[str]:
    """What changed, a line each."""
    was = before if before is not None else Limits()
    note = "" if before is not None else " (against the defaults: none were set)"
    for entry in ENTRIES:
        old, new = getattr(was, entry.name), getattr(after, entry.name)
        if entry.shown(old) != entry.shown(new) and (before is not None or not _close(old, new)):
            yield f"{entry.path}: {entry.shown(old)} -> {entry.shown(new)}{note}"
    others: tuple[tuple[str, Any, Any], ...] = (
        ("keep_out", was.keep_outs, after.keep_outs),
        ("region", was.region, after.region),
        ("lines.ready", was.ready_lines, after.ready_lines),
        ("preamp.gain_lines", was.gain_lines or 0, after.gain_lines),
        *((f"reactions.{name}", getattr(was.reactions, name), getattr(after.reactions, name)) for name in REACTIONS),
    )
    for name, old, new in others:
        if old != new:
            yield f"{name}: changed{note}"
    if before is not None and was.conditions != after.conditions:
        on, off = after.conditions - was.conditions, was.conditions - after.conditions
        yield f"conditions: on {_names(on)}, off {_names(off)}"


def _close(old: float | None, new: float | None) -> bool:
    """The same but for the rounding to codes."""
    return old is not None and new is not None and abs(old - new) <= 1e-3 * max(abs(old), abs(new))
