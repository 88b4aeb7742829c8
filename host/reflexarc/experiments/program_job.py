"""One program, approach to withdrawal, its records into files."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

from reflexarc.device.controller import AsyncController
from reflexarc.errors import BadInput, BoardTripped, ConnectionFailed
from reflexarc.experiments.approach import approach
from reflexarc.experiments.blackbox import read_blackbox_file, save_blackbox
from reflexarc.experiments.program import Emission, ProgramRun, run_program
from reflexarc.experiments.settings import ScanSettings
from reflexarc.programs.compile import Compiled
from reflexarc.programs.kinds import Kind
from reflexarc.programs.names import walk
from reflexarc.programs.tree import Emit, ProgramTree, Read, Value, Variable
from reflexarc.programs.verify import Assumptions, Verdict, verify
from reflexarc.safety.commissioning import CommissioningRecord
from reflexarc.safety.limits import SOFT_ENTRIES, Limits
from reflexarc.store.errors import StoreError, one_line

TASK = "program job"
ENDS_S = 5.0  # wall time for an interrupted job to disarm
COLUMNS = {
    Kind.COUNT: "count", Kind.TIME: "clock", Kind.CURRENT: "current", Kind.CURRENT_SCORE: "score", Kind.MONITOR: "monitor",
    Kind.BIAS: "bias", Kind.X: "x", Kind.Y: "y", Kind.Z: "z",
}  # fmt: skip


def without_frame(settings: ScanSettings) -> ScanSettings:
    """Nothing is scanned: where the tip goes is the program's affair, and the verifier's."""
    limits = dataclasses.replace(settings.limits, x_low_m=None, x_high_m=None, y_low_m=None, y_high_m=None, keep_outs=())
    return dataclasses.replace(settings, limits=limits)


async def verify_for_board(board: AsyncController, tree: ProgramTree, settings: ScanSettings, tip: bool = True) -> Verdict:
    """What ``tree`` can do on this board under the limits of ``settings`` and the board's soft ones. Changes nothing there.

    Without a ``tip``, with a beam, nothing is said of current, bias and feedback.
    """
    calibration, soft = board.calibration, await board.soft_limits()
    tightest = {
        entry.name: entry.from_raw(
            calibration,
            entry.tighter(
                entry.to_raw(calibration, getattr(settings.limits, entry.name)),
                entry.to_raw(calibration, getattr(soft, entry.name), soft=True),
            ),
        )
        for entry in SOFT_ENTRIES
        if getattr(soft, entry.name) is not None
    }
    limits: Limits = dataclasses.replace(settings.limits, **tightest)  # type: ignore[arg-type]
    return verify(tree, Assumptions(calibration, limits, settings.setpoint_A, settings.bias_V, settings.bandwidth_Hz, tip=tip))


async def program_job(
    board: AsyncController,
    compiled: Compiled,
    settings: ScanSettings,
    folder: Path,
    record: CommissioningRecord | None = None,
    on_emission: Callable[[Emission], None] = lambda emission: None,
    tip: bool = True,
) -> ProgramRun:
    """Approach, run, withdraw. What it emits goes into ``folder`` as it comes; on a trip so does the black box.

    Without a ``tip``, with a beam, nothing is approached: no feedback is switched on, and of ``settings`` only the limits count. BadInput for
    settings that can't be, BoardTripped with the cause.
    """
    task = asyncio.current_task()
    assert task is not None
    task.set_name(TASK)
    if tip:
        without_frame(settings).check(board.calibration)
    await board.set_limits(settings.limits)
    await board.arm(record)
    with EmissionFiles(folder, compiled) as files:

        def take(emission: Emission) -> None:
            files.add(emission)
            on_emission(emission)

        try:
            if tip:
                await approach(board, settings)
            return await run_program(board, compiled, take)
        except BoardTripped:
            with contextlib.suppress(BadInput, ConnectionFailed):  # disarmed by someone else: nothing was frozen
                save_blackbox(await read_blackbox_file(board), folder)
            raise
        finally:
            with contextlib.suppress(ConnectionFailed):
                await board.disarm()


async def end_interrupted(board: AsyncController) -> None:
    """After a job was interrupted: until it has stopped its program and disarmed. If that takes too long the board is disarmed from here."""
    tasks = [task for task in asyncio.all_tasks() if task.get_name() == TASK]
    if not tasks:
        return
    await asyncio.wait(tasks, timeout=ENDS_S)
    with contextlib.suppress(ConnectionFailed):
        await board.disarm()


class EmissionFiles:
    """``emissions.csv``, or where tags bring different columns ``emissions-<tag>.csv`` for each; each written as its first record comes.

    A row has the board's time, the tag, and the values in SI units, as the header says. StoreError if one can't be written.
    """

    def __init__(self, folder: Path, compiled: Compiled) -> None:
        self._folder = folder
        self._columns = dict(emission_columns(compiled))
        one = len({compiled.tags[tag] for tag in compiled.tags}) == 1
        if one and len(set(self._columns.values())) > 1:  # the same kinds under different names
            self._columns = {tag: _distinct(_column(None, kind) for kind in kinds) for tag, kinds in compiled.tags.items()}
        self._names = dict.fromkeys(compiled.tags, "emissions.csv") if one else file_names(compiled.tags)
        self._open: dict[str, TextIO] = {}

    @property
    def names(self) -> list[str]:
        """Of the files that were written."""
        return list(self._open)

    def add(self, emission: Emission) -> None:
        name = self._names[emission.tag]
        try:
            if name not in self._open:
                self._open[name] = (self._folder / name).open("w", encoding="utf-8", newline="", buffering=1)
                self._write(name, _distinct(("time_s", "tag", *self._columns[emission.tag])))
            self._write(name, [f"{emission.time_s:.9f}", emission.tag, *(f"{value:.9g}" for value in emission.values)])
        except OSError as error:
            raise StoreError(f"{self._folder / name}: cannot be written ({one_line(error)})") from error

    def _write(self, name: str, row: Iterable[str]) -> None:
        csv.writer(self._open[name], lineterminator="\n").writerow(row)

    def __enter__(self) -> EmissionFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            with contextlib.suppress(OSError):  # each row was flushed as it came
                file.close()


def emission_columns(compiled: Compiled) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each tag with the names of its values and their units: a name or a reading is called as in the program, all else by its kind."""
    for tag, kinds in compiled.tags.items():
        emitted = [statement.values for _, statement in walk(compiled.tree) if isinstance(statement, Emit) and statement.tag == tag]
        same = [values[0] if len(set(values)) == 1 else None for values in zip(*emitted, strict=True)]
        yield tag, _distinct(_column(value, kind) for value, kind in zip(same, kinds, strict=True))


def _column(value: Value | None, kind: Kind) -> str:
    match value:
        case Variable(name):
            stem = name
        case Read(what):
            stem = what.value
        case _:
            stem = COLUMNS[kind]
    return f"{stem}_{kind.unit}" if kind.unit else stem


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    found: list[str] = []
    for name in names:
        found.append(next(one for one in (name, *(f"{name}_{n}" for n in range(2, 512))) if one not in found))
    return tuple(found)


def file_names(tags: Mapping[str, object]) -> dict[str, str]:
    """A file for each tag, named after it with what any file system accepts."""
    names: dict[str, str] = {}
    for tag in tags:
        stem = re.sub(r"[^A-Za-z0-9_-]+", "_", tag)
        taken = {name.casefold() for name in names.values()}
        tries = (f"emissions-{stem}.csv", *(f"emissions-{stem}-{n}.csv" for n in range(2, len(tags) + 2)))
        names[tag] = next(name for name in tries if name.casefold() not in taken)
    return names
