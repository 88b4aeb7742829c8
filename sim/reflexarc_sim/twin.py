"""The twin in process: the compiled gateware with its chips and a plant."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reflexarc.contract.blocks import interlock
from reflexarc.contract.link import BusOperation, BusStatus
from reflexarc_hw.platforms.timing import Rate

from .plants.stm import StmPlant

CAPTURE, EVENTS = 0, 1
GATE_LINES = ("pixel", "line", "frame", "external")  # to other instruments, in the order of the gate's
TRIP_TIMES = ("convert", "sample", "live", "gate", "load", "output")


class _PlantArguments(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("step", "state", "parameters", "heights_m", "dac_V", "adc_V")]


class TripTimes(ctypes.Structure):
    """Cycles around the last trip, see board.cpp; 0 before any."""

    _fields_ = [(name, ctypes.c_uint64) for name in TRIP_TIMES]

    def as_dict(self) -> dict[str, int]:
        return {name: int(getattr(self, name)) for name in TRIP_TIMES}


class JudgeLimits(ctypes.Structure):
    """What the judge goes by: hard limits as they were written, in codes and cycles; see judge.h."""

    _fields_ = [
        ("high", ctypes.c_int32 * 2),
        ("low", ctypes.c_int32 * 2),
        ("slew", ctypes.c_int32 * 2),
        *((name, ctypes.c_uint32) for name in ("window_on", "slew_on", "saturated_on", "stuck_on", "stuck_samples", "oscillation_on")),
        ("oscillation_limit", ctypes.c_double),
        ("setpoint", ctypes.c_double),
        *(
            (name, ctypes.c_uint32)
            for name in ("fast_shift", "slow_shift", "window_shift", "ready_required", "gain_expected", "ready_on", "gain_on")
        ),
        ("heartbeat_timeout", ctypes.c_uint64),
        ("readback_on", ctypes.c_uint32),
        ("dose_on", ctypes.c_uint32),
        ("beam_rate", ctypes.c_double),
        ("dose_limit", ctypes.c_double),
        ("blanker_delay", ctypes.c_uint32),
        ("box_high", ctypes.c_int32 * 3),
        ("box_low", ctypes.c_int32 * 3),
        ("keep_x", ctypes.c_int32 * 2),
        ("keep_y", ctypes.c_int32 * 2),
        ("keep_on", ctypes.c_int32),
    ]


# What the judge can find, in the order of judge.h.
VIOLATIONS = (
    "window", "slew", "saturated", "stuck", "lost", "oscillation", "estop", "ready", "gain", "readback", "heartbeat", "dose", "register",
    "escaped",
)  # fmt: skip


class _Verdicts(ctypes.Structure):
    _fields_ = [
        ("since", ctypes.c_uint64 * len(VIOLATIONS)),
        ("bound", ctypes.c_uint64 * len(VIOLATIONS)),
        ("oscillation", ctypes.c_double),
    ]


@dataclass(frozen=True)
class Verdicts:
    """What the judge saw since it began: by violation the cycle in which it stood at the pins, and within how many the gate must be safe."""

    since: dict[str, int]
    bound: dict[str, int]
    oscillation: float  # greatest mean square of the error, log2^2


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
        "board_set_lines": (None, [pointer, u32, u32]),
        "board_set_instruments": (None, [pointer, *[u32] * 6]),
        "board_camera_frames": (u64, [pointer]),
        "board_gate_lines": (u32, [pointer]),
        "board_gate_line_rises": (u32, [pointer, u32]),
        "board_update_cycles": (u64, [pointer]),
        "board_bias_cycle": (u64, [pointer]),
        "board_approach_steps": (ctypes.c_int32, [pointer]),
        "board_set_underflow": (None, [pointer, u32]),
        "board_event": (None, [pointer, u32]),
        "board_set_monitor": (None, [pointer, ctypes.c_double]),
        "board_set_adc_fault": (None, [pointer, *[u32] * 6]),
        "board_set_dac_stuck": (None, [pointer, u32, u32]),
        "board_flip": (u32, [pointer, ctypes.c_char_p, u32]),
        "board_judge": (None, [pointer, ctypes.POINTER(JudgeLimits), u32, u32]),
        "board_verdicts": (None, [pointer, ctypes.POINTER(_Verdicts)]),
        "board_safe_cycle": (u64, [pointer]),
        "board_live": (u32, [pointer]),
        "board_blanked": (u32, [pointer]),
        "board_motor_steps": (ctypes.c_int32, [pointer]),
        "board_dac_code": (ctypes.c_int32, [pointer, u32]),
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

    def set_adc_fault(
        self,
        converter: int,
        *,
        dead: bool = False,
        frozen: bool = False,
        stuck_low: int = 0,
        stuck_high: int = 0,
        noise: int = 0,
    ) -> None:
        """Converter 0 (current) or 1 (monitor): brings no samples, repeats the last one, or has bits (masks) that stick or flip at random."""
        self._library.board_set_adc_fault(self._board, converter, dead, frozen, ~stuck_low & 0xFFFFF, stuck_high, noise)

    def set_dac_stuck(self, channel: int, stuck: bool) -> None:
        """A stuck DAC (0 to 3: x, y, z, bias) ignores its frames."""
        self._library.board_set_dac_stuck(self._board, channel, stuck)

    def set_lines(self, ready: int = 3, gain: int = 0) -> None:
        """Ready lines (high voltage, vacuum) and the preamplifier's gain lines."""
        self._library.board_set_lines(self._board, ready, gain)
        if gain in self.plant.gain_codes:
            self.plant.select_gain(gain)

    def set_instruments(
        self,
        *,
        camera_delay_cycles: int = 20,
        camera_exposure_cycles: int = 0,
        pixel_clock_cycles: int = 0,
        line_trigger_cycles: int = 0,
        pulse_cycles: tuple[int, int] = (0, 0),
    ) -> None:
        """What paces the scan from outside: a camera that is busy so long after each trigger, and square waves with these periods; 0: none."""
        self._library.board_set_instruments(
            self._board, camera_delay_cycles, camera_exposure_cycles, pixel_clock_cycles, line_trigger_cycles, *pulse_cycles
        )

    @property
    def update_cycles(self) -> int:
        """Longest way so far from a sample valid to a new z code at the gate, outputs live."""
        return int(self._library.board_update_cycles(self._board))

    @property
    def bias_cycle(self) -> int:
        """Of the last change of the bias code at the gate."""
        return int(self._library.board_bias_cycle(self._board))

    @property
    def camera_frames(self) -> int:
        """Exposures that the camera has ended."""
        return int(self._library.board_camera_frames(self._board))

    @property
    def gate_lines(self) -> list[str]:
        """Lines to other instruments that are high."""
        levels = int(self._library.board_gate_lines(self._board))
        return [name for index, name in enumerate(GATE_LINES) if levels >> index & 1]

    @property
    def gate_line_rises(self) -> dict[str, int]:
        """How often each of them has risen."""
        return {name: int(self._library.board_gate_line_rises(self._board, index)) for index, name in enumerate(GATE_LINES)}

    def set_underflow(self, underflow: bool) -> None:
        """A list of a scan or program that ran dry; nothing else drives it yet."""
        self._library.board_set_underflow(self._board, underflow)

    def event(self, class_id: int) -> None:
        """One event of a detector, as nothing makes them yet; takes a cycle."""
        self._library.board_event(self._board, class_id)

    def set_monitor(self, volts: float) -> None:
        """What the second converter measures."""
        self._library.board_set_monitor(self._board, volts)

    def flip(self, register: str, bit: int) -> None:
        """Flip one bit of a locked register ``block.name``; ValueError if there is no such."""
        if not self._library.board_flip(self._board, register.encode(), bit):
            raise ValueError(f"{register} is no locked register with a bit {bit}")

    def judge(self, limits: JudgeLimits) -> None:
        """Watch from now on, with a clean sheet."""
        address = interlock.BLOCK.address("heartbeat")
        self._library.board_judge(self._board, ctypes.byref(limits), self.rate.cycles_per_sample, address)

    @property
    def verdicts(self) -> Verdicts:
        raw = _Verdicts()
        self._library.board_verdicts(self._board, ctypes.byref(raw))
        since = {name: raw.since[index] for index, name in enumerate(VIOLATIONS) if raw.since[index] != (1 << 64) - 1}
        return Verdicts(since, {name: raw.bound[index] for index, name in enumerate(VIOLATIONS)}, raw.oscillation)

    @property
    def live(self) -> bool:
        """Outputs follow requests."""
        return bool(self._library.board_live(self._board))

    @property
    def blanked(self) -> bool:
        return bool(self._library.board_blanked(self._board))

    @property
    def safe_cycle(self) -> int:
        """Cycle in which the gate last became safe."""
        return int(self._library.board_safe_cycle(self._board))

    @property
    def motor_steps(self) -> int:
        """Steps away from the specimen that the coarse motor was told to take."""
        return int(self._library.board_motor_steps(self._board))

    @property
    def approach_steps(self) -> int:
        """Steps towards it."""
        return int(self._library.board_approach_steps(self._board))

    def dac_code(self, channel: int) -> int:
        """Code that a DAC holds."""
        return int(self._library.board_dac_code(self._board, channel))
