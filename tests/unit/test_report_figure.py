"""The picture: it is drawn for whatever a run left behind, and the same input gives the same bytes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.image
import numpy as np
import pytest

from reflexarc.report import draw_report, figure
from reflexarc.store import BlackBox, EventRow, ScanGeometry, StoreError

GEOMETRY = ScanGeometry(24, 16, 12e-9, 8e-9, 5e-9, -3e-9, 265e-6)
Y, X = np.mgrid[0:16, 0:24]
SURFACE_M = 50e-12 * np.sin(X / 3) + np.where(X > 12, 235e-12, 0) + 7e-9
EVENTS = [EventRow(0, 1, 0.9, 5e-9, -3e-9, 1.0, 0, 0), EventRow(0, 1, 0.9, 7e-9, -1e-9, 1.0, 0, 1)]


def black_box(first_us: float = -450, last_us: float = 120, **attributes: str | float) -> BlackBox:
    time_s = np.arange(first_us, last_us, 0.56) * 1e-6
    z_m = np.where(time_s > 0, 4e-3 * time_s, 0) + 1e-9
    return BlackBox(time_s, 1e-10 * np.exp(-(time_s**2) / 1e-10), z_m, z_m, z_m, z_m, np.zeros(len(time_s), np.uint32), attributes)


def arguments(**changes: Any) -> dict[str, Any]:
    return {
        "geometry": GEOMETRY,
        "topography_m": SURFACE_M + 3e-12 * np.cos(Y),
        "current_A": 1e-10 + 1e-12 * np.sin(X),
        "events": EVENTS,
        "reactions_xy_m": [(5e-9, -3e-9)],
        "blackbox": black_box(cause="current window", limit=1e-9),
        "true_surface_m": SURFACE_M,
        "title": "A run",
        "lines_of_text": ["pixels 768", "trips 1"],
    } | changes


def test_same_input_same_bytes(tmp_path: Path) -> None:
    draw_report(tmp_path / "a.png", **arguments())
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 50}):  # the user's own taste
        draw_report(tmp_path / "b.png", **arguments())
        assert matplotlib.rcParams["font.size"] == 30
    content = (tmp_path / "a.png").read_bytes()
    assert content == (tmp_path / "b.png").read_bytes()
    assert b"tEXt" not in content and b"Matplotlib" not in content
    assert matplotlib.image.imread(tmp_path / "a.png").shape == (1000, 1600, 4)
    draw_report(tmp_path / "c.png", **arguments(title="Another run"))
    assert content != (tmp_path / "c.png").read_bytes()


def test_no_global_state_of_pyplot() -> None:
    assert "plt" not in vars(figure)
    assert not [name for name in vars(figure).values() if name is sys.modules.get("matplotlib.pyplot")]


def missing(image: np.ndarray, rows: slice) -> np.ndarray:
    image = image.copy()
    image[rows] = np.nan
    return image


@pytest.mark.parametrize(
    "changes",
    [
        {"blackbox": None, "true_surface_m": None, "events": [], "reactions_xy_m": [], "lines_of_text": []},
        {"topography_m": missing(SURFACE_M, slice(7, 10)), "current_A": missing(SURFACE_M, slice(0, 16))},
        {"topography_m": missing(SURFACE_M, slice(0, 16))},
        {"topography_m": missing(SURFACE_M, slice(0, 16)), "true_surface_m": None},
        {"true_surface_m": missing(SURFACE_M, slice(0, 16))},
        {"topography_m": np.zeros((16, 24)), "true_surface_m": np.zeros((16, 24)), "current_A": np.zeros((16, 24))},
        {"topography_m": SURFACE_M * 1e4, "true_surface_m": SURFACE_M * 1e4, "current_A": SURFACE_M * 1e3},
        {"blackbox": black_box(-20, 10)},
        {"blackbox": black_box(0, 0.5)},
        {"blackbox": black_box(-900, -500)},
        {"blackbox": black_box(0, 0)},
        {"events": EVENTS * 300, "reactions_xy_m": [(1.0, 1.0)]},
        {"title": "$x_{ unclosed mathematics " * 20, "lines_of_text": ["$\\frac{", "a word " * 100] * 20},
        {"title": ""},
    ],
)
def test_whatever_a_run_left_behind(changes: dict[str, Any], tmp_path: Path) -> None:
    draw_report(tmp_path / "report.png", **arguments(**changes))
    assert matplotlib.image.imread(tmp_path / "report.png").shape == (1000, 1600, 4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 40)])
def test_any_shape(shape: tuple[int, int], tmp_path: Path) -> None:
    geometry = ScanGeometry(shape[1], shape[0], 1e-9 * shape[1], 1e-9 * shape[0], 0, 0, 1e-4, 33.0)
    image = np.arange(float(np.prod(shape))).reshape(shape) * 1e-12
    draw_report(tmp_path / "report.png", **arguments(geometry=geometry, topography_m=image, current_A=image, true_surface_m=image))


def test_images_that_do_not_fit(tmp_path: Path) -> None:
    for name in ("topography_m", "current_A", "true_surface_m"):
        with pytest.raises(ValueError, match=rf"{name} must have the shape \(lines, pixels\) = \(16, 24\)"):
            draw_report(tmp_path / "report.png", **arguments(**{name: np.zeros((24, 16))}))


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot be written \(No such file or directory\)"):
        draw_report(tmp_path / "missing" / "report.png", **arguments())


def test_the_images_are_not_changed(tmp_path: Path) -> None:
    values = arguments()
    before = values["topography_m"].copy()
    draw_report(tmp_path / "report.png", **values)
    np.testing.assert_array_equal(values["topography_m"], before)


def test_the_profile_goes_through_a_reaction_else_the_middle() -> None:
    row = figure._profile_row
    assert row(SURFACE_M, GEOMETRY, []) == 8
    assert row(SURFACE_M, GEOMETRY, [(5e-9, -3e-9 - 3.9e-9)]) == 0
    assert row(SURFACE_M, GEOMETRY, [(5e-9, 1.0), (5e-9, -3e-9 + 3.9e-9)]) == 15
    assert row(missing(SURFACE_M, slice(4, 16)), GEOMETRY, []) == 3
    assert row(missing(SURFACE_M, slice(0, 16)), GEOMETRY, []) is None


@pytest.mark.parametrize(
    ("first_us", "last_us", "window_us"),
    [(-200, 150, (-200, 150)), (-450, 120, (-300, 100)), (-500, 10, (-390, 10)), (-50, 600, (-50, 350)), (-900, -450, (-850, -450))],
)
def test_the_window_about_the_trip(first_us: float, last_us: float, window_us: tuple[float, float]) -> None:
    first, last = figure._trip_window_s(np.array([first_us, last_us]) * 1e-6)
    assert (first * 1e6, last * 1e6) == pytest.approx(window_us)


def test_units_read_well() -> None:
    assert figure.scaled(2e-10, "m") == (1e12, "pm")
    assert figure.scaled(-5e-9, "A") == (1e9, "nA")
    assert figure.scaled(0.0, "A") == (1e12, "pA")
    assert figure.scaled(1e4, "A") == (1.0, "A")
