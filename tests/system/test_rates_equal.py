"""The compressed build does, sample by sample, what the true-rate build does: exactly, not nearly.

Both twins get the same plant and seed and the same register writes at the same samples. The run has everything in it that the first machine
can do: approach, scan under feedback, an event and its pulse, a provoked crash, the withdrawal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pytest
from in_process import SampledTwin
from numpy.typing import NDArray

from reflexarc.contract.blocks.events import EventChannel
from reflexarc.contract.blocks.feedback import FeedbackMode, Linearizer
from reflexarc.contract.blocks.interlock import Cause, InterlockCommand, InterlockState
from reflexarc.contract.blocks.recorder import DEPTH, RecorderState
from reflexarc.contract.blocks.scan import ScanCommand
from reflexarc.contract.events import Event
from reflexarc.contract.packets import Packet
from reflexarc.safety import Limits
from reflexarc.safety.commissioning import commissioned_word
from reflexarc.scans import Frame, Raster, plan_raster
from reflexarc_hw.platforms.timing import COMPRESSED, TRUE_RATE, Rate
from reflexarc_sim.plants.stm import StmParameters, StmPlant
from reflexarc_sim.specimens import Specimen
from reflexarc_sim.twin import CAPTURE, EVENTS

SEED = 20
ARMING_SAMPLES = 400  # in which a board of either rate has tested its conditions
BIAS_V = 0.5
SETPOINT_LOG2 = 13.356  # 100 pA with 1 GV/A, in log2 of ADC codes
SIZE_M = 6e-9
PIXELS, LINES = 12, 4
PIXEL_SAMPLES = 60
PULSE_SAMPLES = 50
BUMP_M = 150e-12
THRESHOLD_M = 60e-12  # above the flat; the bump's middle pixels exceed it


@dataclass
class Run:
    """What one build did, with all times in samples."""

    volts: NDArray[np.float64]
    packets: list[dict[str, Any]]
    events: list[dict[str, Any]]
    recorder: list[tuple[int, ...]]
    registers: dict[str, int]
    trip_sample: int
    contacts: int
    contact_depth_m: float


def bump() -> Specimen:
    """Flat with one round hill in the middle, high enough for one event a line that crosses it."""
    x = np.linspace(-SIZE_M / 2, SIZE_M / 2, 64)
    heights = BUMP_M * np.exp(-(x[None, :] ** 2 + x[:, None] ** 2) / (2 * (0.8e-9) ** 2))
    return Specimen(heights, SIZE_M, SIZE_M, "bump")


def run_all(rate: Rate, seed: int, wait_samples: int = 0) -> Run:
    board = SampledTwin(rate, StmPlant(bump(), StmParameters(mean_height_m=-30e-9), seed=seed))
    try:
        return experiment(board, wait_samples)
    finally:
        board.close()


def experiment(board: SampledTwin, wait_samples: int) -> Run:
    """``wait_samples`` puts off the crash."""
    calibration = board.calibration
    period = calibration.sample_period_s

    def to_position(metres: float) -> int:
        return round(metres / calibration.z_m_per_code * 4096)

    board.samples(100)
    limits = Limits(z_velocity_m_per_s=None, retract_m_per_s=200e-6)
    board.write_raw(limits.to_raw(calibration, board.read_raw("interlock.present")))
    # Times in cycles are the one thing that differs between the rates; this one is not to run out.
    board.write_raw({"interlock.heartbeat_timeout": (1 << 31) - 1, "interlock.heartbeat": 1})
    board.write_raw({"interlock.commissioned": commissioned_word(board.read_raw("interlock.straps"), 1), "recorder.decimation": 10})
    board.write_raw({"interlock.command": InterlockCommand.ARM})
    board.samples(ARMING_SAMPLES)
    assert board.read_raw("interlock.state") == InterlockState.ARMED
    board.write({"gate.bias": BIAS_V})

    # To the corner of the frame, then down: fast to 5 nm above the surface, then as slowly as the loop can catch.
    raster = Raster(Frame(SIZE_M, SIZE_M, PIXELS, LINES), PIXEL_SAMPLES * period, overscan_s=20 * period, acceleration_m_per_s2=20.0)
    plan = plan_raster(raster, calibration)
    board.write({"scan.target_x": plan.start_m[0], "scan.target_y": plan.start_m[1], "scan.move_step": 4e-6 * period})
    board.write_raw({"scan.command": ScanCommand.MOVE})
    board.write_raw({"feedback.linearizer": Linearizer.LOG})
    board.write({"feedback.setpoint": SETPOINT_LOG2, "feedback.ki": 6e-12, "feedback.slew": 60e-6 * period})
    board.write_raw({"feedback.mode": FeedbackMode.ON})
    board.samples(round(125e-9 / 60e-6 / period))
    board.write({"feedback.ki": 0.45e-12, "feedback.slew": 1e-6 * period})
    board.samples(round(12e-3 / period))
    board.write({"feedback.slew": 20e-6 * period})

    flat = board.read_raw("feedback.output")
    board.write_raw(
        {"events.channel": EventChannel.Z, "events.on": flat + to_position(THRESHOLD_M), "events.off": flat + to_position(THRESHOLD_M / 2)}
    )
    board.write_raw({"events.class_id": 3, "events.enable": 1, "reaction.pulse_samples": PULSE_SAMPLES, "reaction.settle_samples": 100})
    board.write({"reaction.bias": 1.0})
    board.write_raw({"reaction.budget": 1, "reaction.enable": 1})
    board.write_raw(plan.registers)
    board.write_raw({"scan.command": ScanCommand.START})
    # The last line but one is crossed by the crash.
    board.samples(3 * plan.line_samples + 400 + wait_samples)
    board.twin.plant.provoke_rise(50e-6, 5e-9)
    board.samples(round(3e-3 / period))

    names = (
        "interlock.state", "interlock.first_cause", "interlock.trip_flags", "interlock.trip_value", "interlock.trip_limit", "interlock.trips",
        "recorder.state", "recorder.entries", "recorder.after_trip", "reaction.count", "reaction.remaining", "reaction.ignored",
        "reaction.latency", "reaction.x", "reaction.y", "events.count", "events.lost", "capture.pixels_sent", "capture.pixels_lost",
        "capture.sample", "scan.x", "scan.y", "scan.line", "scan.frames", "feedback.output", "gate.x_code", "gate.y_code", "gate.z_code",
        "gate.bias_code", "gate.blanked", "gate.withdrawn", "system.samples",
    )  # fmt: skip
    registers = {name: board.read_raw(name) for name in names}
    trip_sample = board.read_raw("interlock.trip_time") // board.rate.cycles_per_sample
    volts = board.volts
    packets = [asdict(Packet.from_bytes(data)) for data in board.packets(CAPTURE)]
    events = [asdict(Event.from_bytes(data)) for data in board.packets(EVENTS)]
    for record in (*packets, *events):
        record["time"] //= board.rate.cycles_per_sample
    plant = board.twin.plant
    return Run(volts, packets, events, board.recorder_entries(), registers, trip_sample, plant.contacts, plant.contact_depth_m)


def assert_equal(what: str, compressed: Sequence[Any], true: Sequence[Any]) -> None:
    """Says where the first difference is; a diff of thousands of samples would take minutes and say less."""
    assert len(compressed) == len(true), what
    for index, (one, other) in enumerate(zip(compressed, true, strict=True)):
        if one != other:
            pytest.fail(f"{what} {index} of {len(true)}: {one} when compressed, {other} at true rate")


@pytest.fixture(scope="module", params=[0, 1], ids=["trip", "trip one sample later"])
def runs(request: pytest.FixtureRequest) -> tuple[Run, Run]:
    """A DAC frame goes out each second sample: trips of both kinds, or half of what can differ is not seen."""
    print(f"seed {SEED}")
    return run_all(COMPRESSED, SEED, request.param), run_all(TRUE_RATE, SEED, request.param)


def test_the_run_has_everything_in_it(runs: tuple[Run, Run]) -> None:
    """Otherwise the comparison below would be worth less than it says."""
    for run in runs:
        assert run.registers["interlock.state"] == InterlockState.TRIPPED
        assert run.registers["interlock.first_cause"] == Cause.CURRENT_HIGH
        assert run.registers["reaction.count"] == 1 and run.registers["reaction.latency"] <= 20
        assert run.events and run.registers["gate.withdrawn"] == 1
        assert len(run.packets) == 7 and [packet["aborted"] for packet in run.packets] == [False] * 6 + [True]
        assert sum(len(packet["index"]) for packet in run.packets) > 6 * PIXELS
        assert run.registers["recorder.state"] == RecorderState.FROZEN and len(run.recorder) == DEPTH


def test_outputs_and_currents_are_equal_in_each_sample(runs: tuple[Run, Run]) -> None:
    compressed, true = runs
    assert_equal("x, y, z, bias, current in V of sample", compressed.volts.tolist(), true.volts.tolist())


def test_packets_and_events_are_equal(runs: tuple[Run, Run]) -> None:
    compressed, true = runs
    assert_equal("packet", compressed.packets, true.packets)
    assert_equal("event", compressed.events, true.events)


def test_the_black_box_is_equal(runs: tuple[Run, Run]) -> None:
    compressed, true = runs
    assert_equal("recorder entry", compressed.recorder, true.recorder)
    assert compressed.trip_sample == true.trip_sample


def test_registers_and_contacts_are_equal(runs: tuple[Run, Run]) -> None:
    compressed, true = runs
    assert compressed.registers == true.registers
    assert (compressed.contacts, compressed.contact_depth_m) == (true.contacts, true.contact_depth_m)


def test_both_kinds_of_trip_are_among_them() -> None:
    trips = {run_all(COMPRESSED, SEED, wait).trip_sample % 2 for wait in (0, 1)}
    assert trips == {0, 1}


def test_another_seed_gives_another_run() -> None:
    one, other = run_all(COMPRESSED, SEED), run_all(COMPRESSED, SEED + 1)
    assert not np.array_equal(one.volts, other.volts)
