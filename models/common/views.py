"""What the gateware gives a model, from whole images: windows of lines and pixels already scanned, and events with their neighbours left out."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.float64]


def less_line_mean(image: Array) -> Array:
    """Each value less the mean of its line up to and with it. Lines are the last axis but one, pixels the last, in the order of time."""
    counts = np.arange(1, image.shape[-1] + 1)
    return np.asarray(image - np.cumsum(image, axis=-1) / counts)


def windows(image: Array, rows: int, records: int) -> Array:
    """All windows of an image (lines, pixels): shape (lines - rows + 1, pixels - records + 1, rows, records), a view.

    The one at [i, j] ends with line i + rows - 1 and pixel j + records - 1, which is the newest.
    """
    return np.asarray(sliding_window_view(image, (rows, records)))


def keep_apart(lines: NDArray[np.int64], pixels: NDArray[np.int64], radius: int) -> NDArray[np.int64]:
    """Which events remain, as indices: in the order of time, those that have none of the remaining ones within ``radius`` lines and pixels."""
    kept: list[int] = []
    for k in np.lexsort((pixels, lines)):
        if all(max(abs(lines[k] - lines[other]), abs(pixels[k] - pixels[other])) > radius for other in kept):
            kept.append(int(k))
    return np.array(kept, int)


def match(found: Array, true: Array, within: float) -> tuple[int, int, int]:
    """Events, shape (n, 2), against features, (m, 2): how many features are found, how many events stand at none, how many at one that is
    found already. Nearest pairs first; an event takes one feature."""
    if not len(found) or not len(true):
        return 0, len(found), 0
    distances = np.linalg.norm(found[:, None] - true[None], axis=2)
    stray = int((distances.min(axis=1) > within).sum())
    left_events, left_features, hits = set(range(len(found))), set(range(len(true))), 0
    for event, feature in np.argwhere(distances <= within)[np.argsort(distances[distances <= within])]:
        if event in left_events and feature in left_features:
            left_events.discard(event)
            left_features.discard(feature)
            hits += 1
    return hits, stray, len(found) - stray - hits
