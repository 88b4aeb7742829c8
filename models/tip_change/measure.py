"""What the detector of tip changes finds, beside a plain correlation of lines; writes metrics.json and card.md. Needs no PyTorch.

    python -m models.tip_change.measure
    python -m models.tip_change.measure --data ../shared/data

Without --data the numbers of the last time stay.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from models.common import scores
from models.common.onnx_run import Float32, InEightBits, InFloat
from models.common.scans import Plan
from models.common.views import less_line_mean
from models.tip_change.lines import (
    CHANGED,
    CLIP,
    END_PIXELS,
    LABELS,
    LEAST_HEIGHT_M,
    LEAST_SHIFT_M,
    MEMBERS,
    PIXELS,
    ROWS,
    SAME,
    SHIFT_PIXELS,
    UNIT_M,
    Array,
    Lines,
    correlation,
    joined,
    lines_of,
    random_lines,
)
from numpy.typing import NDArray

from reflexarc_sim.plants.stm import StmParameters
from reflexarc_sim.specimens import au111

FOLDER = Path(__file__).parent
Model = InFloat | InEightBits
STEP = CLIP / 127
RANDOM_SEEDS = range(17_001, 17_041)
MAIN_SEEDS = range(18_001, 18_021)


def outputs(model: Model, inputs: Float32) -> Float32:
    """[n, member, class]."""
    rounded = np.clip(np.round(inputs / STEP), -128, 127).astype(np.float32) * np.float32(STEP)
    return model.run(rounded).reshape(len(inputs), MEMBERS, len(LABELS))


def verdict(found: Float32) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The first member's class, as the head has it, and whether all agree."""
    said = found.argmax(axis=2)
    return said[:, 0], (said == said[:, :1]).all(axis=1)


def main_job_lines(seed: int) -> Lines:
    """Au(111) as the main job scans it, with a tip that changes."""
    line_s = 2 * PIXELS * 160e-6
    parameters = StmParameters(tip_changes_per_s=0.1 / line_s)
    return lines_of(au111.generate(seed=seed), Plan(PIXELS, 96, 50e-9 / PIXELS), parameters, seed)


def best_threshold(value: Array, changed: NDArray[np.bool_]) -> float:
    """Below it a line is called changed: the one with the best balanced accuracy."""
    steps = np.unique(np.quantile(value, np.linspace(0, 1, 2001)))
    balanced = [((value[changed] < t).mean() + (value[~changed] >= t).mean()) / 2 for t in steps]
    return round(float(steps[int(np.argmax(balanced))]), 5)


def compare(told: NDArray[np.bool_], lines: Lines) -> dict[str, float]:
    """Lines with a change in them, and lines without any: shares that are told right, and their mean. ``between``: of changes between two lines."""
    same = lines.allowed[:, SAME] & ~lines.allowed[:, CHANGED]
    found, quiet = float(told[lines.within].mean()), float((~told[same]).mean())
    between = float(told[lines.between].mean()) if lines.between.any() else 0.0
    return {
        "found": round(found, 4),
        "quiet": round(quiet, 4),
        "balanced_accuracy": round((found + quiet) / 2, 4),
        "found_between": round(between, 4),
    }


def on(models: dict[str, Model], lines: Lines, threshold: float) -> dict[str, Any]:
    same = lines.allowed[:, SAME] & ~lines.allowed[:, CHANGED]
    result: dict[str, Any] = {
        "lines": len(same),
        "changed": int(lines.within.sum()),
        "same": int(same.sum()),
        "between": int(lines.between.sum()),
    }
    for name, model in models.items():
        found = outputs(model, lines.inputs)
        said, agree = verdict(found)
        result[name] = compare(said == CHANGED, lines)
        result[name]["disagree"] = round(float((~agree).mean()), 4)
        right = lines.allowed[np.arange(len(said)), said]
        result[name]["accuracy_where_members_agree"] = round(float(right[agree].mean()), 4)
        result[name]["accuracy_where_not"] = round(float(right[~agree].mean()), 4) if (~agree).any() else None
    value = correlation(lines.z_m)
    result["correlation"] = compare(value < threshold, lines)
    result["correlation"]["threshold"] = threshold
    own = best_threshold(
        np.concatenate([value[lines.within], value[same]]), np.arange(lines.within.sum() + same.sum()) < lines.within.sum()
    )
    result["correlation, threshold for these very lines"] = compare(value < own, lines)
    return result


def out_of_distribution(model: Model, usual: Lines) -> dict[str, dict[str, Any]]:
    """Lines of what was never trained: how often the members disagree, against lines as trained."""
    random = np.random.default_rng(80)
    z = usual.z_m[usual.allowed[:, SAME] & ~usual.allowed[:, CHANGED]][:2000]
    pixel = np.arange(PIXELS)

    def shifted(pixels: int) -> Array:
        moved = z.copy()
        moved[:, 1] = np.roll(z[:, 1], pixels, axis=1)
        return moved

    hum = 40e-12 * np.sin(2 * np.pi * pixel / 9 + random.uniform(0, 6, (len(z), 2, 1)))
    spikes = z.copy()
    spikes[np.arange(len(z)), random.integers(0, 2, len(z)), random.integers(8, PIXELS - 8, len(z))] += (
        random.choice([-1, 1], len(z)) * 200e-12
    )
    other = z[random.permutation(len(z))]
    cases = {
        "as trained, no change": z,
        "noise of 30 pm rms on top": z + random.normal(0, 30e-12, z.shape),
        "hum of 40 pm, 9 pixels": z + hum,
        "a spike of 200 pm, one pixel": spikes,
        "lines shifted by 2 pixels": shifted(2),
        "lines shifted by 8 pixels": shifted(8),
        "two lines of different frames": np.stack([z[:, 0], other[:, 1]], axis=1),
        "white noise alone, 100 pm rms": random.normal(0, 100e-12, z.shape),
    }
    result = {}
    for name, heights in cases.items():
        x = np.clip(less_line_mean(heights) / UNIT_M, -CLIP, CLIP).astype(np.float32)[:, None]
        said, agree = verdict(outputs(model, x))
        result[name] = {
            "lines": len(heights),
            "said_changed": round(float((said == CHANGED).mean()), 4),
            "disagree": round(float((~agree).mean()), 4),
        }
    return result


def real(model: Model, threshold: float, folder: Path) -> dict[str, Any]:
    """A moiré, in which nobody has seen the tip change: all that is told is taken for a false alarm. Left and right 128 of its 160 pixels."""
    from reflexarc_sim.specimens import load

    z = load(str(folder / "moire_10nm.sxm")).heights_m
    pairs = np.concatenate([np.stack([part[:-1], part[1:]], axis=1) for part in (z[:, :PIXELS], z[:, -PIXELS:])])
    x = np.clip(less_line_mean(pairs) / UNIT_M, -CLIP, CLIP).astype(np.float32)[:, None]
    said, agree = verdict(outputs(model, x))
    return {
        "lines": len(pairs),
        "said_changed": int((said == CHANGED).sum()),
        "disagree": int((~agree).sum()),
        "correlation_says_changed": int((correlation(pairs) < threshold).sum()),
    }


def measure(data: Path | None) -> dict[str, Any]:
    floating, integer = InFloat(FOLDER / "model.onnx"), InEightBits(FOLDER)
    models: dict[str, Model] = {"float": floating, "int8": integer}
    inputs, more = scores.load_inputs(FOLDER / "held_out.npz")
    metrics: dict[str, Any] = {
        name: scores.by_class(LABELS, more["allowed"], verdict(outputs(model, inputs))[0]) for name, model in models.items()
    }
    # The correlation's threshold comes from other lines than those that it is measured with.
    tuning = joined([random_lines(seed) for seed in range(13_001, 13_021)])
    same = tuning.allowed[:, SAME] & ~tuning.allowed[:, CHANGED]
    value = correlation(tuning.z_m)
    threshold = best_threshold(
        np.concatenate([value[tuning.within], value[same]]), np.arange(tuning.within.sum() + same.sum()) < tuning.within.sum()
    )
    lines = joined([random_lines(seed) for seed in RANDOM_SEEDS])
    metrics["random surfaces"] = on(models, lines, threshold)
    metrics["main job"] = on(models, joined([main_job_lines(seed) for seed in MAIN_SEEDS]), threshold)
    metrics["out_of_distribution"] = out_of_distribution(integer, lines)
    if data is not None:
        metrics["real"] = {"moire_10nm.sxm": real(integer, threshold, data)}
    elif (FOLDER / "metrics.json").exists():
        metrics |= {name: value for name, value in scores.read(FOLDER).items() if name == "real"}
    return metrics


def card(metrics: dict[str, Any]) -> str:
    def rows(part: str) -> str:
        return "\n".join(
            f"| {name} | {found['balanced_accuracy']} | {found['found']} | {found['quiet']} | {found['found_between']} |"
            for name, found in metrics[part].items()
            if isinstance(found, dict)
        )

    def about(part: str) -> str:
        found = metrics[part]
        return f"{found['lines']} lines, {found['changed']} with a change in them, {found['between']} with one before them, {found['same']} with none"

    head = "| | balanced accuracy | changes found | quiet lines left alone | changes between two lines found |\n|---|---|---|---|---|"
    strange = "\n".join(
        f"| {name} | {found['said_changed']} | {found['disagree']} |" for name, found in metrics["out_of_distribution"].items()
    )
    eight = metrics["random surfaces"]["int8"]
    real = "\n".join(
        f"- `{name}`: of {found['lines']} lines {found['said_changed']} are told to have changed, in {found['disagree']} "
        f"the members disagree; the correlation tells {found['correlation_says_changed']}."
        for name, found in metrics.get("real", {}).items()
    )
    return scores.flowed(f"""# tip_change

Looks at a line of STM topography and the line before it and tells whether the tip changed: {", ".join(LABELS)}. Three networks in one;
where they disagree, the input is unlike what
they know.

## What it sees

{ROWS} lines of {PIXELS} pixels, means of z, each less the mean of its line up to and with it (`line_mean`), 1.0 being {UNIT_M * 1e12:.0f}
pm; eight bits reach ±{CLIP * UNIT_M * 1e12:.0f} pm. An evaluation each
{PIXELS} pixels, at the end of a line of the main job's 128; of a longer line each whole {PIXELS} pixels are looked at, of a shorter one
none.

Network: {MEMBERS} members as groups of the same layers, trained on draws of their own: three convolutions along the line (the first one
over both lines; 8, 16, 16 channels a member,
stride 2 each), maxima over 4, a last convolution over what is left: 138,624 multiplications in all. The head takes the first member's
class, the least margin, and whether all agree;
where not, it makes an event of a class of its own.

## Data

280 frames of 96 lines, both ways, scanned with the twin's plant: the surfaces of [adatoms](../adatoms/card.md), 0.06 to 0.45 nm a pixel.
The plant changes its tip by itself, in one line of
ten to two of five: up to 30 to 200 pm in length, 0.1 to 0.8 nm sideways, another work function, in one of five a second apex. A change
counts from {LEAST_HEIGHT_M * 1e12:g} pm of length or
{LEAST_SHIFT_M * 1e12:g} pm sideways on. Between two lines it counts where it shifts the image by {SHIFT_PIXELS:g} pixels or changes the
second apex. In a line that follows on one
with a change, and for other changes, either answer is right.

Seeds: training 10001 to 10280; held-out 14001 to 14006; the correlation's threshold 13001 to 13020; below 17001 to 17040 and 18001 to
18020.

## How good it is

Lines, held out (`held_out.npz`), the first member's word:

{scores.class_table(metrics["float"], metrics["int8"])}

Beside a plain correlation of the two lines (Pearson's, of z as it is), called a change below a threshold that is best, by balanced
accuracy, on other lines; and with the threshold that is
best for the very lines that are counted, which nobody has in practice.

Random surfaces: {about("random surfaces")}.

{head}
{rows("random surfaces")}

Au(111) as the main job scans it, with changes of up to 100 pm and 0.5 nm in one line of ten: {about("main job")}.

{head}
{rows("main job")}

The members (eight bits, random surfaces) disagree in {eight["disagree"]:.1%} of the lines; where they agree
{eight["accuracy_where_members_agree"]:.1%} are right, where not {eight["accuracy_where_not"]:.1%}.

## Real files

{real}

## Limits

- A change of length alone that comes between two lines, or in the last {END_PIXELS} pixels, leaves no trace in lines less their means;
  one with a shift is seen where there is something to shift.
- Shifts along a line that has nothing on it are not seen, nor are work functions.
- A line that crosses a step edge or an adatom which the one before just missed is the commonest false alarm.
- Lines of {PIXELS} pixels. Other ways to cut a line were not trained.

## Out of distribution

How often the members disagree on what was never trained (eight bits):

| | said to have changed | members disagree |
|---|---|---|
{strange}

## Commands

```
python -m models.tip_change.train                           # makes everything, prints this card
python -m models.tip_change.measure --data ../shared/data   # the numbers alone, with real files
```
""")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    metrics = measure(parser.parse_args().data)
    scores.write(FOLDER, metrics, card(metrics))


if __name__ == "__main__":
    main()
