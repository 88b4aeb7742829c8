"""A short campaign of random programs; `make programs` runs the long one."""

from __future__ import annotations

import json
import subprocess
import sys

STRINGS, RUNS, SEED = 3000, 12, 20


def test_short_campaign() -> None:
    """No string crashes parsers or checker, and nothing that they let pass trips a twin."""
    print(f"seed {SEED}")
    command = [sys.executable, "-m", "reflexarc_sim.programs", "--strings", str(STRINGS), "--run", str(RUNS), "--seed", str(SEED), "--json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert result.returncode == 0, result.stderr[-2000:]
    found = json.loads(result.stdout)
    assert found["strings"] == STRINGS and sum(found["accepted"].values()) + sum(found["refused"].values()) == STRINGS
    assert found["runs"] == RUNS and not found["failures"] and not found["trips"] and not found["late"]
