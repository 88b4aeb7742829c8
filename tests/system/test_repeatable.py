"""Two runs with one seed give the same bytes."""

from __future__ import annotations

from pathlib import Path

import h5py
from command_line import succeeds

SEED = 11
IMAGES = [f"{direction}/{name}" for direction in ("forward", "backward") for name in ("z_m", "current_A", "samples", "time_cycles")]


def scan_bytes(out: Path, seed: int) -> dict[str, bytes]:
    """Images of a small scan on a twin of its own, as they lie in the file: 1.7 um/s, slow enough for a step edge of gold."""
    succeeds("scan", "--pixels", "12", "--size", "2e-9", "--time-per-pixel", "100e-6", "--seed", str(seed), "--out", str(out))
    (path,) = out.glob("*/scan.h5")
    with h5py.File(path, "r") as file:
        assert file["line_complete"][()].all()
        return {name: file[name][()].tobytes() for name in IMAGES}


def test_one_seed_one_image(tmp_path: Path) -> None:
    print(f"seeds {SEED}, {SEED + 1}")
    first, again = (scan_bytes(tmp_path / name, SEED) for name in ("first", "again"))
    assert first == again
    other = scan_bytes(tmp_path / "other", SEED + 1)
    differing = {name for name in IMAGES if other[name] != first[name]}
    assert {"forward/z_m", "forward/current_A", "backward/z_m", "backward/current_A"} <= differing
