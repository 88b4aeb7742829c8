"""What the detector of domain walls finds, in floating point and in eight bits; writes metrics.json and card.md. Needs no PyTorch.

    python -m models.domain_wall.measure
    python -m models.domain_wall.measure --data ../shared/data

Without --data the numbers of the last time stay.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from models.common import scores
from models.common.onnx_run import InEightBits, InFloat
from models.common.views import windows
from models.domain_wall.lines import (
    CENTER,
    CLIP,
    CONTRAST_DEG,
    HOP,
    LABELS,
    MARGIN,
    MIDDLE,
    RECORDS,
    UNIT_DEG,
    UNIT_V,
    WALL,
    Array,
    as_input,
    draw,
)
from numpy.typing import NDArray

FOLDER = Path(__file__).parent
Model = InFloat | InEightBits
STEP = CLIP / 127
WITHIN = 3.0  # pixels: an event is at a wall
LINES = 600


def outputs(model: Model, phase_deg: Array) -> NDArray[np.float32]:
    """[line, evaluation, class]: one for each HOP-th pixel."""
    x = np.clip(np.round(as_input(phase_deg) / STEP), -128, 127).astype(np.float32) * np.float32(STEP)
    seen = windows(x, 1, RECORDS)[:, ::HOP]
    return model.run(seen.reshape(-1, 1, 1, RECORDS)).reshape(*seen.shape[:2], -1)


def events(model: Model, phase_deg: Array) -> list[Array]:
    """Places of the events of each line, in pixels."""
    found = outputs(model, phase_deg)
    ranked = np.sort(found, axis=-1)
    told = (found.argmax(axis=-1) == WALL) & (ranked[..., -1] - ranked[..., -2] >= MARGIN)
    return [np.flatnonzero(line) * HOP + RECORDS - 1 - CENTER[0] for line in told]


def count(found: list[Array], walls: list[Array], other: list[Array], pixels: int) -> dict[str, Any]:
    """Events against walls. ``other``: places at which an event counts for nothing."""
    reach = (RECORDS - 1 - CENTER[0] - 1, pixels - 1 - CENTER[0] + 1)
    true = hits = stray = double = 0
    for events_here, walls_here, other_here in zip(found, walls, other, strict=True):
        near = np.abs(events_here[:, None] - walls_here[None]) <= WITHIN
        inside = (walls_here >= reach[0]) & (walls_here <= reach[1])
        true += int(inside.sum())
        hits += int((near.any(axis=0) & inside).sum())
        free = ~near.any(axis=1)
        if len(other_here):
            free &= np.abs(events_here[:, None] - other_here[None]).min(axis=1) > 5
        stray += int(free.sum())
        double += int((near.sum(axis=0) - 1).clip(0).sum())
    told = hits + stray
    return {
        "lines": len(found),
        "walls": true,
        "found": hits,
        "stray": stray,
        "double": double,
        "precision": round(hits / told, 4) if told else None,
        "recall": round(hits / true, 4) if true else None,
    }


def offline_walls(phase_deg: Array) -> tuple[list[Array], list[Array]]:
    """The rule for real files. The two levels are the tallest peaks of the histogram, 45 degrees apart at least; the threshold is half way. The
    phase goes through a median of 3 x 5 (lines x pixels); a crossing of the threshold is a wall if the filtered phase stays on each side for 4
    pixels, and unsure otherwise. Returns walls and unsure places of each line."""
    from scipy.ndimage import median_filter

    counts, edges = np.histogram(phase_deg, bins=72)
    centres = (edges[1:] + edges[:-1]) / 2
    first = int(counts.argmax())
    away = np.abs(centres - centres[first]) >= CONTRAST_DEG
    second = int(np.where(away, counts, 0).argmax())
    threshold = (centres[first] + centres[second]) / 2
    upper = median_filter(phase_deg, (3, 5)) > threshold
    walls, unsure = [], []
    for line in upper:
        change = np.flatnonzero(line[1:] != line[:-1])
        good = [k for k in change if len(set(line[max(0, k - 3) : k + 1])) == 1 and len(set(line[k + 1 : k + 5])) == 1]
        walls.append(np.array(good, float) + 0.5)
        unsure.append(np.array(sorted(set(change) - set(good)), float) + 0.5)
    return walls, unsure


def real(model: Model, folder: Path) -> dict[str, Any]:
    import gwyfile
    import h5py

    field = gwyfile.util.get_datafields(gwyfile.load(str(folder / "pto_110_virgin.gwy")))["PhaseRetrace"].data
    with h5py.File(folder / "pto_pfm_nsid.h5") as file:
        other = np.array(file["Measurement_000/Channel_3/Channel_3/Channel_3"], float)
    result = {}
    for name, phase in (("pto_110_virgin.gwy", field), ("pto_110_virgin.gwy, columns", field.T), ("pto_pfm_nsid.h5", other)):
        walls, unsure = offline_walls(phase)
        result[name] = count(events(model, phase), walls, unsure, phase.shape[1])
    # The lower left of this one has a single domain and a response that fades in places: each event there is a false alarm.
    part = other[60:, :60]
    result["pto_pfm_nsid.h5, a part without walls"] = {"lines": len(part), "events": sum(len(line) for line in events(model, part))}
    return result


def out_of_distribution(model: Model) -> dict[str, Any]:
    random = np.random.default_rng(78)
    x = np.arange(256.0)
    cases = {
        "noise of 20 degrees rms": random.normal(0, 20, (50, 256)),
        "noise of 60 degrees rms": random.normal(0, 60, (50, 256)),
        "any phase": random.uniform(-180, 180, (50, 256)),
        "ramp of 1 degree a pixel": np.tile(x - 128, (50, 1)) + random.normal(0, 2, (50, 256)),
        "ramp of 5 degrees a pixel, wrapped": np.mod(5 * x + random.uniform(0, 360, (50, 1)), 360) - 180,
        "sine of 40 degrees, 20 pixels": 40 * np.sin(2 * np.pi * x / 20 + random.uniform(0, 6, (50, 1))),
    }
    result = {}
    for name, phase in cases.items():
        found = outputs(model, phase)
        result[name] = {
            "lines": len(phase),
            "events": sum(len(line) for line in events(model, phase)),
            "said_glitch": round(float((found.argmax(axis=-1) == 2).mean()), 4),
        }
    return result


def measure(data: Path | None) -> dict[str, Any]:
    floating, integer = InFloat(FOLDER / "model.onnx"), InEightBits(FOLDER)
    inputs, more = scores.load_inputs(FOLDER / "held_out.npz")
    metrics: dict[str, Any] = {
        name: scores.by_class(LABELS, more["allowed"], model.run(inputs).argmax(axis=1))
        for name, model in (("float", floating), ("int8", integer))
    }
    lines = draw(LINES, 3)
    # What is neither certain nor none: between them, either answer will do.
    unsure = [np.flatnonzero(line.sum(axis=-1) > 1) + MIDDLE for line in lines.allowed]
    far = [at[np.abs(at[:, None] - walls[None]).min(axis=1, initial=99) > 3] for at, walls in zip(unsure, lines.walls, strict=True)]
    metrics["lines"] = {
        name: count(events(model, lines.phase_deg), lines.walls, far, lines.phase_deg.shape[1])
        for name, model in (("float", floating), ("int8", integer))
    }
    metrics["out_of_distribution"] = out_of_distribution(integer)
    if data is not None:
        metrics["real"] = real(integer, data)
    elif (FOLDER / "metrics.json").exists():
        metrics |= {name: value for name, value in scores.read(FOLDER).items() if name == "real"}
    return metrics


def card(metrics: dict[str, Any]) -> str:
    def row(name: str, found: dict[str, Any]) -> str:
        return (
            f"| {name} | {found['lines']} | {found['walls']} | {found['found']} | {found['stray']} | {found['double']} | {found['precision']} | "
            f"{found['recall']} |"
        )

    head = "| | lines | there | found | stray | double | precision | recall |\n|---|---|---|---|---|---|---|---|"
    lines = "\n".join(row(name, found) for name, found in metrics["lines"].items())
    files = metrics.get("real", {})
    real = "\n".join(row(name, found) for name, found in files.items() if "walls" in found)
    quiet = "\n".join(
        f"- {name}: {found['events']} events in {found['lines']} lines." for name, found in files.items() if "walls" not in found
    )
    strange = "\n".join(
        f"| {name} | {found['lines']} | {found['events']} | {found['said_glitch']} |"
        for name, found in metrics["out_of_distribution"].items()
    )
    return scores.flowed(f"""# domain_wall

Looks at the last {RECORDS} pixels of a line of PFM phase and tells what is in their middle: {", ".join(LABELS)}.

## What it sees

Means of the monitor input, on which the lock-in's phase is, 1.0 being {UNIT_DEG:g}°, or {UNIT_V:g} V where 10 V are 180° (`--channel
monitor:...` for another lock-in); eight bits
reach ±{CLIP * UNIT_DEG:.0f}° in steps of {STEP * UNIT_DEG:.1f}°. No other line is looked at. An evaluation each {HOP} pixels, so that a
wall is in the middle of one of them; an event is a greatest
output *wall*, at least {MARGIN:g} above the second, and its place {CENTER[0]} pixels before the newest. There is no suppression, for each
line crosses a wall anew.

Network: three convolutions along the line (5, 5, 3 wide; 8, 16, 16 channels; two with stride 2), two fully connected layers (16,
{len(LABELS)}).

## Data

6,000 lines of 256 pixels, simulated (`lines.py`): the lock-in's vector is a piezoresponse that changes its sign at walls (0.4 to 4 pixels
wide), a background of up to 0.6 of
it, noise of 1 to 16 %, stretches where the response fades, and, in every other line,
walls that are wild for up to 3 pixels on each side; a low-pass of up to 0.8 pixels; then the angle, in an instrument's window
of 360° whose ends are away from both
domains. Spikes of one to three pixels are added. There is no plant for PFM in the project yet, so nothing of it is in here. *glitch*: a
spike, or a stretch without response.

Seeds: training 1, held-out 2, lines below 3.

## How good it is

Single windows, held out (`held_out.npz`); *inputs* are those with one right answer, walls and glitches being preferred.

{scores.class_table(metrics["float"], metrics["int8"])}

Whole lines; *found*: an event within {WITHIN:g} pixels of a wall; *stray*: none there; *double*: a second one at it. Places of which
nobody can be certain count for nothing.

{head}
{lines}

## Real files

Scored against walls by a rule of our own, offline (`offline_walls`): two levels of phase from the histogram, at least {CONTRAST_DEG:g}°
apart, threshold half way; a crossing by the phase
behind a median of 3 × 5 (lines × pixels) that stays for 4 pixels on each side. In the second file large parts have no response, and their
phase is any; the rule's walls there
are as doubtful as the network's.

{head}
{real}

{quiet}

## Limits

- Domains narrower than some 6 pixels, walls wider than 6, contrasts below {CONTRAST_DEG:g}°.
- The instrument's phase offset must keep both domains away from where the angle wraps: a wrap within a domain is a glitch at best.
- Walls that run along the lines are not crossed, and not seen.
- Within {CENTER[0]} pixels of a line's ends nothing is told.

## Out of distribution

No flag for what it does not know, but *glitch* takes most of it. Never trained; events, and which share of the evaluations says *glitch*:

| | lines | events | glitch |
|---|---|---|---|
{strange}

## Commands

```
python -m models.domain_wall.train                            # makes everything, prints this card
python -m models.domain_wall.measure --data ../shared/data    # the numbers alone, with real files (needs gwyfile)
```
""")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    metrics = measure(parser.parse_args().data)
    scores.write(FOLDER, metrics, card(metrics))


if __name__ == "__main__":
    main()
