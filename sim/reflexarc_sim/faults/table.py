"""The table of trips in the documentation: cause, reaction, cycles proven and seen, time to safe; from the proofs and a campaign's result."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from reflexarc.contract.blocks.interlock import MASKABLE, SIGNAL_CAUSES, Cause
from reflexarc.safety.limits import REACTIONS, Limits
from reflexarc_hw.formal.claims import BOUNDS, cycles
from reflexarc_hw.platforms.timing import TRUE_RATE

CLOCK_S = 10e-9  # of `sync` at 100 MHz
CONVERT_CYCLES = TRUE_RATE.adc_cycles + 1  # start of a conversion to sample valid
CONVERTED = {*SIGNAL_CAUSES, Cause.CHARGE} - {Cause.OSCILLATION}  # their cycles count from a sample that was converted first
TIME_OUTS = (Cause.HEARTBEAT, Cause.CPU_HEARTBEAT)

# What the campaign's judge calls it where it counts from the same moment as the proof, and cycles from its pins to there.
SEEN: dict[Cause, tuple[str, int]] = {
    Cause.CURRENT_HIGH: ("window", 1),
    Cause.CURRENT_LOW: ("window", 1),
    Cause.CURRENT_SLEW: ("slew", 1),
    Cause.MONITOR_HIGH: ("window", 1),
    Cause.MONITOR_LOW: ("window", 1),
    Cause.MONITOR_SLEW: ("slew", 1),
    Cause.SATURATED: ("saturated", 1),
    Cause.STUCK: ("stuck", 1),
    Cause.READBACK: ("readback", 0),
    Cause.SAMPLE_LOST: ("lost", 0),
    Cause.HEARTBEAT: ("heartbeat", 0),
    Cause.ESTOP: ("estop", 0),
    Cause.READY: ("ready", 0),
    Cause.GAIN: ("gain", 0),
    Cause.UNDERFLOW: ("UNDERFLOW", 0),
    Cause.EVENT: ("EVENT", 0),
}


def reaction(cause: Cause) -> str:
    """What the default limits add to the floor."""
    chosen = [name for name in REACTIONS if cause in getattr(Limits().reactions, name) and name != "retract"]
    return " + ".join(["floor", *(name.replace("_", " ") for name in chosen)])


def rows(found: dict[str, Any]) -> list[str]:
    """Markdown, one row a cause; ``found`` is what a campaign gives as JSON."""
    worst: dict[str, list[int]] = found["worst_by_violation"]
    lines = [
        "| cause | maskable | reaction | from | cycles to safe outputs, proven | worst seen | time to safe with AD4020 and AD5791 |",
        "|---|---|---|---|---|---|---|",
    ]
    for cause in Cause:
        name, pins = SEEN.get(cause, ("", 0))
        shown = str(worst[name][0] - pins) if name in worst else ""
        start, proven = BOUNDS[cause].start, cycles(cause)
        converted = CONVERT_CYCLES if cause in CONVERTED else 0
        total_us = (converted + proven + TRUE_RATE.dac_cycles) * CLOCK_S * 1e6
        safe = f"time-out + {total_us:.2f} µs" if cause in TIME_OUTS else f"{total_us:.2f} µs"
        maskable = "yes" if cause in MASKABLE else "no"
        lines.append(f"| `{cause.name}` | {maskable} | {reaction(cause)} | {start} | {proven} | {shown} | {safe} |")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description="The documentation's table of trips, from a campaign's JSON.")
    parser.add_argument("result", type=Path, help="what `reflexarc faults --json` printed")
    arguments = parser.parse_args()
    try:
        found = json.loads(arguments.result.read_text())
        lines = rows(found)
    except (OSError, ValueError, KeyError) as error:
        print(f"{arguments.result}: not a campaign's result ({error})", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
