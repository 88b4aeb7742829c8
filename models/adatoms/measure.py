"""What the detector of adatoms finds, in floating point and in eight bits; writes metrics.json and card.md. Needs no PyTorch.

    python -m models.adatoms.measure
    python -m models.adatoms.measure --data ../shared/data --twin out/*/scan.h5

Without --data or --twin the numbers of the last time stay.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from models.adatoms.scenes import (
    ADATOM,
    CENTER,
    CLIP,
    FAR,
    LABELS,
    MARGIN,
    NEAR,
    PITCHES_M,
    RADIUS,
    SIDE,
    UNIT_M,
    Array,
    Scene,
    plain,
    random_scene,
)
from models.common import scores
from models.common.onnx_run import InEightBits, InFloat
from models.common.scans import Plan
from models.common.views import keep_apart, less_line_mean, match, windows
from numpy.typing import NDArray

from reflexarc_sim.plants.stm import StmParameters
from reflexarc_sim.specimens import Specimen, au111

FOLDER = Path(__file__).parent
Model = InFloat | InEightBits
WITHIN = 2.5  # pixels: an event is at an adatom
STEP = CLIP / 127
MAIN_SEEDS = range(1001, 1021)  # 50 nm
SMALL_SEEDS = range(1021, 1031)  # 30 nm
RANDOM_SEEDS = range(5001, 5041)
MADE_OF = """180 frames of 128 × 128 pixels, both ways of each line, scanned with the twin's plant (`common/scans.py`): Au(111) and, one in seven,
graphene, turned by any angle, with adatoms and vacancies, islands and large blobs added; 0.06 to 0.45 nm a pixel, 50 to 180 µs a pixel, loops
of 2.5 to 6 kHz, 50 to 400 pA, drift of up to 40 pm/s, 1/f noise from a third to seven times the plant's. Windows were varied in height
(±15 %), noise, jumps between lines and scars."""
GROUPS_NM = ((0.06, 0.1), (0.1, 0.2), (0.2, 0.3), (0.3, 0.45))


def outputs(model: Model, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """[line, pixel, class] of each window, by its oldest line and pixel."""
    seen = windows(np.clip(np.round(image / STEP), -127, 127) * np.float32(STEP), SIDE, SIDE)
    found = model.run(seen.reshape(-1, 1, SIDE, SIDE).astype(np.float32))
    return found.reshape(*seen.shape[:2], -1)


def events(model: Model, image: NDArray[np.float32], kind: int = ADATOM) -> Array:
    """Line and pixel of each event, as the gateware would make them."""
    found = outputs(model, image)
    ranked = np.sort(found, axis=-1)
    line, pixel = np.nonzero((found.argmax(axis=-1) == kind) & (ranked[..., -1] - ranked[..., -2] >= MARGIN))
    kept = keep_apart(line, pixel, RADIUS)
    return np.stack([line[kept] + SIDE - 1 - CENTER[1], pixel[kept] + SIDE - 1 - CENTER[0]], axis=1).astype(float)


def reachable(places: Array, lines: int, pixels: int) -> Array:
    """Those that can be in the middle of a window, to within a pixel."""
    low, middle = SIDE // 2 - 1, np.array([lines, pixels]) - SIDE // 2
    return places[((places >= low) & (places <= middle)).all(axis=1)]


class Count:
    """Events against features."""

    def __init__(self) -> None:
        self.frames = self.true = self.hits = self.stray = self.double = self.beyond = 0

    def add(self, found: Array, places: Array, shape: tuple[int, int]) -> None:
        inside = reachable(places, *shape)
        hits, _, _ = match(found, inside, WITHIN)
        _, stray, double = match(found, places, WITHIN)
        self.frames += 1
        self.true += len(inside)
        self.beyond += len(places) - len(inside)
        self.hits += hits
        self.stray += stray
        self.double += double

    def result(self) -> dict[str, Any]:
        told = self.hits + self.stray + self.double
        return {
            "frames": self.frames,
            "adatoms": self.true,
            "found": self.hits,
            "stray": self.stray,
            "double": self.double,
            "beyond_reach": self.beyond,
            "precision": round(self.hits / told, 4) if told else None,
            "recall": round(self.hits / self.true, 4) if self.true else None,
        }


def count(model: Model, scenes: Iterable[Scene], kind: int = ADATOM) -> Count:
    total = Count()
    for scene in scenes:
        for direction in range(2):
            total.add(events(model, scene.image[direction], kind), scene.places[direction][kind], scene.image.shape[1:])
    return total


def main_job(seed: int, size_m: float) -> Scene:
    return plain(au111.generate(size_m, size_m, seed), Plan(128, 128, size_m / 128), seed)


def on_twin(model: Model, path: Path) -> Count:
    """A scan of Au(111) by the twin itself, both ways."""
    from reflexarc.store import read_scan

    found = read_scan(path)
    geometry = found.geometry
    specimen = au111.generate(seed=int(found.attributes["seed"]))
    plan = Plan(geometry.pixels, geometry.lines, geometry.width_m / geometry.pixels)
    total = Count()
    for sign, channels in ((1, found.forward), (-1, found.backward)):
        image = np.clip(less_line_mean(channels.z_m[:, ::sign]) / UNIT_M, -CLIP, CLIP).astype(np.float32)
        places = np.array([[f.y_m, sign * f.x_m] for f in specimen.features]) / plan.pitch_m
        places += [(plan.lines - 1) / 2, (plan.pixels - 1) / 2 + plan.lag_pixels]
        shape = (plan.lines, plan.pixels)
        total.add(events(model, image), places[((places >= 0) & (places <= np.array(shape) - 1)).all(axis=1)], shape)
    return total


def alarms(model: Model, images: Iterable[Array]) -> dict[str, Any]:
    """Events on heights (metres) without an adatom."""
    found = [len(events(model, np.clip(less_line_mean(z) / UNIT_M, -CLIP, CLIP).astype(np.float32))) for z in images]
    return {"frames": len(found), "events": sum(found)}


def out_of_distribution(model: Model) -> dict[str, dict[str, Any]]:
    """Frames of what was never trained."""
    random = np.random.default_rng(77)
    shape = (128, 128)
    result: dict[str, dict[str, Any]] = {}
    for noise_pm in (3, 10, 30):
        result[f"white noise, {noise_pm} pm rms"] = alarms(model, [random.normal(0, noise_pm * 1e-12, shape) for _ in range(5)])

    def scarred() -> Array:
        z = random.normal(0, 2e-12, shape)
        for _ in range(60):
            begin = random.integers(128)
            z[random.integers(128), begin : begin + random.integers(3, 40)] += random.uniform(-300e-12, 300e-12)
        return np.asarray(z)

    result["60 scars of up to 300 pm"] = alarms(model, [scarred() for _ in range(5)])
    pixel = np.arange(128)
    for period in (6, 10, 16):
        waves = np.cos(2 * np.pi * pixel / period)
        result[f"bumps on a square lattice of {period} pixels, 100 pm"] = alarms(
            model, [50e-12 * (waves[:, None] + waves[None]) / 1 for _ in range(1)]
        )
    tilted = [main_job(seed, 50e-9) for seed in range(1041, 1045)]
    for slope in (0.005, 0.02):
        total = Count()
        for scene in tilted:
            z = scene.scan.z_m[0] + slope * pixel * scene.scan.plan.pitch_m
            image = np.clip(less_line_mean(z) / UNIT_M, -CLIP, CLIP).astype(np.float32)
            total.add(events(model, image), scene.places[0][ADATOM], shape)
        result[f"main job, tilted by {slope:g}"] = total.result()
    for pitch_nm in (0.05, 0.6, 0.8):
        size_m = 128 * pitch_nm * 1e-9
        scenes = [
            plain(au111.generate(max(size_m, 30e-9), max(size_m, 30e-9), seed), Plan(128, 128, pitch_nm * 1e-9), seed)
            for seed in range(1051, 1055)
        ]
        result[f"pixels of {pitch_nm:g} nm"] = count(model, scenes).result()
    doubles = [_doubled(seed) for seed in range(1061, 1065)]
    result["double tip, 1.5 nm apart"] = count(model, doubles).result()
    return result


def _doubled(seed: int) -> Scene:
    """What a blunt tip with two apices sees: the higher of two copies; only the first is called true."""
    specimen = au111.generate(seed=seed)
    shift = round(1.5e-9 / specimen.size_x_m * specimen.heights_m.shape[1])
    second = np.roll(specimen.heights_m, shift, axis=1) - 20e-12
    heights = np.maximum(specimen.heights_m, second)
    both = Specimen(np.ascontiguousarray(heights), specimen.size_x_m, specimen.size_y_m, "double", specimen.features)
    return plain(both, Plan(128, 128, 50e-9 / 128), seed, StmParameters())


def real(model: Model, folder: Path) -> dict[str, Any]:
    """A moiré without adatoms, 0.0625 nm a pixel, as it is and in coarser pixels."""
    from reflexarc_sim.specimens import load

    z = load(str(folder / "moire_10nm.sxm")).heights_m
    coarse = z[: len(z) // 2 * 2, : z.shape[1] // 2 * 2].reshape(len(z) // 2, 2, -1, 2).mean(axis=(1, 3))
    return {"0.0625 nm": alarms(model, [z]), "0.125 nm": alarms(model, [coarse])}


def measure(twin: list[Path], data: Path | None) -> dict[str, Any]:
    floating, integer = InFloat(FOLDER / "model.onnx"), InEightBits(FOLDER)
    inputs, more = scores.load_inputs(FOLDER / "held_out.npz")
    metrics: dict[str, Any] = {
        name: scores.by_class(LABELS, more["allowed"], model.run(inputs).argmax(axis=1))
        for name, model in (("float", floating), ("int8", integer))
    }
    main_scenes = [main_job(seed, 50e-9) for seed in MAIN_SEEDS]
    small_scenes = [main_job(seed, 30e-9) for seed in SMALL_SEEDS]
    metrics["frames"] = {
        "main job, 50 nm": count(integer, main_scenes).result(),
        "main job, 50 nm, in floating point": count(floating, main_scenes).result(),
        "30 nm": count(integer, small_scenes).result(),
    }
    groups = {group: Count() for group in GROUPS_NM}
    vacancies = Count()
    for scene in (random_scene(seed) for seed in RANDOM_SEEDS):
        group = next(g for g in GROUPS_NM if g[0] <= scene.scan.plan.pitch_m * 1e9 <= g[1])
        for direction in range(2):
            image, places = scene.image[direction], scene.places[direction]
            groups[group].add(events(integer, image), places[ADATOM], image.shape)
            vacancies.add(events(integer, image, 2), places[2], image.shape)
    for (low, high), total in groups.items():
        metrics["frames"][f"random scenes, {low:g} to {high:g} nm a pixel"] = total.result()
    metrics["frames"]["random scenes, vacancies"] = vacancies.result()
    metrics["out_of_distribution"] = out_of_distribution(integer)
    known = scores.read(FOLDER) if (FOLDER / "metrics.json").exists() else {}
    if twin:
        total = Count()
        for path in twin:
            one = on_twin(integer, path)
            for name, value in vars(one).items():
                setattr(total, name, getattr(total, name) + value)
        metrics["frames"]["twin"] = total.result()
    elif "twin" in known.get("frames", {}):
        metrics["frames"]["twin"] = known["frames"]["twin"]
    if data is not None:
        metrics["real"] = real(integer, data)
    elif "real" in known:
        metrics["real"] = known["real"]
    frames = [(scene.image[0], scene.places[0][ADATOM]) for scene in (main_scenes[0], small_scenes[0])]
    images = np.stack([np.clip(np.round(image / STEP), -127, 127).astype(np.int8) for image, _ in frames])
    np.savez_compressed(FOLDER / "frames.npz", x=images, x_step=np.float32(STEP), places_0=frames[0][1], places_1=frames[1][1])
    return metrics


def _row(name: str, found: dict[str, Any]) -> str:
    return (
        f"| {name} | {found['frames']} | {found['adatoms']} | {found['found']} | {found['stray']} | {found['double']} | {found['precision']} | "
        f"{found['recall']} |"
    )


def card(metrics: dict[str, Any]) -> str:
    head = "| | frames | there | found | stray | double | precision | recall |\n|---|---|---|---|---|---|---|---|"
    frames = "\n".join(_row(name, found) for name, found in metrics["frames"].items())
    strange = metrics["out_of_distribution"]
    scored = "\n".join(_row(name, found) for name, found in strange.items() if "adatoms" in found)
    alarmed = [*strange.items(), *((f"moire_10nm.sxm, {name} a pixel", found) for name, found in metrics.get("real", {}).items())]
    alarm = "\n".join(f"| {name} | {found['frames']} | {found['events']} |" for name, found in alarmed if "events" in found)
    beyond = metrics["frames"]["main job, 50 nm"]["beyond_reach"]
    return scores.flowed(f"""# adatoms

Looks at the last {SIDE} × {SIDE} pixels of an STM topography and tells what is in their middle: {", ".join(LABELS)}.

## What it sees

Means of z, each less the mean of its line up to and with it (`line_mean`), 1.0 being {UNIT_M * 1e12:.0f} pm; eight bits reach
±{CLIP * UNIT_M * 1e12:.0f} pm in steps of
{STEP * UNIT_M * 1e12:.1f} pm. Lines oldest first, pixels in the order of time. The newest pixel is the last one of the last line, so an
adatom is told of
{CENTER[1]} lines and {CENTER[0]} pixels after the tip was over it, where an event first stands out; `center` says so, and the event's
place is put back by as much.
An event is a greatest output *adatom* that is at least {MARGIN:g} above the second, and {RADIUS} pixels and lines around it there is no
second event.

Network: two convolutions of 3 × 3 with stride 2 (8 and 16 channels), two fully connected layers (16, {len(LABELS)}), 26,120
multiplications.

## Data

{MADE_OF} One window in some hundred was kept, all of those with a feature in the middle; what the first round got wrong went into the
second one twice. A window
may have more than one right answer: between {NEAR} and {FAR} pixels from a feature, beside a step.

Seeds: training 1 to 180; held-out windows 4001 to 4012; frames below 1001 to 1030 and 5001 to 5040.

## How good it is

Single windows, held out (`held_out.npz`). *Inputs* are those with one right answer; they are the hard ones, for windows near features and
steps were preferred.

{scores.class_table(metrics["float"], metrics["int8"])}

Whole frames, slid over as the gateware does it: events in eight bits after suppression, against the adatoms that are in reach; *found*:
an event within
{WITHIN} pixels; *stray*: none there; *double*: a second event at one. Both ways of each line count as a frame.

{head}
{frames}

*main job* is Au(111) of 50 nm in 128 × 128 pixels, 160 µs each, loop at 4 kHz, as `make run` has it. *twin* are scans by the twin itself
(`reflexarc scan`, seeds 1
and 2, frames of 50 and 30 nm), that is by the gateware. *random scenes* are those of the training, other seeds; their adatoms are 90 to
210 pm high and 1.9 to 13
pixels wide, some of them beside each other or near a step.

In eight bits the input's steps and all sums are those of the canonical model in onnxruntime.

## Limits

- **Reach.** What is within {SIDE // 2 - 1} pixels of the frame's edge is in the middle of no window; in the main job's frames above that
  were {beyond} adatoms.
- **Pixels.** An adatom must be 2 to 13 pixels wide at half height; trained from {PITCHES_M[0] * 1e9:g} to {PITCHES_M[1] * 1e9:g} nm a
  pixel on gold. Smaller and larger pixels: below.
- **Height.** 90 to 210 pm and 350 pm or more are told apart; what lies between is untrained. Large blobs are meant to be *clean*.
- **Tilt.** The mean of the line takes offsets away, not slopes: give the scan its plane. Below, what a slope does.
- **Vacancies** are holes of 60 to 180 pm. In graphene, where the twin's are as wide as two pixels at best, the network sees the pattern
  around them.
- A step that runs along the lines is invisible in a line less its mean. A step is told within 1.5 pixels of its edge.
- Trained without atomic resolution on metals, without adsorbates, without a second tip: each adatom is then told of twice.

## Out of distribution

The network has no flag for what it does not know; the margin is all. Frames of 128 × 128 pixels in which there is no adatom:

| | frames | events |
|---|---|---|
{alarm}

and such as were not trained, with adatoms:

{head}
{scored}

Noise of 30 pm in each pixel and scars are what makes false alarms; a slope that takes the line out of the input's range costs adatoms.

## Commands

```
python -m models.adatoms.train                                     # makes everything, prints this card
python -m models.adatoms.measure --data ../shared/data --twin ...  # the numbers alone, with real files and scans of the twin
```
""")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--twin", type=Path, nargs="*", default=[])
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    metrics = measure(options.twin, options.data)
    scores.write(FOLDER, metrics, card(metrics))


if __name__ == "__main__":
    main()
