"""`Controller`: the public Python interface to a board; a synchronous facade over `AsyncController`."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import threading
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from reflexarc.calibration import Calibration
from reflexarc.contract import fingerprint
from reflexarc.contract.blocks.feedback import FeedbackMode, Linearizer
from reflexarc.contract.blocks.interlock import NO_CAUSE, Cause, InterlockCommand, InterlockState
from reflexarc.contract.blocks.recorder import RecorderState
from reflexarc.contract.blocks.scan import ScanCommand, ScanState
from reflexarc.contract.blocks.system import MAGIC
from reflexarc.contract.events import Event
from reflexarc.contract.link import BusOperation, BusStatus, Kind, Pace
from reflexarc.contract.packets import Packet
from reflexarc.device.registers import Registers
from reflexarc.device.transport import SocketTransport
from reflexarc.errors import BadInput, BoardTripped, ConnectionFailed, RegisterRefused

HEARTBEAT_PERIOD_S = 0.05  # wall time between two heartbeats of a free board
LOCKSTEP_PIECE_S = 0.02  # board time between two heartbeats in lockstep; far below any sensible time-out
POLL_S = 0.01  # wall time between two looks at a free board's clock

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """What arming locks. Units in the names; ``heartbeat_s`` is board time."""

    current_high_A: float = 2e-9
    current_low_A: float = -2e-9
    pulse_current_high_A: float = 4.9e-9
    pulse_current_low_A: float = -4.9e-9
    pulse_s: float = 2e-3
    z_high_m: float | None = None  # None: the converter's range
    z_low_m: float | None = None
    heartbeat_s: float = 0.5
    retract_m_per_s: float = 50e-6


@dataclass(frozen=True)
class Trip:
    """The latched first trip."""

    cause: str
    causes: tuple[str, ...]
    time_cycles: int
    value: float
    limit: float
    unit: str

    def __str__(self) -> str:
        where = f": {self.value:.4g} {self.unit} against a limit of {self.limit:.4g} {self.unit}" if self.unit else ""
        return f"{self.cause} in cycle {self.time_cycles}{where}"


@dataclass(frozen=True)
class BlackBoxEntry:
    """One sample of the recorder; ``index`` 0 is the first sample after the trip."""

    index: int
    current_A: float
    x_m: float
    y_m: float
    z_m: float
    bias_V: float
    flags: int


class AsyncController:
    """One connected board. Use ``await AsyncController.connect(...)``."""

    def __init__(self, transport: SocketTransport, calibration: Calibration, lockstep: bool) -> None:
        self.transport = transport
        self.calibration = calibration
        self.registers = Registers(transport, calibration)
        self.lockstep = lockstep
        self._heart: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, address: str, calibration: Calibration | None = None, lockstep: bool = False) -> AsyncController:
        """Connect, compare the contract's fingerprint with the gateware's, take over the board's clock.

        ``lockstep`` (twin only): board time runs only in ``sleep``, so that a run repeats to the bit. ConnectionFailed if anything differs.
        """
        transport = await SocketTransport.connect(address)
        try:
            await cls._check_contract(transport)
            n, period_s = await Registers(transport, Calibration()).read("system.cycles_per_sample", "system.sample_period")
            base = calibration or Calibration()
            fitted = dataclasses.replace(base, cycles_per_sample=round(n), sample_period_s=period_s)
            controller = cls(transport, fitted, lockstep)
            await transport.set_pace(Pace.LOCKSTEP if lockstep else Pace.FREE)
            if not lockstep:
                controller._heart = asyncio.create_task(controller._beat())
            return controller
        except BaseException:
            await transport.close()
            raise

    @staticmethod
    async def _check_contract(transport: SocketTransport) -> None:
        from reflexarc.contract.blocks import system

        base = system.BLOCK
        results = await transport.bus([(BusOperation.READ, base.address(name), 0) for name in ("magic", "fingerprint")])
        (magic_status, magic), (_, theirs) = results
        if magic_status is not BusStatus.OK or magic != MAGIC:
            raise ConnectionFailed(f"the board answers {magic:#010x} where a ReflexArc core says {MAGIC:#010x}")
        mine = fingerprint.fingerprint()
        if theirs != mine:
            found = "; ".join(fingerprint.differences(transport.welcome.get("contract", {}))) or "the board does not tell more"
            raise ConnectionFailed(f"the gateware's contract {theirs:#010x} is not this host's {mine:#010x}; use one version: {found}")

    async def close(self) -> None:
        if self._heart is not None:
            self._heart.cancel()
        await self.transport.close()

    # Time and heartbeat

    async def _beat(self) -> None:
        """Heartbeat of a free board: every 50 ms of wall time while this event loop turns. If it stops, the interlock trips in time."""
        while True:
            await self.heartbeat()
            await asyncio.sleep(HEARTBEAT_PERIOD_S)

    async def heartbeat(self) -> None:
        await self.registers.write_raw({"interlock.heartbeat": 1})

    async def time_cycles(self) -> int:
        return (await self.registers.read_raw("system.time"))[0]

    async def sleep(self, seconds: float) -> None:
        """Let so much board time pass."""
        cycles = self.calibration.cycles(seconds)
        if not self.lockstep:
            end = await self.time_cycles() + cycles
            while await self.time_cycles() < end:
                await asyncio.sleep(POLL_S)
            return
        piece = self.calibration.cycles(LOCKSTEP_PIECE_S)
        while cycles > 0:
            await self.heartbeat()
            await self.transport.advance(min(cycles, piece))
            cycles -= piece

    # Interlock

    async def state(self) -> InterlockState:
        return InterlockState((await self.registers.read_raw("interlock.state"))[0])

    async def set_limits(self, limits: Limits) -> None:
        """Write the limits of a disarmed board. BadInput names a value that can't be; then none is written."""
        z = self.calibration.z_range_m
        code = self.calibration.z_m_per_code
        values: dict[str, float] = {
            "interlock.current_high": limits.current_high_A,
            "interlock.current_low": limits.current_low_A,
            "interlock.pulse_current_high": limits.pulse_current_high_A,
            "interlock.pulse_current_low": limits.pulse_current_low_A,
            "interlock.pulse_samples_max": self.calibration.samples(limits.pulse_s),
            "interlock.z_high": z - code if limits.z_high_m is None else limits.z_high_m,
            "interlock.z_low": -z if limits.z_low_m is None else limits.z_low_m,
            "interlock.heartbeat_timeout": self.calibration.cycles(limits.heartbeat_s),
            "gate.retract_step": limits.retract_m_per_s * self.calibration.sample_period_s,
        }
        for low, high in (("current_low", "current_high"), ("pulse_current_low", "pulse_current_high"), ("z_low", "z_high")):
            if values[f"interlock.{low}"] >= values[f"interlock.{high}"]:
                raise BadInput(f"limit {low} = {values[f'interlock.{low}']:g} must lie below {high} = {values[f'interlock.{high}']:g}")
        await self.registers.write(values)

    async def arm(self) -> None:
        """Armed, or BadInput with the conditions that stand against it."""
        await self.heartbeat()
        await self.registers.write_raw({"interlock.command": InterlockCommand.ARM})
        state, live, flags = await self.registers.read_raw("interlock.state", "interlock.live", "interlock.trip_flags")
        if state != InterlockState.ARMED:
            if state == InterlockState.TRIPPED or flags:
                raise BadInput(f"can't arm: the board is tripped ({_names(flags) or 'flags cleared'}); acknowledge it first")
            raise BadInput(f"can't arm while these conditions hold: {_names(live) or 'none any more, try again'}")

    async def disarm(self) -> None:
        """Outputs go safe (z withdraws), limits unlock."""
        await self.registers.write_raw({"interlock.command": InterlockCommand.DISARM})

    async def trip(self) -> None:
        await self.registers.write_raw({"interlock.command": InterlockCommand.TRIP})

    async def acknowledge(self) -> None:
        """Clear the flags, leave the tripped state, let the recorder run. BadInput while a cause persists; the record is then kept."""
        await self.heartbeat()
        (state,) = await self.registers.read_raw("interlock.state")
        if state != InterlockState.TRIPPED:
            raise BadInput(f"nothing to acknowledge: the interlock is {InterlockState(state).name.lower()}")
        await self.registers.write_raw({"interlock.trip_flags": (1 << len(Cause)) - 1, "interlock.command": InterlockCommand.ACK})
        state, live = await self.registers.read_raw("interlock.state", "interlock.live")
        if state != InterlockState.DISARMED:
            raise BadInput(f"can't acknowledge while these causes persist: {_names(live)}")
        await self.registers.write_raw({"recorder.release": 1})

    async def last_trip(self) -> Trip | None:
        """The latched trip; None before any."""
        names = ("first_cause", "trip_flags", "trip_time", "trip_value", "trip_limit")
        cause, flags, time, value, limit = await self.registers.read_raw(*(f"interlock.{name}" for name in names))
        if cause == NO_CAUSE:
            return None
        first = Cause(cause)
        convert, unit = _MEASURED.get(first, (None, ""))
        shown, shown_limit = (
            (float(value), float(limit)) if convert is None else (convert(self.calibration, value), convert(self.calibration, limit))
        )
        return Trip(first.name, tuple(c.name for c in Cause if flags >> c & 1), time, shown, shown_limit, unit)

    async def blackbox(self) -> list[BlackBoxEntry]:
        """The frozen recorder, oldest sample first; empty while it runs. Waits for the share after the trip to be written."""
        for _ in range(200):
            state, entries, after = await self.registers.read_raw("recorder.state", "recorder.entries", "recorder.after_trip")
            if state != RecorderState.TRIGGERED:
                break
            await self.sleep(50e-6)
        if state != RecorderState.FROZEN:
            return []
        fields = ("current", "x", "y", "z", "bias", "flags")
        addresses = [self.registers.find(f"recorder.{name}") for name in fields]
        index = self.registers.find("recorder.index")[0]
        operations = []
        for entry in range(entries):
            # The first read of an entry only gives its memory the time that it needs.
            operations += [(BusOperation.WRITE, index, entry), (BusOperation.READ, addresses[0][0], 0)]
            operations += [(BusOperation.READ, address, 0) for address, _ in addresses]
        results = await self.transport.bus(operations)
        if any(status is not BusStatus.OK for status, _ in results):
            raise RegisterRefused("the board refused to read its recorder out")
        stride = 2 + len(fields)
        found = []
        for entry in range(entries):
            raw = [register.decode(results[stride * entry + 2 + k][1]) for k, (_, register) in enumerate(addresses)]
            values = [self.calibration.to_physical(register, value) for value, (_, register) in zip(raw, addresses, strict=True)]
            current_A, x_m, y_m, z_m, bias_V = values[:5]
            found.append(BlackBoxEntry(entry - (entries - after), current_A, x_m, y_m, z_m, bias_V, raw[5]))
        return found

    # Feedback

    def setpoint_log2(self, setpoint_A: float, window_A: tuple[float, float] | None = None) -> float:
        """Setpoint after the linearizer. BadInput for a current that the converter or the window can't show."""
        limit = self.calibration.current_range_A
        if not 0 < setpoint_A < limit:
            raise BadInput(f"setpoint {setpoint_A:g} A is outside 0 to {limit:g} A, the range of preamplifier and converter")
        if window_A is not None and not window_A[0] < setpoint_A < window_A[1]:
            raise BadInput(f"setpoint {setpoint_A:g} A is outside the interlock's window, {window_A[0]:g} to {window_A[1]:g} A")
        return math.log2(max(self.calibration.current_to_code(setpoint_A), 1.0))

    async def set_feedback(self, *, setpoint_A: float, bandwidth_Hz: float, slew_m_per_s: float, decay_per_m: float = 1.087e10) -> None:
        """Integral feedback on the logarithm with unity gain at ``bandwidth_Hz`` for a current that falls as exp(-2 * decay_per_m * gap).

        The default decay is that of a 4.5 eV work function. BadInput for what can't be set.
        """
        low, high = await self.registers.read("interlock.current_low", "interlock.current_high")
        setpoint = self.setpoint_log2(setpoint_A, (low, high))
        log2_per_m = 2 * decay_per_m / math.log(2)
        ki_m = 2 * math.pi * bandwidth_Hz * self.calibration.sample_period_s / log2_per_m
        await self.registers.write(
            {
                "feedback.linearizer": Linearizer.LOG,
                "feedback.setpoint": setpoint,
                "feedback.kp": 0.0,
                "feedback.ki": ki_m,
                "feedback.slew": slew_m_per_s * self.calibration.sample_period_s,
            }
        )

    async def feedback_on(self) -> None:
        await self.registers.write({"feedback.mode": FeedbackMode.ON})

    async def feedback_hold(self) -> None:
        await self.registers.write({"feedback.mode": FeedbackMode.HOLD})

    async def set_bias(self, bias_V: float) -> None:
        await self.registers.write({"gate.bias": bias_V})

    # Scan

    async def move_to(self, x_m: float, y_m: float, speed_m_per_s: float) -> None:
        """Go there and wait. BoardTripped if the interlock trips on the way."""
        here_x, here_y = await self.registers.read("scan.x", "scan.y")
        await self.registers.write(
            {
                "scan.target_x": x_m,
                "scan.target_y": y_m,
                "scan.move_step": speed_m_per_s * self.calibration.sample_period_s,
                "scan.command": ScanCommand.MOVE,
            }
        )
        way = max(abs(x_m - here_x), abs(y_m - here_y))
        await self.sleep(way / speed_m_per_s + 10 * self.calibration.sample_period_s)
        while (await self.registers.read_raw("scan.state"))[0] == ScanState.MOVING:
            await self.sleep(1e-3)
        await self.check_live()

    async def start_scan(self) -> None:
        await self.registers.write({"scan.command": ScanCommand.START})

    async def stop_scan(self) -> None:
        await self.registers.write({"scan.command": ScanCommand.STOP})

    async def scan_state(self) -> ScanState:
        return ScanState((await self.registers.read_raw("scan.state"))[0])

    async def check_live(self) -> None:
        """BoardTripped with the cause unless the board is armed."""
        state = await self.state()
        if state is InterlockState.TRIPPED:
            raise BoardTripped(f"the interlock tripped: {await self.last_trip()}")
        if state is InterlockState.DISARMED:
            raise BoardTripped("the board is not armed")

    def take_packets(self) -> list[Packet]:
        """Capture packets that came since the last call."""
        packets, self.transport.packets = self.transport.packets, []
        return packets

    def take_events(self) -> list[Event]:
        events, self.transport.events = self.transport.events, []
        return events

    # Twin only

    async def inject(self, fault: str, **values: Any) -> None:
        """Make something go wrong in the twin; see the board process for the faults it knows."""
        await self.transport.request(Kind.INJECT, json.dumps({"fault": fault, **values}).encode())

    async def truth(self) -> dict[str, Any]:
        """What only the plant knows."""
        answer: dict[str, Any] = json.loads(await self.transport.request(Kind.TRUTH, b"{}"))
        return answer

    async def true_surface(self, x_m: list[float], y_m: list[float], time_s: float) -> bytes:
        """Heights of the twin's surface there and then, little-endian doubles."""
        return await self.transport.request(Kind.TRUTH, json.dumps({"x_m": x_m, "y_m": y_m, "time_s": time_s}).encode())

    async def status(self) -> dict[str, Any]:
        """What a user wants to know at a glance; read back, not remembered."""
        registers = (
            "interlock.state",
            "interlock.live",
            "interlock.trip_flags",
            "interlock.trips",
            "scan.state",
            "scan.line",
            "recorder.state",
            "recorder.entries",
            "reaction.count",
            "events.count",
            "capture.pixels_lost",
            "system.time",
        )
        raw = dict(zip(registers, await self.registers.read_raw(*registers), strict=True))
        physical = ("gate.x_code", "gate.y_code", "gate.z_code", "gate.bias_code", "capture.sample")
        x, y, z, bias, current = await self.registers.read(*physical)
        trip = await self.last_trip()
        return {
            "interlock": InterlockState(raw["interlock.state"]).name.lower(),
            "conditions_now": _names(raw["interlock.live"]),
            "trip_flags": _names(raw["interlock.trip_flags"]),
            "last_trip": str(trip) if trip else "",
            "trips": raw["interlock.trips"],
            "recorder": RecorderState(raw["recorder.state"]).name.lower(),
            "recorder_entries": raw["recorder.entries"],
            "scan": ScanState(raw["scan.state"]).name.lower(),
            "line": raw["scan.line"],
            "x_m": x,
            "y_m": y,
            "z_m": z,
            "bias_V": bias,
            "current_A": current,
            "events": raw["events.count"],
            "pulses": raw["reaction.count"],
            "pixels_lost": raw["capture.pixels_lost"],
            "board_s": self.calibration.seconds(raw["system.time"]),
            "platform": f"{self.transport.welcome.get('platform')}, rate {self.transport.welcome.get('rate')}",
        }


_MEASURED: Mapping[Cause, tuple[Any, str]] = {
    Cause.CURRENT_HIGH: (Calibration.code_to_current_A, "A"),
    Cause.CURRENT_LOW: (Calibration.code_to_current_A, "A"),
    Cause.Z_HIGH: (lambda calibration, code: code * calibration.z_m_per_code, "m"),
    Cause.Z_LOW: (lambda calibration, code: code * calibration.z_m_per_code, "m"),
    Cause.HEARTBEAT: (lambda calibration, cycles: calibration.seconds(cycles), "s"),
}


def _names(flags: int) -> str:
    return ", ".join(cause.name for cause in Cause if flags >> cause & 1)


class Controller:
    """Synchronous facade: the same board, for scripts and notebooks. A context manager; its event loop runs in a thread of its own.

    ``run(coroutine)`` does what any coroutine of ``AsyncController`` does::

        with Controller(address) as board:
            board.run(board.device.arm())
    """

    def __init__(self, address: str, calibration: Calibration | None = None, lockstep: bool = False) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="reflexarc", daemon=True)
        self._thread.start()
        try:
            self.device: AsyncController = self.run(AsyncController.connect(address, calibration, lockstep))
        except BaseException:
            self._end_loop()
            raise

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the controller's event loop and wait for its result."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        self.run(self.device.close())
        self._end_loop()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Controller:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def arm(self) -> None:
        self.run(self.device.arm())

    def disarm(self) -> None:
        self.run(self.device.disarm())

    def trip(self) -> None:
        self.run(self.device.trip())

    def acknowledge(self) -> None:
        self.run(self.device.acknowledge())

    def status(self) -> dict[str, Any]:
        return self.run(self.device.status())

    def last_trip(self) -> Trip | None:
        return self.run(self.device.last_trip())

    def blackbox(self) -> list[BlackBoxEntry]:
        return self.run(self.device.blackbox())

    def read(self, *names: str) -> list[float]:
        """Registers ``block.name`` in their units."""
        return self.run(self.device.registers.read(*names))

    def write(self, values: Mapping[str, float]) -> None:
        self.run(self.device.registers.write(values))
