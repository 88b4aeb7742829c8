"""`reflexarc faults`: campaigns of faults on the twin."""

from __future__ import annotations

import subprocess
import sys

import click


@click.command()
@click.option("--count", type=click.IntRange(1), default=1000, show_default=True, help="Cases.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="A campaign repeats with its seed.")
@click.option("--normal-samples", type=click.IntRange(0), default=0, show_default=True, help="Samples of undisturbed scanning beside.")
@click.option("--jobs", type=click.IntRange(1), help="Processes. [default: as many as there are cores]")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def faults(count: int, seed: int, normal_samples: int, jobs: int | None, as_json: bool) -> None:
    """Let things go wrong on twins that scan: did the interlock trip when it had to, in time, and only then?

    Crashes, ringing feedback, converters that die, stick or lie, switched gain, lost lines, a killed or mad host, flipped registers, and
    sequences of those. Ends with 1 if a trip was missed, late or false.
    """
    command = [sys.executable, "-m", "reflexarc_sim.faults.campaign", "--count", str(count), "--seed", str(seed)]
    command += ["--normal-samples", str(normal_samples)]
    if jobs is not None:
        command += ["--jobs", str(jobs)]
    if as_json:
        command.append("--json")
    sys.exit(subprocess.run(command, check=False).returncode)
