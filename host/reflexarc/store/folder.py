"""The output folder, checked before anything moves."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from reflexarc.store.errors import StoreError, one_line


def prepare_output_folder(path: str | os.PathLike[str]) -> Path:
    """Create the folder ``path`` (and its parents) if need be, and prove that files can be written there.

    The proof is a small file, written to the disk and deleted again: permission bits say nothing about a full disk, a
    read-only mount or the super-user. Returns the folder. Raises `StoreError` if it cannot serve.
    """
    folder = Path(path)
    advice = "give a folder that can be created and written to"
    try:
        if (folder.exists() or folder.is_symlink()) and not folder.is_dir():
            raise StoreError(f"output folder {folder}: is not a folder; {advice}")
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise StoreError(f"output folder {folder}: cannot be created ({one_line(error)}); {advice}") from error
    try:
        probe, name = tempfile.mkstemp(dir=folder, prefix=".probe-")
        try:
            # A block of the disk, synchronised: a full disk takes an empty file, and some network mounts a cached write.
            rest = bytes(4096)
            while rest:
                rest = rest[os.write(probe, rest) :]
            os.fsync(probe)
        finally:
            os.close(probe)
            os.unlink(name)
    except OSError as error:
        raise StoreError(f"output folder {folder}: cannot be written to ({one_line(error)}); {advice}") from error
    return folder
