"""Pictures of a control loop: the measured response, the loop with its margins."""

from __future__ import annotations

import os

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reflexarc.control import Gains, Margins, Response, loop_gain
from reflexarc.report.figure import DPI, GRID, MEASURED, QUIET, STYLE, TRIP, TRUE, write_png

Complex = NDArray[np.complex128]


def draw_bode(
    path_png: str | os.PathLike[str],
    response: Response,
    title: str,
    *,
    gains: Gains | None = None,
    margins: Margins | None = None,
    theory: Complex | None = None,
) -> None:
    """Magnitude and phase over frequency: the plant as it was measured (``theory`` at the same frequencies beside it), and the loop.

    StoreError if the file can't be written.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        figure = Figure(figsize=(11, 8), dpi=DPI, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        figure.suptitle(title, x=0.01, ha="left", fontsize=15, fontweight="bold")
        magnitude, phase = figure.subplots(2, 1, sharex=True)
        frequency = response.frequency_Hz
        reference = 20 * np.log10(np.abs(response.gain_per_m[:3]).mean())
        turn = 180.0  # z up lowers the current: the plant is drawn without its sign
        decibels = 20 * np.log10(np.abs(response.gain_per_m)) - reference
        error = 20 / np.log(10) * response.deviation / np.abs(response.gain_per_m)
        magnitude.errorbar(
            frequency,
            decibels,
            error,
            fmt="o",
            ms=3.5,
            color=MEASURED,
            lw=0.8,
            label=f"plant, 0 dB = {10 ** (reference / 20) * 1e-9:.3g} octaves/nm",
        )
        degrees = np.degrees(np.unwrap(np.angle(-response.gain_per_m)))
        phase.errorbar(
            frequency,
            degrees,
            np.degrees(response.deviation / np.abs(response.gain_per_m)),
            fmt="o",
            ms=3.5,
            color=MEASURED,
            lw=0.8,
            label="plant",
        )
        if theory is not None:
            magnitude.plot(frequency, 20 * np.log10(np.abs(theory)) - reference, color=TRUE, lw=1.4, label="theory")
            phase.plot(frequency, np.degrees(np.unwrap(np.angle(-theory))), color=TRUE, lw=1.4, label="theory")
        if gains is not None:
            fine = np.geomspace(frequency[0], frequency[-1], 1000)
            loop = loop_gain(response, gains, fine)
            magnitude.plot(fine, 20 * np.log10(np.abs(loop)), color=TRIP, lw=1.4, label="loop")
            phase.plot(fine, np.degrees(np.unwrap(np.angle(loop))), color=TRIP, lw=1.4, label="loop")
        if margins is not None:
            text = (
                f"bandwidth {margins.bandwidth_Hz:.3g} Hz\ngain margin {margins.gain_dB:.1f} dB\nphase margin {margins.phase_deg:.0f}°\n"
                f"peak of |1/(1+L)| {margins.peak:.2f}"
            )
            magnitude.text(0.015, 0.04, text, transform=magnitude.transAxes, va="bottom", color=QUIET)
            magnitude.axvline(margins.bandwidth_Hz, color=QUIET, lw=0.8, ls=":")
            phase.axvline(margins.bandwidth_Hz, color=QUIET, lw=0.8, ls=":")
        magnitude.axhline(0, color=QUIET, lw=0.8)
        phase.axhline(-turn, color=QUIET, lw=0.8)
        magnitude.set(xscale="log", ylabel="magnitude in dB", title="Magnitude")
        phase.set(xlabel="frequency in Hz", ylabel="phase in degrees", title="Phase")
        for ax in (magnitude, phase):
            ax.grid(True, which="both", color=GRID, lw=0.6)
            ax.legend(loc="upper right", frameon=False)
        write_png(figure, path_png)
