"""``python -m reflexarc_hw.formal``: run the proofs, print a table, write ``report.json`` and ``report.md``."""

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from reflexarc_hw.formal import report
from reflexarc_hw.formal.suite import Job, entries, gaps, jobs


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m reflexarc_hw.formal", description="Run the formal proofs of the gateware.")
    parser.add_argument("proof", nargs="*", help="names of proofs; without any, all")
    parser.add_argument("--short", action="store_true", help="a representative part, with one mutation a property")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="solvers at a time (default: one a core)")
    parser.add_argument("--folder", type=Path, default=Path("build/formal"))
    arguments = parser.parse_args()

    found = entries()
    unknown = set(arguments.proof) - {entry.name for entry in found}
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(entry.name for entry in found)}")
    lacking = gaps(found)
    for line in lacking:
        print(f"INCOMPLETE {line}", file=sys.stderr)
    part = bool(arguments.proof or arguments.short)
    chosen = [
        entry for entry in found if (not arguments.proof or entry.name in arguments.proof) and (entry.proof.short or not arguments.short)
    ]
    wanted = [job for entry in chosen for job in jobs(entry, short=arguments.short)]

    began = time.monotonic()
    done = 0

    def perform(job: Job) -> None:
        nonlocal done
        job.run(arguments.folder)
        assert job.result is not None
        done += 1
        print(f"[{done:3}/{len(wanted)}] {job.name}: {job.fault or 'as expected'}, {job.result.seconds:.1f} s", flush=True)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        for _ in pool.map(perform, wanted):
            pass
    made = report.make(chosen, wanted, lacking, time.monotonic() - began, part=part)
    report.write(made, arguments.folder)
    print("\n" + report.text(made))
    return 0 if made["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
