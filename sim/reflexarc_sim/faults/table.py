"""The table of trips in the documentation: cause, reaction, cycles, time to safe; made from a campaign's result."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reflexarc.contract.blocks.interlock import MASKABLE, Cause
from reflexarc_hw.platforms.timing import TRUE_RATE

CLOCK_S = 10e-9  # of `sync` at 100 MHz


@dataclass(frozen=True)
class Way:
    """How a cause reaches the gate. ``bound``: cycles to safe codes, from ``start``, at the true rate; ``seen``: the judge's name for it."""

    start: str
    bound: int | None  # None: a time-out decides
    seen: str = ""
    converted: bool = False  # a conversion comes before


N = TRUE_RATE.cycles_per_sample
SAMPLE = "sample valid"
REQUEST = "request at the gate"
PATHS: dict[Cause, Way] = {
    Cause.CURRENT_HIGH: Way(SAMPLE, 2, "window", True),
    Cause.CURRENT_LOW: Way(SAMPLE, 2, "window", True),
    Cause.CURRENT_SLEW: Way(SAMPLE, 2, "slew", True),
    Cause.MONITOR_HIGH: Way(SAMPLE, 2, "window", True),
    Cause.MONITOR_LOW: Way(SAMPLE, 2, "window", True),
    Cause.MONITOR_SLEW: Way(SAMPLE, 2, "slew", True),
    Cause.SATURATED: Way(SAMPLE, 2, "saturated", True),
    Cause.STUCK: Way("last equal sample valid", 7, "stuck", True),
    Cause.OSCILLATION: Way(SAMPLE, 21, "oscillation", True),
    Cause.XY_RANGE: Way(REQUEST, 4),
    Cause.Z_HIGH: Way(REQUEST, 2),
    Cause.Z_LOW: Way(REQUEST, 2),
    Cause.KEEP_OUT: Way(REQUEST, 4),
    Cause.Z_VELOCITY: Way(REQUEST, 2),
    Cause.BIAS_LOW: Way(REQUEST, 2),
    Cause.DOSE_PIXEL: Way("cycle that is too much", 7),
    Cause.DOSE_REGION: Way("cycle that is too much", 7),
    Cause.DOSE_FRAME: Way("cycle that is too much", 7),
    Cause.PULSES: Way("pulse that is too many", 7),
    Cause.CHARGE: Way("sample that is too much", 8, "", True),
    Cause.READBACK: Way("codes read back", 3, "readback"),
    Cause.SAMPLE_LOST: Way("next conversion's start", 2, "lost"),
    Cause.HEARTBEAT: Way("end of the time-out", None, "heartbeat"),
    Cause.CPU_HEARTBEAT: Way("end of the time-out", None),
    Cause.ESTOP: Way("line", 4, "estop"),
    Cause.READY: Way("line", 4, "ready"),
    Cause.GAIN: Way("line", 4, "gain"),
    Cause.POSITION_OVERFLOW: Way("position at its rail", 2),
    Cause.UNDERFLOW: Way("starved list", 2),
    Cause.PARITY: Way("bit flips", N + 5, "register"),
    Cause.EVENT: Way("event", 2),
    Cause.HOST: Way("strobe at the register", 2),
}


def rows(found: dict[str, Any]) -> list[str]:
    """Markdown, one row a cause."""
    worst: dict[str, list[int]] = found["worst_by_violation"]
    lines = [
        "| cause | maskable | from | bound, cycles | worst seen | time to safe with AD4020 and AD5791 |",
        "|---|---|---|---|---|---|",
    ]
    for cause in Cause:
        path = PATHS[cause]
        # The judge looks at the pins, and at the pins a sample is there one cycle before it is valid.
        pins = 1 if path.converted else 0
        seen = worst.get(path.seen) if path.seen else None
        shown = "" if seen is None or path.bound is None else str(max(seen[0] - pins, 0))
        if path.bound is None:
            safe = "time-out + 0.95 µs"
            bound = "time-out + 3"
        else:
            cycles = (TRUE_RATE.adc_cycles + 1 if path.converted else 0) + path.bound + TRUE_RATE.dac_cycles
            safe, bound = f"{cycles * CLOCK_S * 1e6:.2f} µs", str(path.bound)
        lines.append(f"| `{cause.name}` | {'yes' if cause in MASKABLE else 'no'} | {path.start} | {bound} | {shown} | {safe} |")
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
