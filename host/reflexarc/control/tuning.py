"""Gains for a measured response."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reflexarc.control.loop import Gains, Margins, margins
from reflexarc.control.response import Response

PEAK_MAX = 1.4  # of |1 / (1 + L)|: a well damped loop; Astrom and Hagglund, Advanced PID Control (2006), ch. 4: 1.2 to 2
GAIN_DB_MIN = 6.0
PHASE_DEG_MIN = 60.0
KP_SAMPLES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)  # proportional gain in integral gains a sample


@dataclass(frozen=True)
class Tuning:
    """What was found, and how far it is from ringing."""

    gains: Gains
    margins: Margins


def tune(response: Response) -> Tuning:
    """The greatest integral gain that keeps peak, gain and phase margin, over a few shares of proportional gain.

    The integral gain is what a disturbance of the surface is rejected by: the error it leaves is its slope over the gain (same source, ch.
    4). ValueError for a response that no positive gain suits.
    """
    slow = response.gain_per_m[:3].mean()
    if slow.real >= 0:
        raise ValueError("a rise of z does not lower the signal; look at the linearizer's sense, or whether the tip is at the surface")
    best: Tuning | None = None
    for share in KP_SAMPLES:
        low, high = 0.0, 1 / abs(slow)
        for _ in range(40):
            middle = (low + high) / 2
            if _fits(margins(response, Gains(share * middle, middle))):
                low = middle
            else:
                high = middle
        if low > 0 and (best is None or low > 1.02 * best.gains.ki_m):
            gains = Gains(share * low, low)
            best = Tuning(gains, margins(response, gains))
    if best is None or not np.isfinite(best.margins.gain_dB):
        raise ValueError("no gain keeps the margins; measure again with a larger excitation")
    return best


def _fits(found: Margins) -> bool:
    return found.peak <= PEAK_MAX and found.gain_dB >= GAIN_DB_MIN and found.phase_deg >= PHASE_DEG_MIN
