"""From what a user writes to a specimen."""

from __future__ import annotations

from pathlib import Path

from . import au111
from .npy import load_npy
from .specimen import MOST_BYTES, Specimen, SpecimenError
from .sxm import load_sxm

ACCEPTED = "accepted: 'au111' (generated), a file .npy (2-D heights in metres, with a size), a file .sxm (Nanonis scan)"


def load(text: str, *, size_m: float | tuple[float, float] | None = None, seed: int = 0) -> Specimen:
    """The specimen that `text` names.

    "au111": generated, 50 nm x 50 nm unless `size_m` says otherwise; `seed` chooses adatoms, steps and pattern.
    A path ending in .npy: 2-D heights in metres; `size_m` is its width, or a pair of width and height (without a height the pixels are
    square).
    A path ending in .sxm: a Nanonis scan, which brings its own size, so `size_m` must stay out.

    Raises `SpecimenError`, one line, for anything that does not give a usable surface.
    """
    if not isinstance(seed, int) or not 0 <= seed < 2**64:
        raise SpecimenError(f"seed {seed!r} is not possible; accepted: a whole number from 0 to 2^64 - 1")
    if text.strip().lower() == "au111":
        if size_m is None:
            return au111.generate(seed=seed)
        width_m, height_m = _width_and_height("au111", size_m)
        return au111.generate(width_m, width_m if height_m is None else height_m, seed=seed)
    path = Path(text)
    kind = path.suffix.lower()
    if kind not in (".npy", ".sxm"):
        raise SpecimenError(f"specimen {text!r} is not known; {ACCEPTED}")
    _check_file(path)
    if kind == ".sxm":
        if size_m is not None:
            raise SpecimenError(f"{path.name}: a Nanonis scan brings its own size; leave the size out")
        return load_sxm(path)
    if size_m is None:
        raise SpecimenError(f"{path.name}: a .npy file needs its size in metres, a width or width and height, each up to 1000 nm")
    return load_npy(path, *_width_and_height(path.name, size_m))


def _check_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise SpecimenError(f"{path} is a folder; {ACCEPTED}")
        if not path.exists():
            raise SpecimenError(f"{path} does not exist; {ACCEPTED}")
        if not path.is_file():
            raise SpecimenError(f"{path} is no ordinary file; {ACCEPTED}")
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        if isinstance(error, SpecimenError):
            raise
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise SpecimenError(f"{path!s:.200} cannot be read ({reason}); {ACCEPTED}") from error
    if size > MOST_BYTES:
        raise SpecimenError(f"{path.name}: {size // 2**20} MiB are too large; at most {MOST_BYTES // 2**20} MiB are accepted")


def _width_and_height(name: str, size_m: float | tuple[float, float]) -> tuple[float, float | None]:
    """In metres, the height `None` where a single number was given; their range is checked where the specimen is made."""
    try:
        if isinstance(size_m, tuple | list):
            width_m, height_m = size_m
            return float(width_m), float(height_m)
        return float(size_m), None
    except (TypeError, ValueError) as error:
        raise SpecimenError(f"{name}: size {size_m!r} is not possible; accepted: one number or a pair of numbers, in metres") from error
