"""A twin in its own process, scanning under feedback, with a judge at its pins."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from reflexarc.calibration import Calibration
from reflexarc.contract.blocks import REGISTER_MAP
from reflexarc.contract.blocks.feedback import FeedbackMode, Linearizer
from reflexarc.contract.blocks.interlock import STRAPS_COMMISSIONED, ArmingResult, Cause, InterlockCommand, InterlockState
from reflexarc.contract.blocks.scan import ScanCommand, ScanState
from reflexarc.contract.link import BusOperation, BusStatus
from reflexarc.contract.registers import Register
from reflexarc.safety.limits import Limits, Rectangle
from reflexarc.scans import Frame, Raster, plan_raster
from reflexarc_hw.platforms.board import FULL
from reflexarc_hw.platforms.timing import COMPRESSED

from ..board import make_twin
from ..specimens import load
from ..twin import JudgeLimits

HEARTBEAT_S = 5e-3  # time-out of the campaign: short, so that a lost host shows within a case
BEAT_S = 1e-3  # the rig's own heartbeat
SETPOINT_A = 100e-12
BIAS_V = 0.5
BANDWIDTH_HZ = 4e3
LOG2_PER_M = 2 * 1.087e10 / math.log(2)  # of a 4.5 eV work function
EVENT_CLASS = 200  # of a detector that is told to trip
KEEP_OUT = Rectangle(200e-9, 260e-9, 200e-9, 260e-9)  # away from the scan
RECORD_NUMBER = 1  # stands for a commissioning record: the rig is its own operator


@dataclass(frozen=True)
class Outcome:
    """Where the interlock stands."""

    state: InterlockState
    cause: str
    value: int
    limit: int
    cycle: int


class Rig:
    """Brought to scanning by the constructor, which takes some seconds."""

    def __init__(self, seed: int) -> None:
        rate = COMPRESSED
        self.twin = make_twin(rate, load("au111", seed=seed), seed)
        self.calibration = Calibration(sample_period_s=rate.sample_period_ps * 1e-12, cycles_per_sample=rate.cycles_per_sample)
        # The default limits, with what a campaign needs beside: a short heartbeat, a keep-out, an event that trips, a measured dose.
        self.limits = replace(
            Limits(),
            heartbeat_s=HEARTBEAT_S,
            keep_outs=(KEEP_OUT,),
            event_class=EVENT_CLASS,
            beam_A=100e-12,
            frame_dose_e=1e12,
            x_high_m=400e-9,
            x_low_m=-400e-9,
            # A program may pulse, and the judge has one window: a pulse's is no wider here.
            pulse_current_high_A=Limits().current_high_A,
            pulse_current_low_A=Limits().current_low_A,
            pulse_current_slew_A=Limits().current_slew_A,
        )
        self.raw = self.limits.to_raw(self.calibration, self.read("interlock.present"))
        self.setpoint_log2 = 0.0
        self._since_beat = 0
        self.twin.judge(self.judge_limits())  # from now on it knows of heartbeats
        self._arm()
        self._approach()
        self._scan()

    # Registers

    @staticmethod
    def _find(name: str) -> tuple[int, Register]:
        block, _, register = name.partition(".")
        return REGISTER_MAP[block].address(register), REGISTER_MAP[block][register]

    def address(self, name: str) -> int:
        return self._find(name)[0]

    def access(self, operations: Sequence[tuple[BusOperation, int, int]]) -> list[tuple[BusStatus, int]]:
        return self.twin.bus(operations)

    def try_write(self, name: str, raw: int) -> BusStatus:
        address, register = self._find(name)
        ((status, _),) = self.access([(BusOperation.WRITE, address, register.encode(raw) & 0xFFFFFFFF)])
        return status

    def write(self, values: Mapping[str, int]) -> None:
        for name, raw in values.items():
            status = self.try_write(name, raw)
            if status is not BusStatus.OK:
                raise RuntimeError(f"{name} = {raw}: {status.name}")

    def write_physical(self, values: Mapping[str, float]) -> None:
        self.write({name: self.calibration.to_raw(self._find(name)[1], value) for name, value in values.items()})

    def read(self, name: str) -> int:
        address, register = self._find(name)
        pattern = 0
        for word in range(register.words):
            ((_, value),) = self.access([(BusOperation.READ, address + 4 * word, 0)])
            pattern |= value << (32 * word)
        return register.decode(pattern)

    # Time

    def run(self, seconds: float, heartbeat: bool = True) -> None:
        """Board time, with a host that lives or not."""
        left = self.calibration.cycles(seconds)
        beat = self.calibration.cycles(BEAT_S)
        while left > 0:
            step = min(left, beat - self._since_beat)
            self.twin.run(step)
            left -= step
            self._since_beat += step
            if self._since_beat >= beat:
                self._since_beat = 0
                if heartbeat:
                    self.write({"interlock.heartbeat": 1})

    # To the work

    def _arm(self) -> None:
        self.write(self.raw)
        self.write({"interlock.commissioned": int(FULL.straps & STRAPS_COMMISSIONED) | RECORD_NUMBER << 3})
        self.run(BEAT_S)
        self.write({"interlock.heartbeat": 1, "interlock.command": InterlockCommand.ARM})
        while self.read("interlock.state") == InterlockState.ARMING:
            self.run(10e-6)
        if self.read("interlock.state") != InterlockState.ARMED:
            result, cause = ArmingResult(self.read("interlock.arming_result")), self.read("interlock.arming_cause")
            raise RuntimeError(f"the twin does not arm: {result.name}, {Cause(cause).name if cause < len(Cause) else 'no condition'}")

    def _feedback(self, slew_m_per_s: float) -> None:
        ki_m = 2 * math.pi * BANDWIDTH_HZ * self.calibration.sample_period_s / LOG2_PER_M
        self.write({"feedback.linearizer": Linearizer.LOG})
        self.write_physical(
            {
                "gate.bias": BIAS_V, "feedback.setpoint": self.setpoint_log2, "feedback.kp": 0.0, "feedback.ki": ki_m,
                "feedback.slew": slew_m_per_s * self.calibration.sample_period_s,
            }
        )  # fmt: skip
        self.write({"feedback.mode": FeedbackMode.ON})

    def _approach(self) -> None:
        code = self.calibration.current_to_code(SETPOINT_A)
        self.setpoint_log2 = math.log2(code)
        self._feedback(2e-6)
        met = 0
        for _ in range(400):
            self.run(1e-3)
            met = met + 1 if self.read("capture.sample") > 0.5 * code else 0
            if met == 3:
                break
        else:
            raise RuntimeError("the twin's tip does not find the surface")
        self._feedback(20e-6)
        self.run(20e-3)

    def _scan(self) -> None:
        """A frame of 50 nm and lines without end for a campaign; 160 us a pixel, as by default."""
        frame = Frame(50e-9, 50e-9, 128, 8192)
        plan = plan_raster(Raster(frame, 160e-6, overscan_s=1e-3, acceleration_m_per_s2=0.01), self.calibration)
        self.write(plan.registers)
        x_m, y_m, _ = plan.start_m
        self.write_physical({"scan.target_x": x_m, "scan.target_y": y_m, "scan.move_step": 2e-6 * self.calibration.sample_period_s})
        self.write({"scan.command": ScanCommand.MOVE})
        while self.read("scan.state") == ScanState.MOVING:
            self.run(1e-3)
        self.write({"scan.command": ScanCommand.START})
        self.run(5e-3)
        if not self.twin.live:
            raise RuntimeError(f"the twin tripped on its way to the scan: {self.outcome()}")

    # Judgement

    def judge_limits(self) -> JudgeLimits:
        """What the judge goes by, from the raw limits that were written."""
        raw = self.raw
        on = raw["interlock.enable"]

        def enabled(cause: Cause) -> int:
            return on >> cause & 1

        limits = JudgeLimits()
        for index, channel in enumerate(("current", "monitor")):
            limits.high[index] = raw[f"signals.{channel}_high"]
            limits.low[index] = raw[f"signals.{channel}_low"]
            limits.slew[index] = raw[f"signals.{channel}_slew"]
        limits.window_on = 1 | enabled(Cause.MONITOR_HIGH) << 1
        limits.slew_on = enabled(Cause.CURRENT_SLEW) | enabled(Cause.MONITOR_SLEW) << 1
        limits.saturated_on, limits.stuck_on = enabled(Cause.SATURATED), enabled(Cause.STUCK)
        limits.stuck_samples = raw["signals.stuck_samples"]
        limits.oscillation_on = enabled(Cause.OSCILLATION)
        limits.oscillation_limit = raw["signals.oscillation_limit"] / (1 << 20)
        limits.setpoint = self.setpoint_log2
        limits.fast_shift, limits.slow_shift = raw["signals.oscillation_fast"], raw["signals.oscillation_slow"]
        limits.window_shift = raw["signals.oscillation_window"]
        limits.ready_required, limits.gain_expected = raw["interlock.ready_required"], raw["interlock.gain_expected"]
        limits.ready_on, limits.gain_on = enabled(Cause.READY), enabled(Cause.GAIN)
        limits.heartbeat_timeout = raw["interlock.heartbeat_timeout"]
        limits.readback_on = enabled(Cause.READBACK)
        for index, axis in enumerate("xyz"):
            limits.box_high[index], limits.box_low[index] = raw[f"envelope.{axis}_high"], raw[f"envelope.{axis}_low"]
        for index, side in enumerate(("low", "high")):
            limits.keep_x[index], limits.keep_y[index] = raw[f"envelope.keep_out_0_x_{side}"], raw[f"envelope.keep_out_0_y_{side}"]
        limits.keep_on = 1
        return limits

    def outcome(self) -> Outcome:
        state = InterlockState(self.read("interlock.state"))
        cause = self.read("interlock.first_cause")
        name = Cause(cause).name if cause < len(Cause) else ""
        return Outcome(state, name, self.read("interlock.trip_value"), self.read("interlock.trip_limit"), self.twin.safe_cycle)
