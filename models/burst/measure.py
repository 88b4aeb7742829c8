"""What the classifier of bursts finds, in floating point and in eight bits; writes metrics.json and card.md. Needs no PyTorch.

python -m models.burst.measure
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from models.burst.bursts import CLIP, CONTACT_A, CONTACT_SAMPLES, LABELS, MARGIN, SAMPLES, UNIT_A, WEAK, WEAK_A, Bursts, as_input, draw
from models.common import scores
from models.common.onnx_run import Float32, InEightBits, InFloat

FOLDER = Path(__file__).parent
Model = InFloat | InEightBits
STEP = CLIP / 127
BURSTS = 20_000


def rounded(inputs: Float32) -> Float32:
    return np.clip(np.round(inputs / STEP), -128, 127).astype(np.float32) * np.float32(STEP)


def out_of_distribution(model: Model) -> dict[str, Any]:
    """Bursts of what was never trained: which share is said to be what, with the margin of an event."""
    random = np.random.default_rng(79)
    time = np.arange(SAMPLES)
    count = 1000
    phase, level = random.uniform(0, 2 * np.pi, (count, 1)), random.uniform(50e-12, 150e-12, (count, 1))
    noise = random.normal(0, 2e-12, (count, SAMPLES))
    cases = {
        "no current, tip withdrawn": noise,
        "loop ringing at 60 kHz, 20 %": level * (1 + 0.2 * np.sin(2 * np.pi * 60e3 * 560e-9 * time + phase)) + noise,
        "hum or ringing at 10 kHz, 20 %": level * (1 + 0.2 * np.sin(2 * np.pi * 10e3 * 560e-9 * time + phase)) + noise,
        "white noise of 20 pA rms": level + 10 * noise,
        "one spike of 200 pA, one sample": level + noise + 200e-12 * (time == random.integers(0, SAMPLES, (count, 1))),
        "setpoint of 600 pA": 600e-12 + noise,
        "a converter that stands still": np.broadcast_to(level, noise.shape),
    }
    result = {}
    for name, current in cases.items():
        found = model.run(rounded(as_input(current)))
        ranked = np.sort(found, axis=1)
        eventful = (ranked[:, -1] - ranked[:, -2] >= MARGIN) & (found.argmax(axis=1) > 0)
        said = {label: round(float((eventful & (found.argmax(axis=1) == k)).mean()), 4) for k, label in enumerate(LABELS) if k}
        result[name] = {"bursts": count, **said}
    return result


def drawn(model: Model, bursts: Bursts) -> dict[str, Any]:
    """Of bursts that are drawn anew; ``events`` with their margin."""
    found = model.run(rounded(as_input(bursts.current_A)))
    ranked, said = np.sort(found, axis=1), found.argmax(axis=1)
    told = ranked[:, -1] - ranked[:, -2] >= MARGIN
    right = bursts.allowed[np.arange(len(said)), said]
    sure = bursts.allowed.sum(axis=1) == 1
    events = {
        label: {
            "precision": round(float(right[told & (said == k)].mean()), 4),
            "recall": round(float((told & (said == k))[bursts.allowed[:, k] & sure].mean()), 4),
        }
        for k, label in enumerate(LABELS)
        if k
    }
    return {**scores.by_class(LABELS, bursts.allowed, said), "events": events}


def measure() -> dict[str, Any]:
    floating, integer = InFloat(FOLDER / "model.onnx"), InEightBits(FOLDER)
    models: dict[str, Model] = {"float": floating, "int8": integer}
    held_out, more = scores.load_inputs(FOLDER / "held_out.npz")
    metrics: dict[str, Any] = {
        name: scores.by_class(LABELS, more["allowed"], model.run(held_out).argmax(axis=1)) for name, model in models.items()
    }
    bursts = draw(BURSTS, 3)
    metrics["drawn"] = {name: drawn(model, bursts) for name, model in models.items()}
    metrics["out_of_distribution"] = out_of_distribution(integer)
    return metrics


def card(metrics: dict[str, Any]) -> str:
    floating, eight = metrics["drawn"]["float"], metrics["drawn"]["int8"]
    events = "\n".join(
        f"| {label} | {found['precision']} | {found['recall']} | {eight['events'][label]['precision']} | {eight['events'][label]['recall']} |"
        for label, found in floating["events"].items()
    )
    strange = "\n".join(f"| {name} | {found['telegraph']} | {found['contact']} |" for name, found in metrics["out_of_distribution"].items())
    return scores.flowed(f"""# burst

Looks at {SAMPLES} raw samples of the tunnelling current, 36 µs, within a pixel and tells: {", ".join(LABELS)}.

## What it sees

Each sample as the converter has it (`sample`), 1.0 being {UNIT_A * 1e12:.0f} pA; eight bits reach ±{CLIP * UNIT_A * 1e12:.0f} pA in steps
of {STEP * UNIT_A * 1e12:.1f} pA. Of a pixel of 286 samples four bursts
are looked at, one after the other; a pixel shorter than {SAMPLES} samples has none. Either polarity. An event is *telegraph* or
*contact*, at least {MARGIN:g} above the second.

Network: 64-32-16-3, fully connected, 2,608 multiplications.

## Data

120,000 bursts from the twin's plant, feedback on (1 to 6 kHz), the tip in motion at up to 2.5 µm/s over Au(111) and graphene, 30 to 200
pA at 0.5 V, work functions of
3.6 to 5.2 eV, 1/f noise from a third to three times the plant's. Telegraph noise: the apex hops by a height that changes the current by a
factor of 1.15 to 3.5, 4 to 22
samples in each level on average. Contact: a surface that comes at 5 to 60 µm/s, an atom that bridges the gap, a bridge that breaks now
and then. One in ten of the
normal ones has a tip change.

What may be said of a burst: *contact* if the current is above {CONTACT_A * 1e9:g} nA for {CONTACT_SAMPLES} samples, without them also
something else; *telegraph* if it was made so, and nothing
else where it hops at least twice and moves the current by at least {WEAK:.0%} of its mean and by {WEAK_A * 1e12:g} pA (rms, behind the
preamplifier's 50 kHz); otherwise *normal* will do as
well.

Seeds: training 1, held-out 2, the numbers below 3.

## How good it is

{scores.class_table(floating, eight)}

*Inputs* are those with one right answer. On the stored ones (`held_out.npz`) {metrics["float"]["accuracy"]} are right, in eight bits
{metrics["int8"]["accuracy"]}. As events, with their margin:

| | precision | recall | precision, int8 | recall, int8 |
|---|---|---|---|---|
{events}

## Limits

- Currents beyond ±{CLIP * UNIT_A * 1e12:.0f} pA look alike: a setpoint above some 350 pA is taken for a contact. A larger unit
  (`--channel current:1nA`) makes room, and telegraph noise coarser.
- Hopping faster than the preamplifier (50 kHz) or slower than the burst is not seen. A single change within a burst may be called either.
- Trained with the twin's linear preamplifier of 1 V/nA; behind a logarithmic one currents are no codes.
- Contact has no fixed threshold here; the interlock's, at 2 nA, trips within two cycles and does not wait for a network.

## Out of distribution

There is no flag for what it does not know. A thousand bursts of each that was never trained; which share makes an event:

| | telegraph | contact |
|---|---|---|
{strange}

A loop that rings, spikes, and noise far above the preamplifier's are taken for telegraph noise.

## Commands

```
python -m models.burst.train      # makes everything, prints this card
python -m models.burst.measure    # the numbers alone
```
""")


def main() -> None:
    metrics = measure()
    scores.write(FOLDER, metrics, card(metrics))


if __name__ == "__main__":
    main()
