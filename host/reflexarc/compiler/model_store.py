"""Models that were deployed or compiled, kept by name: a folder each, with image, canonical model, report and what belongs together."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reflexarc.contract.words import to_words
from reflexarc.errors import BadInput

FORMAT = "reflexarc-model"
ENTRY = "model.json"
IMAGE, CANONICAL, REPORT = "image", "canonical.onnx", "report.json"
ENTRY_MAX = 1 << 20  # bytes
IMAGE_MAX = 1 << 20
PART_MAX = 64 << 20
MODEL_IDS = 1 << 16
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class StoredModel:
    """``lanes``: of the engine that the image is for, 0 for the edge tier. ``sha256``: of the image, or of the canonical model without one.

    ``view``, ``head``: as the report has them; ``labels``: of the classes. ``input``: scale, zero point and sign of a canonical model's input.
    """

    name: str
    model_id: int
    tier: str
    lanes: int
    sha256: str
    date: str
    view: Mapping[str, Any]
    head: Mapping[str, Any]
    labels: tuple[str, ...] = ()
    input: Sequence[float] | None = None


def default_folder() -> Path:
    """``REFLEXARC_MODELS``, or in the user's data folder."""
    chosen = os.environ.get("REFLEXARC_MODELS")
    if chosen:
        return Path(chosen)
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "reflexarc" / "models"


def checked_name(name: str) -> str:
    """BadInput unless it can be a folder of its own everywhere."""
    if _NAME.fullmatch(name) is None:
        raise BadInput(f"{name!r} can't be a model's name; accepted: up to 64 letters, digits and . _ -, a letter or digit first")
    return name


def name_of(path: Path) -> str:
    """For a model's file: ``adatoms`` for ``adatoms/model.onnx``, otherwise what the file is called."""
    stem = path.resolve().parent.name if path.stem == "model" else path.stem
    return re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._")[:64] or "model"


def identity(content: bytes) -> int:
    """A model id for this content: 16 bits, never 0. The same content has the same one everywhere."""
    return zlib.crc32(content) % (MODEL_IDS - 1) + 1


class ModelStore:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def entries(self) -> list[StoredModel]:
        """All of them, by name. What is no entry is not looked at; BadInput for a folder that can't be read."""
        if not self.folder.exists():
            return []
        try:
            names = sorted(path.name for path in self.folder.iterdir() if (path / ENTRY).is_file())
        except OSError as error:
            raise BadInput(f"models in {self.folder}: {error.strerror or error}") from None
        return [self._read(name) for name in names]

    def find(self, wanted: str) -> StoredModel:
        """By name, or by model id."""
        entries = self.entries()
        for entry in entries:
            if wanted == entry.name:
                return entry
        numbered = [entry for entry in entries if wanted.isdecimal() and int(wanted) == entry.model_id]
        if len(numbered) > 1:
            raise BadInput(f"several models have the id {wanted}: {', '.join(entry.name for entry in numbered)}; say which by name")
        if not numbered:
            there = ", ".join(entry.name for entry in entries) or "none yet, deploy one: reflexarc deploy model.onnx"
            raise BadInput(f"no model {wanted!r} in {self.folder}; there: {there}")
        return numbered[0]

    def image(self, entry: StoredModel) -> list[int]:
        """Words of its image. BadInput for the edge tier, which has none, and for one that is not what was stored."""
        if not entry.lanes:
            raise BadInput(
                f"the model {entry.name!r} is one of the edge tier, which no board runs; use: reflexarc scan --detect {entry.name}"
            )
        data = self._bytes(entry.name, IMAGE, IMAGE_MAX)
        if len(data) < 4 or len(data) % 4 or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
            raise BadInput(f"the image of {entry.name!r} in {self.folder} is damaged; deploy the model again")
        return to_words(data)

    def part(self, entry: StoredModel, part: str) -> bytes:
        """One of its files."""
        return self._bytes(entry.name, part, PART_MAX)

    def put(self, entry: StoredModel, parts: Mapping[str, bytes]) -> None:
        """In place of one of the same name; whole or not at all."""
        place = self.folder / checked_name(entry.name)
        text = json.dumps({"format": FORMAT, **asdict(entry)}, indent=2) + "\n"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            made = Path(tempfile.mkdtemp(dir=self.folder, prefix=f".{entry.name}-"))
            try:
                for name, data in {**parts, ENTRY: text.encode()}.items():
                    (made / name).write_bytes(data)
                made.chmod(0o755)
                self._clear(entry.name)
                os.replace(made, place)
            except BaseException:
                shutil.rmtree(made, ignore_errors=True)
                raise
        except OSError as error:
            raise BadInput(f"models in {self.folder}: can't be written to ({error.strerror or error})") from None

    def remove(self, entry: StoredModel) -> None:
        try:
            self._clear(entry.name)
        except OSError as error:
            raise BadInput(f"the model {entry.name!r} can't be removed: {error.strerror or error}") from None

    def free_id(self, name: str, wanted: int) -> int:
        """``wanted``, or the next one that no other model here has."""
        taken = {entry.model_id for entry in self.entries() if entry.name != name}
        while wanted in taken:
            wanted = wanted % (MODEL_IDS - 1) + 1
        return wanted

    def _clear(self, name: str) -> None:
        """A folder that is in the way goes aside first: nobody finds half of it."""
        place = self.folder / name
        if not place.exists():
            return
        aside = Path(tempfile.mkdtemp(dir=self.folder, prefix=f".{name}-old-"))
        os.replace(place, aside)
        shutil.rmtree(aside, ignore_errors=True)

    def _read(self, name: str) -> StoredModel:
        try:
            found = json.loads(self._bytes(name, ENTRY, ENTRY_MAX))
            if found.pop("format") != FORMAT or found["name"] != name:
                raise ValueError("is not an entry of this name")
            entry = StoredModel(**found | {"labels": tuple(map(str, found["labels"]))})
            if not (0 < entry.model_id < MODEL_IDS and entry.lanes in range(256)):
                raise ValueError("has impossible numbers")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadInput(
                f"{self.folder / name / ENTRY} is no model's entry ({error}); delete the folder or deploy the model again"
            ) from None
        return entry

    def _bytes(self, name: str, part: str, most: int) -> bytes:
        path = self.folder / name / part
        try:
            with path.open("rb") as file:
                data = file.read(most + 1)
        except OSError as error:
            raise BadInput(f"{path}: {error.strerror or error}") from None
        if len(data) > most:
            raise BadInput(f"{path}: longer than {most} bytes, so it is none of a model's")
        return data
