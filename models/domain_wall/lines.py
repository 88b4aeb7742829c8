"""Lines of PFM phase with what is on them: a model of the response, not of a plant.

The lock-in's output is a vector: piezoresponse (its sign is the domain's, a wall is a smooth change of sign as wide as the tip is blunt), a
constant background (electrostatic and cantilever) that makes the contrast differ from 180 degrees, noise, and regions where the response
fades. The lock-in's low-pass works on the vector; then its angle is taken. So phase is noisy exactly where amplitude is small, as in real files.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
LABELS = ("none", "wall", "glitch")
NONE, WALL, GLITCH = range(3)
RECORDS = 33
MIDDLE = RECORDS // 2
PIXELS = 256
UNIT_DEG = 90.0  # 1.0 of the model's input
UNIT_V = 5.0  # the same at a lock-in of 10 V for 180 degrees
CLIP = 3.0  # units that the eight bits of the input reach
HOP = 2  # pixels from one evaluation to the next; a wall is in the middle of one of them
MARGIN = 1.0  # of an event, over the second greatest output
CENTER = (MIDDLE, 0)  # record and row, back from the newest, where a wall is
NEAR = 1.0  # pixels: a wall is in the middle of the window
FAR = 1.15  # and it is not; between the two either answer will do,
WILD_FAR = 1.6  # and up to here where the wall is wild
CONTRAST_DEG = 45.0  # of a wall, at least


@dataclass(frozen=True)
class PhaseLines:
    """``phase_deg`` (lines, pixels); ``allowed`` (lines, places, classes) of each window (all, not each HOP-th), by its oldest pixel; ``walls``:
    places of the certain walls of each line, in pixels."""

    phase_deg: Array
    allowed: NDArray[np.bool_]
    walls: list[Array]


def _one(random: np.random.Generator) -> tuple[Array, Array, NDArray[np.bool_], Array]:
    """Phase; places of certain walls, and within how many pixels of each a window may be said to have it; where a glitch is; places of walls
    that nobody can be certain of."""
    x = np.arange(PIXELS, dtype=float)
    mean = math.exp(random.uniform(math.log(12), math.log(120)))
    places, at = [], float(random.uniform(-20, mean))
    while at < PIXELS + 10:
        places.append(at)
        at += 5 + random.exponential(mean)
    width = math.exp(random.uniform(math.log(0.4), math.log(4.0)))
    sign = np.full(PIXELS, random.choice([-1.0, 1.0]))
    for place in places:
        sign *= np.tanh((x - place) / width)
    strength = 1 + random.uniform(0, 0.3) * np.sin(x * random.uniform(0.01, 0.05) + random.uniform(0, 6))
    dead = np.zeros(PIXELS)
    for _ in range(random.choice([0, 0, 0, 1, 2])):
        middle, half = random.uniform(0, PIXELS), random.uniform(3, 30)
        dead = np.maximum(dead, 0.5 * (1 - np.tanh((np.abs(x - middle) - half) / 2)))
    strength = strength * (1 - dead) + 0.02 * dead
    background = random.choice([0.0, random.uniform(0, 0.6)]) * np.exp(1j * random.uniform(0, 2 * np.pi)) * (1 - dead)
    noise = math.exp(random.uniform(math.log(0.012), math.log(0.16)))
    vector = strength * sign + background + noise * (random.normal(size=PIXELS) + 1j * random.normal(size=PIXELS))
    disorder = {}  # half width of each wall's
    if random.random() < 0.5:
        for place in places:
            disorder[place] = random.uniform(0.7, 3.0)
            here = np.exp(-((x - place) ** 2) / (2 * (disorder[place] / 1.5) ** 2))
            wild = random.normal(size=PIXELS) + 1j * random.normal(size=PIXELS)
            vector = vector * (1 - random.uniform(0.3, 0.9) * here) + random.uniform(0.1, 0.7) * wild * here
    share = random.uniform(0.55, 1.0)  # of the way that the lock-in's low-pass goes in a pixel
    for k in range(1, PIXELS):
        vector[k] = vector[k - 1] + share * (vector[k] - vector[k - 1])
    lag = (1 - share) / share
    turn = np.cumsum(random.normal(size=PIXELS)) * random.uniform(0, 0.01) + random.uniform(-0.6, 0.6) * (x / PIXELS)
    phase = np.angle(vector * np.exp(1j * turn))
    # The instrument's offset: neither domain is near the place where the angle wraps, but it may lie between them on the shorter way, which the
    # angle takes at a wall; then the wall overshoots on both sides.
    levels = np.angle(np.array([1, -1]) + np.mean(background))
    low = math.remainder(levels[1] - levels[0], 2 * math.pi)
    middle_of_both = levels[0] + low / 2
    between = abs(low) > 1.2 and random.random() < 0.4
    origin = middle_of_both + (math.pi + random.uniform(-0.5, 0.5) * (abs(low) / 2 - 0.4) if between else random.uniform(-0.4, 0.4))
    first = random.choice([-180.0, -90.0, -180.0])
    phase_deg = np.degrees(np.mod(phase - origin + math.pi, 2 * math.pi)) - 180.0
    phase_deg = phase_deg + (first + 180.0)
    if random.random() < 0.5:
        phase_deg = first + 180.0 - (phase_deg - first - 180.0)
    glitch = dead > 0.5
    unsure, certain = [], []
    for place in places:
        here = place + lag
        if not 0 <= here <= PIXELS - 1:
            continue
        off = round(disorder.get(place, 0.0) + max(1.0, width))
        sides = [phase_deg[max(0, int(here) - off - 5) : max(0, int(here) - off)], phase_deg[int(here) + off + 2 : int(here) + off + 7]]
        clear = all(len(side) > 2 and np.median(np.abs(side - np.median(side))) < 0.25 * CONTRAST_DEG for side in sides)
        clear = clear and abs(np.median(sides[0]) - np.median(sides[1])) > CONTRAST_DEG
        if clear:
            certain.append((here, min(max(FAR, disorder.get(place, 0.0)), WILD_FAR)))
        else:
            unsure.append(here)
    for _ in range(random.choice([0, 1, 4])):
        begin, length = int(random.integers(PIXELS)), int(random.integers(1, 4))
        if all(abs(begin - place) > 6 for place in [place for place, _ in certain] + unsure):
            phase_deg[begin : begin + length] += random.choice([-1, 1]) * random.uniform(50, 200)
            glitch[begin : begin + length] = True
    return phase_deg, np.array(certain).reshape(-1, 2), glitch, np.array(unsure)


def draw(lines: int, seed: int) -> PhaseLines:
    """The same number and seed give the same lines."""
    random = np.random.default_rng([seed, 180])
    count = PIXELS - RECORDS + 1
    phases, allowed, walls = [], np.zeros((lines, count, len(LABELS)), bool), []
    middle = np.arange(count) + MIDDLE
    pixel = np.arange(PIXELS)
    for k in range(lines):
        phase, certain, glitch, unsure = _one(random)
        near_glitch = np.array([glitch[np.abs(pixel - at) <= 1].any() for at in middle])
        by_glitch = np.array([glitch[np.abs(pixel - at) <= 3.5].any() for at in middle])
        allowed[k, :, NONE] = ~near_glitch
        allowed[k, :, GLITCH] = by_glitch
        for place, far in certain:
            distance = np.abs(middle - place)
            allowed[k, distance < NEAR] = np.arange(len(LABELS)) == WALL
            allowed[k, (distance >= NEAR) & (distance < far), WALL] = True
            if far > FAR:  # a wall that is wild for some pixels may look like a glitch beside its middle
                allowed[k, (distance >= NEAR) & (distance < far + 2), GLITCH] = True
        for place in unsure:
            allowed[k, np.abs(middle - place) < 4] = True
        phases.append(phase)
        walls.append(certain[:, 0])
    return PhaseLines(np.array(phases), allowed, walls)


def as_input(phase_deg: Array) -> NDArray[np.float32]:
    """Lines (n, pixels) in units."""
    return np.clip(phase_deg / UNIT_DEG, -CLIP, CLIP).astype(np.float32)
