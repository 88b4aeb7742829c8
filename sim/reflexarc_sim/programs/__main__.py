"""`python -m reflexarc_sim.programs`: random strings through parser and checker, a sample of those that they accept on twins."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

from reflexarc_hw.platforms.timing import COMPRESSED

from ..build import BuildError, build
from .runs import Ran, run_lines, run_share
from .strings import BATCH, Checked, check_batch


@dataclass
class Summary:
    """Of a campaign."""

    seed: int
    strings: int = 0
    accepted: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    failures: list[dict[str, str]] = field(default_factory=list)
    slowest_ms: float = 0.0
    slowest: str = ""
    strings_per_s: float = 0.0
    runs: int = 0
    trips: list[dict[str, str]] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    emissions: int = 0
    board_s: float = 0.0
    s_per_run: float = 0.0  # of wall time, with all processes; starts and approaches are in it

    @property
    def good(self) -> bool:
        return not (self.failures or self.trips or self.late)


def _batches(strings: int, runs: int) -> Iterator[tuple[int, int, int]]:
    """Number of each batch, its strings, and how many lines it keeps."""
    total = -(-strings // BATCH)
    keep = -(-3 * runs // (2 * total)) if total else 0  # a half more, for batches in which fewer are accepted
    for number in range(total):
        yield number, min(BATCH, strings - number * BATCH), keep


def campaign(strings: int, runs: int, seed: int, jobs: int) -> Summary:
    """``strings`` through parser and checker, then ``runs`` of what they accept on a twin in each of ``jobs`` processes."""
    print(f"seed {seed}", file=sys.stderr)
    summary, checked = Summary(seed), Checked()
    if runs:
        build(COMPRESSED)
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        began = time.monotonic()
        futures = [pool.submit(check_batch, seed, *batch) for batch in _batches(strings, runs)]
        for future in futures:
            checked.add(future.result())
            for failure in future.result().failures:
                print(f"\nFAILED: {failure}", file=sys.stderr)
            print(f"\r{checked.strings} of {strings} strings", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        summary.strings_per_s = round(checked.strings / max(time.monotonic() - began, 1e-9), 1)
        # Of all batches, so that a short run draws from the whole campaign as well.
        lines = [checked.lines[index * len(checked.lines) // runs] for index in range(min(runs, len(checked.lines)))] if runs else []
        began, ran = time.monotonic(), Ran()
        shares = [lines[number::jobs] for number in range(jobs)]
        for future_ran in [pool.submit(run_share, number, seed, share) for number, share in enumerate(shares) if share]:
            ran.add(future_ran.result())
        if ran.runs:
            summary.s_per_run = round((time.monotonic() - began) / ran.runs, 3)
    summary.strings, summary.failures = checked.strings, checked.failures
    summary.accepted, summary.refused = dict(checked.accepted), dict(checked.refused)
    summary.slowest_ms, summary.slowest = round(checked.slowest_ms, 1), checked.slowest
    summary.runs, summary.trips, summary.late = ran.runs, ran.trips, ran.late
    summary.emissions, summary.board_s = ran.emissions, round(ran.board_s, 3)
    return summary


def table(summary: Summary) -> str:
    """For people."""
    accepted, refused = sum(summary.accepted.values()), sum(summary.refused.values())
    lines = [
        f"seed {summary.seed}: {summary.strings} strings, {accepted} accepted, {refused} refused, {len(summary.failures)} failed; "
        f"{summary.strings_per_s:.0f} strings/s, slowest {summary.slowest_ms:.0f} ms",
        *(f"  {way:12} {summary.accepted.get(way, 0):8} accepted {summary.refused.get(way, 0):8} refused" for way in _ways(summary)),
        f"{summary.runs} programs run, {len(summary.trips)} trips, {len(summary.late)} too long, {summary.emissions} records; "
        f"{summary.board_s:.1f} s of board time, {summary.s_per_run:.2f} s a run",
        *(f"FAILED: {failure}" for failure in summary.failures[:20]),
        *(f"TRIPPED: {trip['trip']}: {trip['line']}" for trip in summary.trips[:20]),
        *(f"TOO LONG: {late}" for late in summary.late[:20]),
    ]
    return "\n".join(lines)


def _ways(summary: Summary) -> list[str]:
    return sorted({*summary.accepted, *summary.refused})


def main() -> int:
    parser = argparse.ArgumentParser(prog="reflexarc_sim.programs", description="Random programs: parser, checker, and a sample on twins.")
    parser.add_argument("--strings", type=int, default=1_000_000, help="random strings through parser and checker")
    parser.add_argument("--run", type=int, default=2000, help="of those that they accept, on twins")
    parser.add_argument("--seed", type=int, default=1, help="a campaign repeats with its seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--line", help="this canonical line alone, on a twin")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.strings < 0 or arguments.run < 0 or arguments.seed < 0 or arguments.jobs < 1:
        parser.error("--jobs is at least 1; --strings, --run and --seed are at least 0")
    try:
        if arguments.line is not None:
            summary = Summary(arguments.seed)
            ran = run_lines(arguments.seed, [arguments.line])
            summary.runs, summary.trips, summary.late, summary.emissions = ran.runs, ran.trips, ran.late, ran.emissions
        else:
            summary = campaign(arguments.strings, arguments.run, arguments.seed, arguments.jobs)
    except BuildError as error:
        print(f"programs: {error}", file=sys.stderr)
        return 2
    plain: dict[str, Any] = asdict(summary)
    print(json.dumps(plain, indent=2) if arguments.json else table(summary))
    return 0 if summary.good else 1


if __name__ == "__main__":
    sys.exit(main())
