"""Other instruments beside the scan: what paces it, what it paces, and what becomes of them when one fails or the board trips."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from running_board import RunningBoard, StartBoard, make_harmless

from reflexarc.calibration import Calibration
from reflexarc.contract.blocks.interlock import Cause
from reflexarc.contract.blocks.scan import Blanking, ScanState
from reflexarc.contract.blocks.sync import SyncLine, SyncMode
from reflexarc.contract.packets import Channel, Direction, Packet
from reflexarc.device import Controller
from reflexarc.device.controller import AsyncController
from reflexarc.errors import BadInput, BoardTripped, InstrumentLate
from reflexarc.experiments.scan import LineCollector, configure_raster, geometry, raster
from reflexarc.experiments.settings import ScanSettings
from reflexarc.safety import Limits
from reflexarc.scans import Mode
from reflexarc.store import ScanWriter, read_scan

SEED = 4
PATIENT = Limits(conditions=Limits().conditions - {Cause.UNDERFLOW})  # who waits in vain does not trip
ANSWER_SAMPLES = 8  # of a pixel, until the trigger is out, an edge has come in, and the scan has looked at it
MONITOR_NOISE_V = 1e-3  # the twin adds 0 to 1.5 mV to each sample: 0.75 mV to a mean
RELAY_CYCLES = 1000  # that the twin's column takes for its scan inputs
AT_REST = {
    "sync.mode": 0, "sync.external": 0, "sync.wait_samples": 0, "sync.pulse_cycles": 10, "scan.blanking": 7,
    "capture.channels": 1 << Channel.Z | 1 << Channel.CURRENT,
}  # fmt: skip


STEPPED = ScanSettings(width_m=12e-9, height_m=8e-9, pixels=6, lines=4, pixel_s=10e-6, mode=Mode.FORWARD, stepped=True)
SWEPT = ScanSettings(width_m=12e-9, height_m=8e-9, pixels=6, lines=4, pixel_s=40e-6, overscan_s=0.2e-3)


class KeptPackets(LineCollector):
    """A collector that keeps what it was given."""

    def __init__(self, settings: ScanSettings, calibration: Calibration, writer: ScanWriter | None = None) -> None:
        super().__init__(settings, calibration, writer)
        self.packets: list[Packet] = []

    def add(self, packet: Packet) -> None:
        self.packets.append(packet)
        super().add(packet)

    @property
    def samples(self) -> NDArray[np.int64]:
        return np.array([packet.samples for packet in self.packets])

    def sums(self, channel: Channel) -> NDArray[np.int64]:
        return np.array([packet.sums[channel] for packet in self.packets])

    @property
    def line_cycles(self) -> NDArray[np.int64]:
        """When the lines' forward passes began."""
        return np.array([packet.time for packet in self.packets if packet.direction is Direction.FORWARD])


@pytest.fixture(scope="module")
def instrument(start_module_board: StartBoard) -> RunningBoard:
    return start_module_board("--seed", str(SEED))


@pytest.fixture
def board(instrument: RunningBoard) -> Iterator[Controller]:
    """In lockstep, disarmed, the tip withdrawn; nothing is connected, before and after."""
    with Controller(instrument.address, lockstep=True) as found:
        unplug(found)
        yield found
        unplug(found)


def unplug(board: Controller) -> None:
    make_harmless(board)
    board.run(board.device.inject("instruments"))
    board.write(AT_REST)
    board.run(board.device.sleep(1e-3))
    board.device.take_packets()


def arm(board: Controller, limits: Limits = PATIENT) -> None:
    board.set_limits(limits)
    board.arm()


def cycles(board: Controller, seconds: float) -> int:
    return board.device.calibration.cycles(seconds)


def scan(board: Controller, settings: ScanSettings, writer: ScanWriter | None = None) -> KeptPackets:
    """One whole frame."""
    settings.check(board.device.calibration)
    collector = KeptPackets(settings, board.device.calibration, writer)

    async def frame() -> None:
        await configure_raster(board.device, settings)
        await raster(board.device, settings, collector)

    board.run(frame())
    assert collector.pixels == collector.expected and not collector.lost_packets
    return collector


def begin(board: Controller, settings: ScanSettings, **registers: int) -> None:
    """A frame that nobody waits for; ``registers`` of the sync block are set before it starts."""

    async def start(device: AsyncController) -> None:
        await configure_raster(device, settings)
        await device.registers.write_raw({f"sync.{name}": value for name, value in registers.items()})
        await device.start_scan()

    board.run(start(board.device))


def state(board: Controller) -> ScanState:
    return board.run(board.device.scan_state())


def sleep(board: Controller, seconds: float) -> None:
    board.run(board.device.sleep(seconds))


def exposures(board: Controller) -> int:
    return int(board.run(board.device.truth())["camera_frames"])


@pytest.mark.parametrize("settings", [STEPPED, SWEPT], ids=["stepped", "there and back"])
def test_a_camera_paces_the_pixels(board: Controller, settings: ScanSettings) -> None:
    """Each pixel is exposed once, whole, and the scan lasts as long as the camera needs for it: 30 times as long as it would alone."""
    exposure_s = 300e-6
    arm(board)
    board.run(board.device.inject("instruments", camera_exposure_cycles=cycles(board, exposure_s)))
    before, late = exposures(board), board.read("sync.late")
    collector = scan(board, dataclasses.replace(settings, waits_for=SyncMode.CAMERA))
    assert exposures(board) - before == collector.expected
    assert board.read("sync.late") == late
    least = exposure_s / board.device.calibration.sample_period_s
    assert (collector.samples >= least).all() and (collector.samples <= least + ANSWER_SAMPLES).all()
    assert all(packet.pixel_samples < least / 5 for packet in collector.packets)
    if settings.stepped:
        frame = collector.packets[-1].time - collector.packets[0].time
        assert frame == pytest.approx((settings.lines - 1) * settings.pixels * cycles(board, exposure_s), rel=0.02)


@pytest.mark.parametrize(("blanking", "blanked"), [(Blanking(7), 1), (Blanking.BETWEEN_LINES | Blanking.BETWEEN_POINTS, 0)])
def test_a_camera_that_never_comes_is_late(board: Controller, blanking: Blanking, blanked: int) -> None:
    """Once, after wait_samples and not before; the beam goes if that was asked for, and the scan goes on waiting."""
    wait_s = 200e-6
    arm(board)
    board.write({"scan.blanking": blanking})
    (late,) = board.read("sync.late")
    begin(board, dataclasses.replace(STEPPED, waits_for=SyncMode.CAMERA, wait_s=wait_s))
    sleep(board, STEPPED.pixel_s + wait_s - 10e-6)
    assert board.read("sync.late", "gate.blanked") == [late, 0]
    for _ in range(3):
        sleep(board, 2 * wait_s)
        assert board.read("sync.late", "gate.blanked") == [late + 1, blanked]
        assert state(board) is ScanState.FORWARD and board.status()["interlock"] == "armed"
    board.run(board.device.stop_scan())
    sleep(board, 100e-6)
    assert state(board) is ScanState.IDLE and board.read("gate.blanked") == [1]
    assert [(packet.aborted, packet.index) for packet in board.device.take_packets()] == [(True, ())]


def test_a_camera_that_never_comes_trips_where_underflow_counts(board: Controller) -> None:
    wait_s = 200e-6
    arm(board, Limits())
    (late,) = board.read("sync.late")
    began = board.run(board.device.time_cycles())
    with pytest.raises(BoardTripped, match="UNDERFLOW"):
        scan(board, dataclasses.replace(STEPPED, waits_for=SyncMode.CAMERA, wait_s=wait_s))
    trip = board.last_trip()
    assert trip is not None and trip.cause == "UNDERFLOW"
    assert cycles(board, wait_s) < trip.time_cycles - began < cycles(board, wait_s + 1e-3)
    assert board.read("sync.late", "gate.blanked") == [late + 1, 1]


def test_a_scan_without_its_camera_says_so_where_underflow_does_not_count(board: Controller) -> None:
    arm(board)
    with pytest.raises(InstrumentLate, match="waited for the camera for more than 0.001 s"):
        scan(board, dataclasses.replace(STEPPED, waits_for=SyncMode.CAMERA, wait_s=1e-3))
    assert state(board) is ScanState.IDLE and board.status()["interlock"] == "armed"


def test_a_slow_camera_lights_no_longer_than_it_may(board: Controller) -> None:
    """Each of its pixels is late, and dark from then on; the scan comes to its end all the same."""
    exposure_s, wait_s = 300e-6, 100e-6
    arm(board)
    board.run(board.device.inject("instruments", camera_exposure_cycles=cycles(board, exposure_s)))
    (late,), lit_before_s = board.read("sync.late"), board.dose()["open_s"]
    begin(board, dataclasses.replace(STEPPED, waits_for=SyncMode.CAMERA, wait_s=wait_s))
    pixels = STEPPED.pixels * STEPPED.lines
    sleep(board, pixels * (exposure_s + 20e-6))
    assert state(board) is ScanState.IDLE and sum(len(packet.index) for packet in board.device.take_packets()) == pixels
    assert board.read("sync.late") == [late + pixels]
    lit_s = (board.dose()["open_s"] - lit_before_s) / pixels
    assert lit_s == pytest.approx(STEPPED.pixel_s + wait_s, rel=0.05)


def test_an_external_clock_paces_the_pixels(board: Controller) -> None:
    """One pixel an edge, whatever the clock's phase to the samples; edges that no pixel waited for are counted."""
    period = 1234
    per_sample = board.device.calibration.cycles_per_sample
    arm(board)
    (missed,) = board.read("sync.missed")
    began = board.run(board.device.time_cycles())
    board.run(board.device.inject("instruments", pixel_clock_cycles=period))
    collector = scan(board, dataclasses.replace(STEPPED, pixel_s=1e-6, waits_for=SyncMode.PIXEL_CLOCK))
    board.run(board.device.inject("instruments"))
    edges = (board.run(board.device.time_cycles()) - began) / period
    lasted = collector.samples.ravel() * per_sample
    whole = lasted[2:]  # the first ones begin between two edges
    assert (lasted[:2] < period + per_sample).all() and (abs(whole - period) < per_sample).all()
    assert abs(whole.sum() - len(whole) * period) < per_sample
    assert collector.expected + board.read("sync.missed")[0] - missed == pytest.approx(edges, abs=2)


def test_lines_start_in_phase_with_mains(board: Controller) -> None:
    """Each at the same place of a period of 20 ms, in whatever part of it the scan was started."""
    period = cycles(board, 1 / 50)
    settings = dataclasses.replace(SWEPT, lines=3, waits_for=SyncMode.LINE_TRIGGER)
    arm(board)
    board.run(board.device.inject("instruments", line_trigger_cycles=period))
    starts: list[int] = []
    for wait_s in (0.0, 7.3e-3):
        sleep(board, wait_s)
        collector = scan(board, settings)
        starts += collector.line_cycles.tolist()
        assert np.diff(collector.line_cycles) == pytest.approx(period, abs=2 * board.device.calibration.cycles_per_sample)
    phases = (np.array(starts) - starts[0] + period // 2) % period - period // 2
    assert np.ptp(phases) <= 2 * board.device.calibration.cycles_per_sample
    alone = scan(board, dataclasses.replace(SWEPT, lines=3)).line_cycles
    assert (np.diff(alone) < period / 4).all()


def test_a_scan_waits_for_the_column(board: Controller) -> None:
    """Until it was asked and has handed over; nothing moves before, the beam is off, and it is late if it takes too long."""
    arm(board)
    wait = board.device.calibration.samples(1e-3)
    (late,) = board.read("sync.late")
    begin(board, STEPPED, mode=SyncMode.EXTERNAL_SCAN, wait_samples=wait)
    here = board.read("scan.x", "scan.y")
    sleep(board, 0.9e-3)
    assert state(board) is ScanState.WAIT and board.read("sync.late") == [late]
    sleep(board, 3e-3)
    assert state(board) is ScanState.WAIT and board.read("scan.x", "scan.y") == here
    assert board.read("sync.late", "sync.lines", "gate.blanked") == [late + 1, SyncLine.CAMERA_READY, 1]
    assert not board.device.take_packets()
    asked = board.run(board.device.time_cycles())
    board.write({"sync.external": 1})
    sleep(board, 2e-3)
    assert state(board) is ScanState.IDLE
    packets = board.device.take_packets()
    assert [packet.line for packet in packets] == list(range(STEPPED.lines)) and not any(packet.aborted for packet in packets)
    assert RELAY_CYCLES < packets[0].time - asked < RELAY_CYCLES + 20 * board.device.calibration.cycles_per_sample
    assert board.read("sync.lines") == [SyncLine.CAMERA_READY | SyncLine.EXTERNAL_SCAN]
    board.write({"sync.external": 0})
    sleep(board, 1e-3)
    assert board.read("sync.lines") == [SyncLine.CAMERA_READY]
    # A scan asks for itself, and gives the column back at its end.
    again = scan(board, dataclasses.replace(STEPPED, waits_for=SyncMode.EXTERNAL_SCAN))
    assert again.pixels == again.expected
    sleep(board, 1e-3)
    assert board.read("sync.external", "sync.lines") == [0, SyncLine.CAMERA_READY]


def test_pulses_are_counted_in_their_pixels(board: Controller) -> None:
    """Rate times dwell in each, no pulse twice and none left out: pulses that come while one line is scanned are all in its pixels."""
    periods = (37, 1010)
    per_sample = board.device.calibration.cycles_per_sample
    channels = (Channel.COUNTER_0, Channel.COUNTER_1)
    arm(board)
    board.run(board.device.inject("instruments", pulse_cycles=periods))
    collector = scan(board, dataclasses.replace(SWEPT, pixel_s=400e-6, channels=frozenset(channels)))
    assert collector.extra.keys() == set(channels)
    for channel, period in zip(channels, periods, strict=True):
        due = collector.samples * per_sample / period
        assert (abs(collector.sums(channel) - due) < 1).all()
        assert (abs(collector.sums(channel).sum(axis=1) - due.sum(axis=1)) < 1).all()
        for packet in collector.packets:
            row = collector.extra[channel][packet.direction][packet.line]
            assert row.dtype == np.int64 and row[list(packet.index)].tolist() == list(packet.sums[channel])

    board.run(board.device.inject("instruments"))
    before = board.read("capture.count_0", "capture.count_1")
    begin(board, dataclasses.replace(STEPPED, pixels=20, lines=1, pixel_s=400e-6, channels=frozenset(channels)))
    sleep(board, 0.7e-3)
    board.run(board.device.inject("instruments", pulse_cycles=periods))
    sleep(board, 5e-3)
    board.run(board.device.inject("instruments"))
    sleep(board, 5e-3)
    (packet,) = board.device.take_packets()
    counted = np.array(board.read("capture.count_0", "capture.count_1")) - before
    assert [sum(packet.sums[channel]) for channel in channels] == counted.tolist()
    assert counted == pytest.approx([cycles(board, 5e-3) / period for period in periods], abs=1)
    assert all(packet.sums[channel][0] == packet.sums[channel][-1] == 0 for channel in channels)


def test_the_monitor_is_an_image_in_volts(board: Controller, tmp_path: Path) -> None:
    """In both directions and passes, in the file too; the next scan that does not ask for it has z and current alone."""
    settings = dataclasses.replace(SWEPT, lines=3, lift_m=-1e-9, channels=frozenset({Channel.MONITOR, Channel.COUNTER_1}))
    pulse = 500
    arm(board)
    board.run(board.device.inject("instruments", pulse_cycles=(0, pulse)))
    for volts in (1.25, -3.5):
        board.run(board.device.inject("monitor", volts=volts))
        path = tmp_path / f"{volts}.h5"
        with ScanWriter(path, geometry(settings, board.device.calibration), {}, True, settings.channels) as writer:
            collector = scan(board, settings, writer)
        data = read_scan(path)
        assert data.second is not None and data.line_complete.all()
        for images, stored in ((collector.extra, (data.forward, data.backward)), (collector.second_extra, data.second)):
            for direction, channels in zip(Direction, stored, strict=True):
                assert abs(images[Channel.MONITOR][direction] - volts).max() < MONITOR_NOISE_V
                due = channels.samples * board.device.calibration.cycles_per_sample / pulse
                assert (abs(images[Channel.COUNTER_1][direction] - due) < 1).all()
                np.testing.assert_array_equal(channels.monitor_V, images[Channel.MONITOR][direction])
                np.testing.assert_array_equal(channels.counter_1, images[Channel.COUNTER_1][direction])
                assert channels.counter_0 is None
    plain = scan(board, SWEPT)
    assert not plain.extra and all(packet.sums.keys() == {Channel.Z, Channel.CURRENT} for packet in plain.packets)


def test_a_packet_without_its_channels_is_refused(board: Controller) -> None:
    arm(board)
    settings = dataclasses.replace(STEPPED, channels=frozenset({Channel.MONITOR}))
    begin(board, STEPPED)
    sleep(board, 2e-3)
    (packet, *_) = board.device.take_packets()
    with pytest.raises(BadInput, match="packet of line 0 comes without MONITOR; were the channels changed meanwhile"):
        LineCollector(settings, board.device.calibration, None).add(packet)


def test_the_gates_lines_follow_the_scan(board: Controller) -> None:
    """A pulse each pixel, the line high while pixels are taken, the frame from the scan's beginning to its end."""
    settings = dataclasses.replace(SWEPT, pixels=4, lines=3, pixel_s=100e-6)
    arm(board)
    before = board.run(board.device.truth())["gate_line_rises"]
    collector = scan(board, settings)
    rises = {name: count - before[name] for name, count in board.run(board.device.truth())["gate_line_rises"].items()}
    assert rises == {"pixel": collector.expected, "line": 2 * settings.lines, "frame": 1, "external": 0}

    begin(board, settings)
    period_s = board.device.calibration.sample_period_s
    seen: set[ScanState] = set()
    for _ in range(400):
        found = state(board)
        sleep(board, 5 * period_s)
        high = board.run(board.device.truth())["gate_lines"]
        if state(board) is found:  # no edge is under way
            seen.add(found)
            assert ("line" in high) is (found in (ScanState.FORWARD, ScanState.BACKWARD))
            assert ("frame" in high) is (found is not ScanState.IDLE)
        if found is ScanState.IDLE:
            break
        sleep(board, 20e-6)
    assert {ScanState.FORWARD, ScanState.BACKWARD, ScanState.TURN, ScanState.OVERSCAN, ScanState.IDLE} <= seen


def trip(board: Controller) -> None:
    board.trip()


def disarm(board: Controller) -> None:
    board.disarm()


@pytest.mark.parametrize("end", [trip, disarm])
def test_the_gates_lines_are_low_once_outputs_are_safe(board: Controller, end: Callable[[Controller], None]) -> None:
    """In the middle of a pixel's pulse, and for good; but the column keeps its inputs where they are, for letting go would move the beam."""
    arm(board)
    board.write({"sync.pulse_cycles": 65535})
    begin(board, dataclasses.replace(STEPPED, pixel_s=3e-3, waits_for=SyncMode.EXTERNAL_SCAN))
    sleep(board, 1e-3)
    assert board.run(board.device.truth())["gate_lines"] == ["pixel", "line", "frame", "external"]
    end(board)
    sleep(board, 1e-6)
    rises = board.run(board.device.truth())["gate_line_rises"]
    for _ in range(5):
        found = board.run(board.device.truth())
        assert found["gate_lines"] == ["external"] and found["gate_line_rises"] == rises
        sleep(board, 2e-3)
    assert board.read("sync.lines") == [SyncLine.CAMERA_READY | SyncLine.EXTERNAL_SCAN]
    assert state(board) is ScanState.IDLE
