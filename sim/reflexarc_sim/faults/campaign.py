"""Runs cases, each in a copy of a process that scans, and says what the interlock missed."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any

from reflexarc.contract.blocks.interlock import Cause, InterlockState
from reflexarc.contract.blocks.scan import POSITION_FRACTION_BITS, STEP_FRACTION_BITS
from reflexarc_hw.platforms.timing import COMPRESSED

from ..build import BuildError, build
from .cases import FAULTS, Case, Expected, LockBroken, make_case
from .rig import Rig

BATCH = 50  # cases from one rig, before the next one begins elsewhere
STEP_S = 3e-3  # board time by which a rig goes on between two cases
AFTER_TRIP_S = 200e-6  # that a tripped board is watched

# Causes that the judge can't see for itself, but whose recorded value must lie beyond the recorded limit.
COMPARED: dict[str, int] = {
    Cause.Z_HIGH.name: 1, Cause.Z_LOW.name: -1, Cause.Z_VELOCITY.name: 0, Cause.XY_RANGE.name: 0, Cause.BIAS_LOW.name: 0,
}  # fmt: skip
# By what the judge found: what the interlock may call it.
NAMES: dict[str, tuple[str, ...]] = {
    "window": ("CURRENT_HIGH", "CURRENT_LOW", "MONITOR_HIGH", "MONITOR_LOW"), "slew": ("CURRENT_SLEW", "MONITOR_SLEW"),
    "saturated": ("SATURATED",), "stuck": ("STUCK",), "lost": ("SAMPLE_LOST",), "oscillation": ("OSCILLATION",), "estop": ("ESTOP",),
    "ready": ("READY",), "gain": ("GAIN",), "readback": ("READBACK",), "heartbeat": ("HEARTBEAT",), "register": ("PARITY",),
}  # fmt: skip


@dataclass
class Verdict:
    """What became of one case. ``cycles``: from the first violation, as it stood at the pins, to safe outputs."""

    seed: int
    faults: tuple[str, ...]
    result: str  # tripped, rightly_not, missed, late, false_trip, lock_broken
    cause: str = ""
    violation: str = ""
    cycles: int | None = None
    bound: int | None = None
    contact_m: float = 0.0
    note: str = ""


@dataclass
class Summary:
    """Of a campaign."""

    cases: int = 0
    missed: int = 0
    late: int = 0
    false_trips: int = 0
    tripped: int = 0
    rightly_not: int = 0
    worst_cycles: int = 0
    worst_by_violation: dict[str, list[int]] = field(default_factory=dict)  # cycles, bound
    by_fault: dict[str, dict[str, int]] = field(default_factory=dict)
    by_cause: dict[str, int] = field(default_factory=dict)
    deepest_contact_m: float = 0.0
    deepest_contact_fault: str = ""
    dose_over_budget_e: float = 0.0
    normal_samples: int = 0
    seconds: float = 0.0
    failures: list[dict[str, Any]] = field(default_factory=list)

    def add(self, verdict: Verdict) -> None:
        self.cases += 1
        fault = " + ".join(verdict.faults) if len(verdict.faults) == 1 else "sequence"
        self.by_fault.setdefault(fault, {})
        self.by_fault[fault][verdict.result] = self.by_fault[fault].get(verdict.result, 0) + 1
        match verdict.result:
            case "tripped":
                self.tripped += 1
            case "rightly_not":
                self.rightly_not += 1
            case "late":
                self.late += 1
            case "false_trip":
                self.false_trips += 1
            case _:
                self.missed += 1
        if verdict.result not in ("tripped", "rightly_not"):
            self.failures.append(asdict(verdict))
        if verdict.cause:
            self.by_cause[verdict.cause] = self.by_cause.get(verdict.cause, 0) + 1
        if verdict.cycles is not None and verdict.bound is not None:
            self.worst_cycles = max(self.worst_cycles, verdict.cycles)
            worst = self.worst_by_violation.get(verdict.violation, [0, verdict.bound])
            self.worst_by_violation[verdict.violation] = [max(worst[0], verdict.cycles), verdict.bound]
        if verdict.contact_m > self.deepest_contact_m:
            self.deepest_contact_m, self.deepest_contact_fault = verdict.contact_m, " + ".join(verdict.faults)


def run_case(rig: Rig, case: Case) -> Verdict:
    """Do it, on a rig that is used up by it."""
    rng = Random(f"faults {case.seed}")
    rig.twin.plant.forget_contacts()
    rig.twin.judge(rig.judge_limits())
    expected: list[Expected] = []
    try:
        for name, wait_s in zip(case.faults, case.waits_s, strict=True):
            rig.run(wait_s)
            expected += FAULTS[name](rig, rng)
        rig.run(case.tail_s)
    except LockBroken as error:
        return Verdict(case.seed, case.faults, "lock_broken", note=str(error))
    return _verdict(rig, case, expected)


def _verdict(rig: Rig, case: Case, expected: list[Expected]) -> Verdict:
    rig.run(AFTER_TRIP_S)
    twin, outcome = rig.twin, rig.outcome()
    now, contact = twin.cycle, twin.plant.contact_depth_m
    found = twin.verdicts
    verdict = Verdict(case.seed, case.faults, "rightly_not", contact_m=contact)
    if "escaped" in found.since:
        verdict.result, verdict.note = "missed", "a code outside of the envelope was on its way to a converter"
        return verdict
    if twin.live:
        overdue = [name for name, since in found.since.items() if since + found.bound[name] < now]
        if overdue or any(e.must for e in expected) or contact > 0:
            verdict.result, verdict.violation = "missed", ", ".join(overdue) or ("contact" if contact > 0 else "expected")
        return verdict
    if outcome.state is InterlockState.DISARMED:
        return verdict
    # Tripped: why, and when was it due?
    safe = outcome.cycle
    verdict.cause = outcome.cause
    stands = {name: since for name, since in found.since.items() if since <= safe}
    timed = [(since + found.bound[name], name, since) for name, since in stands.items()]
    timed += [
        (e.cycle + e.bound, "/".join(sorted(e.causes)), e.cycle) for e in expected if e.cycle is not None and e.cycle - e.bound <= safe
    ]
    explained = any(outcome.cause in NAMES.get(name, ()) for name in stands) or any(outcome.cause in e.causes for e in expected)
    if outcome.cause == "OSCILLATION" and found.oscillation > 0.98 * rig.judge_limits().oscillation_limit:
        explained = True
    if outcome.cause in COMPARED:
        explained = explained or _beyond(outcome.cause, outcome.value, outcome.limit)
    if outcome.cause == Cause.KEEP_OUT.name:
        explained = explained or _at_keep_out(rig)
    # A flipped bit of a limit may be seen by that limit's own condition before the parity is looked at.
    explained = explained or "register" in stands
    if not explained:
        verdict.result, verdict.note = "false_trip", f"{outcome.value} against {outcome.limit}; judge: {sorted(stands)}"
        return verdict
    if timed:
        due, verdict.violation, since = min(timed)
        verdict.cycles, verdict.bound = max(safe - since, 0), due - since
        verdict.result = "late" if safe > due else "tripped"
    else:
        verdict.result = "tripped"
    if not twin.blanked or (not any("dac_stuck" in name for name in case.faults) and twin.dac_code(2) < (1 << 19) - 1 and _approached(rig)):
        verdict.result, verdict.note = "missed", "tripped, but the outputs are not safe"
    return verdict


def _beyond(cause: str, value: int, limit: int) -> bool:
    match COMPARED[cause]:
        case 1:
            return value > limit
        case -1:
            return value < limit
    return abs(value) < limit if cause == Cause.BIAS_LOW.name else abs(value) > abs(limit)


def _at_keep_out(rig: Rig) -> bool:
    """Whether what the scan asked for lies in the rectangle, or a sample's step from it: the scan may have gone on by one."""
    raw = rig.judge_limits()
    for axis, low, high in (("x", *raw.keep_x), ("y", *raw.keep_y)):
        step = max(abs(rig.read(f"scan.step_{axis}")), rig.read("scan.move_step")) / (1 << STEP_FRACTION_BITS)
        if not low - step - 1 <= rig.read(f"scan.{axis}") / (1 << POSITION_FRACTION_BITS) <= high + step + 1:
            return False
    return True


def _approached(rig: Rig) -> bool:
    """Whether z comes nearer, or stands still short of the rail, after a trip."""
    before = rig.twin.dac_code(2)
    rig.run(20e-6)
    return rig.twin.dac_code(2) <= before


def in_a_copy(rig: Rig, case: Case) -> Verdict:
    """The case in a forked process, so that the rig itself goes on as if nothing had been."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            text = json.dumps(asdict(run_case(rig, case))).encode()
            with os.fdopen(writer, "wb") as stream:
                stream.write(text)
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        text = stream.read()
    _, status = os.waitpid(child, 0)
    if status or not text:
        raise RuntimeError(f"case {case.seed} ({', '.join(case.faults)}) ended with status {status}")
    found = json.loads(text)
    found["faults"] = tuple(found["faults"])
    return Verdict(**found)


def run_batch(seeds: list[int]) -> list[Verdict]:
    """Cases from one rig, each from a later point of its scan."""
    rig = Rig(seeds[0] + 1)
    verdicts = []
    for seed in seeds:
        verdicts.append(in_a_copy(rig, make_case(seed)))
        rig.run(STEP_S)
        if not rig.twin.live:
            raise RuntimeError(f"the rig itself tripped between two cases: {rig.outcome()}")
    return verdicts


def run_normal(seed: int, samples: int) -> tuple[int, int, str]:
    """Normal scanning with the default limits: samples, trips, and of what."""
    rig = Rig(seed)
    rig.run(samples * rig.calibration.sample_period_s)
    return samples, 0 if rig.twin.live else 1, "" if rig.twin.live else str(rig.outcome())


def batches(count: int, seed: int) -> Iterator[list[int]]:
    for first in range(0, count, BATCH):
        yield [seed * 10_000_000 + index for index in range(first, min(first + BATCH, count))]


def campaign(count: int, seed: int, normal_samples: int, jobs: int) -> Summary:
    """``count`` cases and ``normal_samples`` samples of undisturbed scanning, in ``jobs`` processes."""
    began = time.monotonic()
    build(COMPRESSED)
    summary = Summary()
    # Spawned, for a process with threads should not be forked; what is forked are the rigs in their own.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        normal = []
        if normal_samples:
            share = normal_samples // jobs
            normal = [pool.submit(run_normal, seed * 1000 + index, share) for index in range(jobs)]
        for verdicts in pool.map(run_batch, batches(count, seed)):
            for verdict in verdicts:
                summary.add(verdict)
            print(f"\r{summary.cases} of {count} cases", end="", file=sys.stderr, flush=True)
        for future in normal:
            samples, trips, what = future.result()
            summary.normal_samples += samples
            summary.false_trips += trips
            if what:
                summary.failures.append({"faults": ("normal scanning",), "result": "false_trip", "note": what})
    print(file=sys.stderr)
    summary.by_cause = dict(Counter(summary.by_cause).most_common())
    summary.seconds = round(time.monotonic() - began, 1)
    return summary


def table(summary: Summary) -> str:
    """For people."""
    lines = [
        f"cases {summary.cases}: {summary.tripped} tripped, {summary.rightly_not} rightly not; "
        f"missed {summary.missed}, late {summary.late}, false trips {summary.false_trips}",
        f"normal scanning: {summary.normal_samples} samples; deepest contact {summary.deepest_contact_m * 1e12:.0f} pm "
        f"({summary.deepest_contact_fault or 'none'}); {summary.seconds:.0f} s",
        "violation -> safe outputs, cycles from the pins (worst seen, bound):",
    ]
    lines += [f"  {name:24} {worst:6} {bound:6}" for name, (worst, bound) in sorted(summary.worst_by_violation.items())]
    lines += [f"  {fault:24} {results}" for fault, results in sorted(summary.by_fault.items())]
    lines += [f"FAILED: {failure}" for failure in summary.failures[:20]]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Seeded campaign of faults on the compiled twin.")
    parser.add_argument("--count", type=int, default=1000, help="cases")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--normal-samples", type=int, default=0, help="samples of undisturbed scanning beside, which must not trip")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--case", type=int, help="one case alone, by its seed; the scan before it is not that of a campaign")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.count < 1 or arguments.jobs < 1 or arguments.normal_samples < 0 or arguments.seed < 0:
        parser.error("--count and --jobs are at least 1, --seed and --normal-samples at least 0")
    try:
        if arguments.case is not None:
            summary = Summary()
            summary.add(run_case(Rig(arguments.case + 1), make_case(arguments.case)))
        else:
            summary = campaign(arguments.count, arguments.seed, arguments.normal_samples, arguments.jobs)
    except BuildError as error:
        print(f"faults: {error}", file=sys.stderr)
        return 2
    print(json.dumps(asdict(summary), indent=2) if arguments.json else table(summary))
    return 1 if summary.missed or summary.late or summary.false_trips else 0


if __name__ == "__main__":
    sys.exit(main())
