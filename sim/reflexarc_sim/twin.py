"""The twin in process: the compiled gateware with its chips and a plant."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reflexarc.contract.link import BusOperation, BusStatus
from reflexarc_hw.platforms.timing import Rate

from .plants.stm import StmPlant

CAPTURE, EVENTS = 0, 1
TRIP_TIMES = ("convert", "sample", "live", "gate", "load", "output")


class _PlantArguments(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("step", "state", "parameters", "heights_m", "dac_V", "adc_V")]


class TripTimes(ctypes.Structure):
    """Cycles around the last trip, see board.cpp; 0 before any."""

    _fields_ = [(name, ctypes.c_uint64) for name in TRIP_TIMES]

    def as_dict(self) -> dict[str, int]:
        return {name: int(getattr(self, name)) for name in TRIP_TIMES}


class _BusAccess(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("write", "address", "data", "status")]


class TwinError(RuntimeError):
    """The gateware does not do what it must."""


def _load(path: Path) -> Any:
    library = ctypes.CDLL(str(path))
    pointer, u32, u64 = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "board_new": (pointer, [ctypes.POINTER(_PlantArguments), u32, u32]),
        "board_free": (None, [pointer]),
        "board_run": (None, [pointer, u64]),
        "board_bus": (u32, [pointer, ctypes.POINTER(_BusAccess), u32]),
        "board_cycle": (u64, [pointer]),
        "board_samples": (u64, [pointer]),
        "board_trip_times": (None, [pointer, ctypes.POINTER(TripTimes)]),
        "board_set_estop": (None, [pointer, u32]),
        "board_set_adc_dead": (None, [pointer, u32]),
        "board_packet_words": (u32, [pointer, u32]),
        "board_take_packet": (None, [pointer, u32, pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class Twin:
    """Gateware at ``rate`` with ``plant``; time runs only in ``run`` and ``bus``."""

    def __init__(self, library: Path, rate: Rate, plant: StmPlant) -> None:
        self.rate = rate
        self.plant = plant  # owns the arrays that the library works on
        self._library = _load(library)
        arguments = _PlantArguments(
            plant.step_address, plant.state.ctypes.data, plant.parameters_array.ctypes.data, plant.heights.ctypes.data,
            plant.dac_V.ctypes.data, plant.adc_V.ctypes.data,
        )  # fmt: skip
        self._board: int | None = self._library.board_new(ctypes.byref(arguments), rate.adc_cycles, rate.dac_cycles)

    def close(self) -> None:
        if self._board is not None:
            self._library.board_free(self._board)
            self._board = None

    def run(self, cycles: int) -> None:
        self._library.board_run(self._board, cycles)

    def bus(self, operations: Sequence[tuple[BusOperation, int, int]]) -> list[tuple[BusStatus, int]]:
        """(operation, address, value) in order; (status, value) of each. TwinError where the bus does not answer."""
        accesses = (_BusAccess * len(operations))()
        for access, (operation, address, value) in zip(accesses, operations, strict=True):
            access.write, access.address, access.data = operation, address, value
        done = self._library.board_bus(self._board, accesses, len(operations))
        if done != len(operations):
            raise TwinError(f"the register bus does not answer at address {operations[done][1]:#05x}")
        return [(BusStatus(access.status), int(access.data)) for access in accesses]

    def packet(self, stream: int) -> bytes | None:
        """The oldest whole packet of ``CAPTURE`` or ``EVENTS``, taken out; None if there is none."""
        words = self._library.board_packet_words(self._board, stream)
        if not words:
            return None
        data: NDArray[np.uint32] = np.empty(words, dtype="<u4")
        self._library.board_take_packet(self._board, stream, data.ctypes.data)
        return data.tobytes()

    @property
    def cycle(self) -> int:
        return int(self._library.board_cycle(self._board))

    @property
    def samples(self) -> int:
        return int(self._library.board_samples(self._board))

    @property
    def trip_times(self) -> TripTimes:
        times = TripTimes()
        self._library.board_trip_times(self._board, ctypes.byref(times))
        return times

    def set_estop(self, closed: bool) -> None:
        """Close or cut the e-stop chain."""
        self._library.board_set_estop(self._board, closed)

    def set_adc_dead(self, dead: bool) -> None:
        """A dead converter brings no samples."""
        self._library.board_set_adc_dead(self._board, dead)
