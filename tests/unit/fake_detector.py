"""A board of which only the detector's registers answer, as its contract says."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

from reflexarc.calibration import Calibration
from reflexarc.contract.blocks.detector import BLOCK, BankState
from reflexarc.contract.blocks.scan import ScanState
from reflexarc.contract.link import OPERATIONS_MAX, BusOperation, BusStatus
from reflexarc.contract.model import HEADER_LAYOUT, MAGIC, MEMORY_WORDS, SEGMENT_LAYOUT, SETTINGS_LAYOUT, VERSION, Memory
from reflexarc.contract.registers import RegisterMap
from reflexarc.contract.words import to_bytes
from reflexarc.device.registers import Registers


def small_image(lanes: int = 8, model_id: int = 77, version: int = VERSION, settings: Mapping[str, int] | None = None) -> list[int]:
    """An image of one layer that nobody ran."""
    values = dict.fromkeys((field.name for field in SETTINGS_LAYOUT.fields), 0) | {"model_id": model_id, "layers": 1, "records": 4}
    segments = {Memory.SETTINGS: SETTINGS_LAYOUT.pack(values | dict(settings or {})), Memory.WEIGHTS: list(range(40, 72))}
    body = []
    for memory, words in segments.items():
        body += [*SEGMENT_LAYOUT.pack({"memory": memory, "start": 0, "count": len(words)}), *words]
    count = HEADER_LAYOUT.words + len(body) + 1
    words = [*HEADER_LAYOUT.pack({"magic": MAGIC, "version": version, "lanes": lanes, "model_id": model_id, "words": count}), *body]
    return [*words, zlib.crc32(to_bytes(words))]


class FakeDetector:
    """A transport. ``boundary()`` is the line or frame at which a change takes place; without it every look is one.

    ``taken`` are the words of the last load; ``frames`` the bus operations of each frame that came.
    """

    def __init__(self, lanes: int = 8, waits: bool = False) -> None:
        self.values = {register.name: 0 for register in BLOCK.registers} | {"lanes": lanes}
        self.taken: list[int] = []
        self.frames: list[int] = []
        self.due: int | None = None
        self.ids = [0, 0]
        self._waits = waits
        self._loading: int | None = None

    @property
    def registers(self) -> Registers:
        return Registers(self, Calibration(), RegisterMap((BLOCK,)))  # type: ignore[arg-type]

    async def bus(self, operations: Sequence[tuple[BusOperation, int, int]]) -> list[tuple[BusStatus, int]]:
        self.frames += [min(OPERATIONS_MAX, len(operations) - start) for start in range(0, len(operations), OPERATIONS_MAX)]
        names = {BLOCK.address(register.name): register.name for register in BLOCK.registers}
        answers = []
        for operation, address, value in operations:
            if address not in names:
                answers.append((BusStatus.UNMAPPED, 0))
            elif operation is BusOperation.WRITE:
                self._write(names[address], value)
                answers.append((BusStatus.OK, 0))
            else:
                if names[address] == "active" and not self._waits:
                    self.boundary()
                answers.append((BusStatus.OK, self.values[names[address]]))
        return answers

    def boundary(self) -> None:
        if self.due is not None:
            self.values["active"], self.values["model_id"] = 2 | self.due, self.ids[self.due]
            self.due = None

    def _write(self, name: str, value: int) -> None:
        match name:
            case "load":
                if self.values["active"] & 3 == 2 | value:
                    self.values["refused"] += 1
                else:
                    if value == self.due:
                        self.due = None
                        self.values["active"] &= 3
                    self._loading, self.taken = value, []
                    self.values[f"state_{value}"] = BankState.LOADING
            case "load_data":
                self.taken.append(value)
            case "load_end" if self._loading is not None:
                self.values[f"state_{self._loading}"] = self._judge()
                self.ids[self._loading] = self.taken[1] >> 16 if len(self.taken) > 1 else 0
                self._loading = None
            case "activate":
                if self.values[f"state_{value}"] == BankState.VALID:
                    self.due = value
                    self.values["active"] |= 4
                else:
                    self.values["refused"] += 1
            case _:
                self.values[name] = value

    def _judge(self) -> BankState:
        words = self.taken
        if len(words) < HEADER_LAYOUT.words + 1:
            return BankState.BAD_FORMAT
        header = HEADER_LAYOUT.unpack(words)
        due = {"magic": MAGIC, "version": VERSION, "lanes": self.values["lanes"], "words": len(words)}
        place, end = HEADER_LAYOUT.words, len(words) - 1
        while place < end:
            segment = SEGMENT_LAYOUT.unpack(words[place:])
            if segment["memory"] not in list(Memory) or segment["start"] + segment["count"] > MEMORY_WORDS[Memory(segment["memory"])]:
                return BankState.BAD_FORMAT
            place += 1 + segment["count"]
        if header != header | due or place != end:
            return BankState.BAD_FORMAT
        return BankState.VALID if zlib.crc32(to_bytes(words[:-1])) == words[-1] else BankState.BAD_CRC


class FakeBoard:
    """As much of an `AsyncController` as deploying needs; a boundary comes after ``boundary_s`` of its time."""

    def __init__(self, detector: FakeDetector, boundary_s: float = 0.0) -> None:
        self.detector = detector
        self.registers = detector.registers
        self.calibration = Calibration()
        self.board_s = 0.0
        self.scanning = ScanState.FORWARD
        self._boundary_s = boundary_s

    async def sleep(self, seconds: float) -> None:
        self.board_s += seconds
        if self.board_s >= self._boundary_s:
            self.detector.boundary()

    async def time_cycles(self) -> int:
        return self.calibration.cycles(self.board_s)

    async def scan_state(self) -> ScanState:
        return self.scanning
