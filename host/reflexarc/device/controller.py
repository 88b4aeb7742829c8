"""`AsyncController`: one connected board."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import math
import struct
from typing import Any

from reflexarc.calibration import Calibration
from reflexarc.contract import fingerprint
from reflexarc.contract.blocks.dose import DoseCommand
from reflexarc.contract.blocks.feedback import FeedbackMode, Linearizer
from reflexarc.contract.blocks.interlock import NO_CAUSE, ArmingResult, Cause, InterlockCommand, InterlockState, Strap
from reflexarc.contract.blocks.recorder import LONG_POST_TRIGGER, POST_TRIGGER, RecorderState, Ring
from reflexarc.contract.blocks.scan import ScanCommand, ScanState
from reflexarc.contract.blocks.system import MAGIC
from reflexarc.contract.events import Event
from reflexarc.contract.link import BusOperation, BusStatus, Kind, Pace
from reflexarc.contract.packets import Packet
from reflexarc.device.recorder import BlackBoxEntry, Recording, read_ring
from reflexarc.device.registers import Registers
from reflexarc.device.transport import SocketTransport
from reflexarc.device.trip import Trip, decode_trip, low_lines
from reflexarc.errors import BadInput, BoardTripped, ConnectionFailed, RegisterRefused
from reflexarc.safety.commissioning import CommissioningRecord, find_record, is_commissioned
from reflexarc.safety.limits import SOFT_ENTRIES, BoardFacts, Limits, LimitsRefused, SoftLimits, soft_faults

__all__ = ["AsyncController", "BlackBoxEntry", "Limits", "Recording", "SoftLimits", "Trip"]

HEARTBEAT_PERIOD_S = 0.05  # wall time between two heartbeats of a free board
LOCKSTEP_PIECE_S = 0.02  # board time between two heartbeats in lockstep; far below any sensible time-out
POLL_S = 0.01  # wall time between two looks at a free board's clock
ARMING_PIECE_S = 50e-6  # board time between two looks at a board that tests its conditions
ARMING_PIECES = 100  # the test takes at most 32 x 128 + 512 cycles: 46 us at the true rate, 160 us on a compressed twin
RECORDER_PIECE_S = 1e-3  # board time between two looks at a recorder that has not finished
ANGSTROM_M = 1e-10
DECAY_PER_M = 1.087e10  # of a wave function at a work function of 4.5 eV


class AsyncController:
    """One connected board. Use ``await AsyncController.connect(...)``."""

    def __init__(self, transport: SocketTransport, calibration: Calibration, lockstep: bool) -> None:
        self.transport = transport
        self.calibration = calibration
        self.registers = Registers(transport, calibration)
        self.lockstep = lockstep
        self.address = transport.address
        self._heart: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, address: str, calibration: Calibration | None = None, lockstep: bool = False) -> AsyncController:
        """Connect, compare the contract's fingerprint with the gateware's, take over the board's clock.

        Without a ``calibration`` the scanner is the one that the board tells of (a twin does), otherwise the default.
        ``lockstep`` (twin only): board time runs only in ``sleep``, so that a run repeats to the bit. ConnectionFailed if anything differs.
        """
        transport = await SocketTransport.connect(address)
        try:
            await cls._check_contract(transport)
            n, period_s = await Registers(transport, Calibration()).read("system.cycles_per_sample", "system.sample_period")
            base = calibration or Calibration(**transport.welcome.get("scanner", {}))
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
            await asyncio.gather(self._heart, return_exceptions=True)
        await self.transport.close()

    @property
    def board_name(self) -> str:
        """What the board calls itself; its commissioning record goes by it."""
        return str(self.transport.welcome.get("board") or self.transport.welcome.get("platform") or "board")

    @property
    def is_twin(self) -> bool:
        return self.transport.welcome.get("platform") == "twin"

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

    async def board_facts(self) -> BoardFacts:
        """What limits are checked against: conditions that the board has, its straps, where it stands."""
        present, straps = await self.registers.read_raw("interlock.present", "interlock.straps")
        x_m, y_m = await self.registers.read("gate.x_code", "gate.y_code")
        return BoardFacts(present, Strap(straps), x_m, y_m)

    async def set_limits(self, limits: Limits) -> None:
        """Write the limits of a board that is not armed, read them back, compare.

        LimitsRefused (a BadInput) names all values that can't be; then none is written. RegisterRefused while armed, or if the board holds
        something else afterwards. Soft limits stay as they are.
        """
        facts = await self.board_facts()
        limits.check(self.calibration, facts)
        wanted = limits.to_raw(self.calibration, facts.present)
        await self.registers.write_raw(wanted)
        found = dict(zip(wanted, await self.registers.read_raw(*wanted), strict=True))
        if wrong := [f"{name} is {found[name]}, {value} was written" for name, value in wanted.items() if found[name] != value]:
            raise RegisterRefused(f"the board does not hold the limits that were written: {'; '.join(wrong)}")

    async def limits(self) -> Limits | None:
        """The hard limits that the board holds; None before any were set."""
        timeout, high, low = await self.registers.read_raw("interlock.heartbeat_timeout", "signals.current_high", "signals.current_low")
        if (timeout, high, low) == (1, 0, 0):  # as it wakes up; no file can ask for a window of no width
            return None
        return await self._hard_limits()

    async def _hard_limits(self) -> Limits:
        names = tuple(Limits().to_raw(self.calibration, 0))
        return Limits.from_raw(self.calibration, dict(zip(names, await self.registers.read_raw(*names), strict=True)))

    async def soft_limits(self) -> SoftLimits:
        raw = await self.registers.read_raw(*(entry.soft_register_name for entry in SOFT_ENTRIES))
        pairs = zip(SOFT_ENTRIES, raw, strict=True)
        return SoftLimits(**{entry.name: entry.from_raw(self.calibration, value, soft=True) for entry, value in pairs})

    async def effective_limits(self) -> SoftLimits:
        """What counts: of each hard limit and its soft twin the tighter."""
        names = [name for entry in SOFT_ENTRIES for name in (entry.register_name, entry.soft_register_name)]
        raw = iter(await self.registers.read_raw(*names))
        return SoftLimits(**{entry.name: entry.from_raw(self.calibration, entry.tighter(next(raw), next(raw))) for entry in SOFT_ENTRIES})

    async def set_soft_limits(self, **values: float | None) -> SoftLimits:
        """Change soft limits by the names of `SoftLimits`, armed or not; None opens one. What then stands on the board.

        LimitsRefused, with nothing written, for what can't be and for a limit whose condition is off. A limit that the present value
        violates trips: that is what it is for.
        """
        if unknown := values.keys() - {entry.name for entry in SOFT_ENTRIES}:
            raise BadInput(f"there is no soft limit {sorted(unknown)[0]!r}; known are {', '.join(entry.name for entry in SOFT_ENTRIES)}")
        soft, hard = await self.soft_limits(), await self._hard_limits()
        enable, present = await self.registers.read_raw("interlock.enable", "interlock.present")
        if found := soft_faults(values, soft, hard, self.calibration, enable & present):
            raise LimitsRefused(found, "these soft limits can't be set")
        entries = [entry for entry in SOFT_ENTRIES if entry.name in values]
        await self.registers.write_raw(
            {entry.soft_register_name: entry.to_raw(self.calibration, values[entry.name], soft=True) for entry in entries}
        )
        return await self.soft_limits()

    async def arm(self, record: CommissioningRecord | None = None) -> None:
        """Armed after the board has tested each condition; BadInput with what stands against it.

        The commissioning record is ``record``, else what the board already has, else the one in the user's configuration folder.
        """
        await self.heartbeat()
        names = ("interlock.straps", "interlock.commissioned", "recorder.state")
        straps, word, recorder = await self.registers.read_raw(*names)
        state = await self.state()
        if record is not None:
            record.check(self.board_name, straps, "this")
        elif not is_commissioned(word, straps):
            record = find_record(self.board_name, straps)
        if state is InterlockState.DISARMED:
            if recorder != RecorderState.RUNNING:  # whoever acknowledged did not live to release it
                await self._release_recorder()
            if record is not None and record.word != word:
                await self.registers.write_raw({"interlock.commissioned": record.word})
        await self.heartbeat()
        await self.registers.write_raw({"interlock.command": InterlockCommand.ARM})
        for _ in range(ARMING_PIECES):
            state = await self.state()
            if state is not InterlockState.ARMING:
                break
            await self.sleep(ARMING_PIECE_S)
        if state is not InterlockState.ARMED:
            raise BadInput(f"can't arm{await self._why_not_armed(state)}")

    async def _why_not_armed(self, state: InterlockState) -> str:
        names = ("arming_result", "arming_cause", "live", "trip_flags")
        result, cause, live, flags = await self.registers.read_raw(*(f"interlock.{name}" for name in names))
        if state is InterlockState.TRIPPED or flags:
            return f": the board is tripped ({_names(flags) or 'flags cleared'}); acknowledge it first"
        name = Cause(cause).name if cause != NO_CAUSE else "a condition"
        match ArmingResult(result):
            case ArmingResult.NOT_COMMISSIONED:
                return f": the board '{self.board_name}' has no commissioning record; run: reflexarc commission --board {self.address}"
            case ArmingResult.DID_NOT_FIRE:
                return f": {name} did not fire when it was made to; its limit can't be met, or the board is broken"
            case ArmingResult.DID_NOT_CLEAR:
                return f": {name} did not stop firing after its test: {_names(live) or 'nothing any more, try again'}"
            case ArmingResult.ABORTED:
                return ": the test was aborted by a disarm or a trip"
            case ArmingResult.VIOLATED:
                lines = await self.open_lines()
                why = f" ({'; '.join(lines)})" if lines else ""
                return f" while these conditions hold: {_names(live) or 'none any more, try again'}{why}"
        return f": the board is {state.name.lower()}"

    async def open_lines(self) -> list[str]:
        """External lines that stand against arming, in words; those that are switched off are left out."""
        names = ("live", "ready", "ready_required", "gain", "gain_expected")
        live, ready, required, gain, expected = await self.registers.read_raw(*(f"interlock.{name}" for name in names))
        found = []
        if live >> Cause.ESTOP & 1:
            found.append("the e-stop chain is open")
        if live >> Cause.READY & 1:
            found.append(low_lines(ready, required))
        if live >> Cause.GAIN & 1:
            found.append(f"the gain lines read {gain}, the calibration says {expected}")
        return [line for line in found if line]

    async def disarm(self) -> None:
        """Outputs go safe (z withdraws), limits unlock."""
        await self.registers.write_raw({"interlock.command": InterlockCommand.DISARM})

    async def trip(self) -> None:
        await self.registers.write_raw({"interlock.command": InterlockCommand.TRIP})

    async def acknowledge(self) -> None:
        """Clear the flags, leave the tripped state, let the recorder run. BadInput while a cause persists; the record is then kept.

        Takes until the recorder has written its share after the trip.
        """
        await self.heartbeat()
        (state,) = await self.registers.read_raw("interlock.state")
        if state != InterlockState.TRIPPED:
            raise BadInput(f"nothing to acknowledge: the interlock is {InterlockState(state).name.lower()}")
        await self.registers.write_raw({"interlock.trip_flags": (1 << len(Cause)) - 1, "interlock.command": InterlockCommand.ACK})
        state, live = await self.registers.read_raw("interlock.state", "interlock.live")
        if state != InterlockState.DISARMED:
            raise BadInput(f"can't acknowledge while these causes persist: {_names(live) or 'none any more, try again'}")
        await self._release_recorder()

    async def _release_recorder(self) -> None:
        # A release before it is frozen is ignored, and then the next trip would find the recorder full of this one.
        await self._recorder_at_rest()
        await self.registers.write_raw({"recorder.release": 1})

    async def _recorder_at_rest(self) -> RecorderState:
        """State of the recorder once its share after a trip is written."""
        (decimation,) = await self.registers.read_raw("recorder.decimation")
        period = self.calibration.sample_period_s
        pieces = math.ceil((POST_TRIGGER + (LONG_POST_TRIGGER + 2) * decimation) * period / RECORDER_PIECE_S)
        for _ in range(pieces + 1):
            state = RecorderState((await self.registers.read_raw("recorder.state"))[0])
            if state is not RecorderState.TRIGGERED:
                break
            await self.sleep(RECORDER_PIECE_S)
        return state

    async def last_trip(self) -> Trip | None:
        """The latched trip; None before any."""
        names = ("first_cause", "trip_flags", "trip_time", "trip_value", "trip_limit")
        cause, flags, time, value, limit = await self.registers.read_raw(*(f"interlock.{name}" for name in names))
        if cause == NO_CAUSE:
            return None
        edges = [f"envelope.{prefix}{axis}_{side}" for axis in "xy" for prefix in ("", "soft_") for side in ("low", "high")]
        codes = await self.registers.read_raw(*edges)
        x_limits, y_limits = codes[:4], codes[4:]
        return decode_trip(self.calibration, Cause(cause), flags, time, value, limit, tuple(set(y_limits) - set(x_limits)))

    async def blackbox(self, ring: Ring = Ring.SHORT) -> list[BlackBoxEntry]:
        """One ring of the frozen recorder, oldest entry first; empty while it runs. Waits for the share after the trip to be written."""
        if await self._recorder_at_rest() is not RecorderState.FROZEN:
            return []
        return await read_ring(self.transport, self.registers, ring)

    async def recording(self) -> Recording | None:
        """Both rings of the frozen recorder; None while it runs. Can be read again until the trip is acknowledged, by any client."""
        long = await self.blackbox(Ring.LONG)
        if not long:
            return None
        (decimation,) = await self.registers.read_raw("recorder.decimation")
        return Recording(await self.blackbox(Ring.SHORT), long, decimation)

    async def dose(self) -> dict[str, float]:
        """Doses so far, in electrons and where the area is known in electrons per square ångström; pulses and charge of the tip.

        Areas of pixel and frame are those of the raster that the board is set to.
        """
        names = ("pixel_dose", "region_dose", "frame_dose", "open_time", "pulses", "charge", "beam")
        pixel, region, frame, open_cycles, pulses, charge, beam = await self.registers.read(*(f"dose.{name}" for name in names))
        geometry = ("step_x", "step_y", "line_x", "line_y", "pixel_samples", "pixels", "lines")
        step_x, step_y, line_x, line_y, samples, pixels, lines = await self.registers.read(*(f"scan.{name}" for name in geometry))
        pixel_m2 = abs(step_x * line_y - step_y * line_x) * samples
        edges = await self.registers.read(*(f"dose.region_{edge}" for edge in ("x_low", "x_high", "y_low", "y_high")))
        region_m2 = max(edges[1] - edges[0], 0.0) * max(edges[3] - edges[2], 0.0)
        found = {"beam_A": self.calibration.beam_A(beam), "open_s": self.calibration.seconds(open_cycles)}
        for name, electrons, area_m2 in (
            ("pixel", pixel, pixel_m2),
            ("region", region, region_m2),
            ("frame", frame, pixel_m2 * pixels * lines),
        ):
            found[f"{name}_e"] = electrons
            if area_m2 > 0:
                found[f"{name}_e_per_A2"] = electrons / (area_m2 / ANGSTROM_M**2)
        return found | {"pulses": pulses, "charge_C": charge * self.calibration.sample_period_s}

    async def reset_region_dose(self) -> None:
        """Begin the region's dose anew; refused while armed."""
        await self.registers.write_raw({"dose.command": DoseCommand.RESET_REGION})

    async def new_tip(self) -> None:
        """Count pulses and charge anew; refused while armed."""
        await self.registers.write_raw({"dose.command": DoseCommand.RESET_TIP})

    # Feedback

    def setpoint_log2(self, setpoint_A: float, window_A: tuple[float, float] | None = None) -> float:
        """Setpoint after the linearizer. BadInput for a current that the converter or the window can't show."""
        limit = self.calibration.current_range_A
        if not 0 < setpoint_A < limit:
            raise BadInput(f"setpoint {setpoint_A:g} A is outside 0 to {limit:g} A, the range of preamplifier and converter")
        if window_A is not None and not window_A[0] < setpoint_A < window_A[1]:
            raise BadInput(f"setpoint {setpoint_A:g} A is outside the interlock's window, {window_A[0]:g} to {window_A[1]:g} A")
        return math.log2(max(self.calibration.current_to_code(setpoint_A), 1.0))

    async def set_feedback(self, *, setpoint_A: float, bandwidth_Hz: float, slew_m_per_s: float, decay_per_m: float = DECAY_PER_M) -> None:
        """Integral feedback on the logarithm with unity gain at ``bandwidth_Hz`` for a current that falls as exp(-2 * decay_per_m * gap).

        The default decay is that of a 4.5 eV work function. BadInput for what can't be set.
        """
        window = await self.effective_limits()
        setpoint = self.setpoint_log2(setpoint_A, (window.current_low_A or 0.0, window.current_high_A or 0.0))
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

    async def move_to(self, x_m: float, y_m: float, speed_m_per_s: float, offset_m: float = 0.0) -> None:
        """Go there and wait; ``offset_m`` is added to z (a plane's height there). BoardTripped if the interlock trips on the way."""
        here_x, here_y, here_offset = await self.registers.read("scan.x", "scan.y", "scan.z")
        await self.registers.write(
            {
                "scan.target_x": x_m,
                "scan.target_y": y_m,
                "scan.target_z": offset_m,
                "scan.move_step": speed_m_per_s * self.calibration.sample_period_s,
                "scan.command": ScanCommand.MOVE,
            }
        )
        # The step is one of codes, the same for all axes: an axis of greater metres a code is faster.
        scale = self.calibration
        ways = (
            abs(x_m - here_x),
            abs(y_m - here_y) * scale.x_m_per_code / scale.y_m_per_code,
            abs(offset_m - here_offset) * scale.x_m_per_code / scale.z_m_per_code,
        )
        await self.sleep(max(ways) / speed_m_per_s + 10 * self.calibration.sample_period_s)
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
        if state is not InterlockState.ARMED:
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

    async def true_drift(self, time_s: list[float]) -> list[tuple[float, float, float]]:
        """How far the twin's specimen had drifted then, in metres in x, y and z."""
        answer = await self.transport.request(Kind.TRUTH, json.dumps({"drift_at_s": time_s}).encode())
        return list(struct.iter_unpack("<3d", answer))

    async def status(self) -> dict[str, Any]:
        """What a user wants to know at a glance; read back, not remembered."""
        registers = (
            "interlock.state", "interlock.live", "interlock.trip_flags", "interlock.trips", "interlock.commissioned", "interlock.straps",
            "interlock.estop_closed", "gate.withdrawn", "gate.blanked", "scan.state", "scan.line", "recorder.state", "recorder.entries",
            "reaction.count", "events.count", "capture.pixels_lost", "system.time",
        )  # fmt: skip
        raw = dict(zip(registers, await self.registers.read_raw(*registers), strict=True))
        physical = (
            "gate.x_code",
            "gate.y_code",
            "gate.z_code",
            "gate.bias_code",
            "capture.sample",
            "signals.monitor",
            "signals.oscillation",
        )
        x, y, z, bias, current, monitor, oscillation = await self.registers.read(*physical)
        trip = await self.last_trip()
        return {
            "interlock": InterlockState(raw["interlock.state"]).name.lower(),
            "conditions_now": _names(raw["interlock.live"]),
            "lines": "; ".join(await self.open_lines()),
            "commissioned": is_commissioned(raw["interlock.commissioned"], raw["interlock.straps"]),
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
            "withdrawn": bool(raw["gate.withdrawn"]),
            "bias_V": bias,
            "blanked": bool(raw["gate.blanked"]),
            "current_A": current,
            "monitor_V": monitor,
            "oscillation_log2_2": oscillation,
            "events": raw["events.count"],
            "pulses": raw["reaction.count"],
            "pixels_lost": raw["capture.pixels_lost"],
            "board_s": self.calibration.seconds(raw["system.time"]),
            "platform": f"{self.transport.welcome.get('platform')}, rate {self.transport.welcome.get('rate')}",
            "board": self.board_name,
        }


def _names(flags: int) -> str:
    return ", ".join(cause.name for cause in Cause if flags >> cause & 1)
