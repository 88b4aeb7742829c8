"""Programs beside a scan on the twin: decisions, their times, what ends them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from running_board import StartBoard

from reflexarc.contract.blocks.events import EventChannel
from reflexarc.contract.blocks.feedback import FeedbackMode
from reflexarc.contract.blocks.interlock import InterlockState
from reflexarc.contract.blocks.scan import ScanState
from reflexarc.contract.program import BANK_ROWS, Operation, Row, StopReason
from reflexarc.device import Controller
from reflexarc.device.sequencer import load_rows, program_status, start_program, stop_program
from reflexarc.errors import BadInput, BoardTripped, RegisterRefused
from reflexarc.experiments.approach import approach
from reflexarc.experiments.program import ProgramRun, run_program
from reflexarc.experiments.scan import configure_raster
from reflexarc.experiments.settings import ScanSettings
from reflexarc.programs.build import Program, bias, clock, current, event, x, y
from reflexarc.programs.compile import compile_program
from reflexarc.programs.text import parse
from reflexarc.programs.tree import ProgramTree, Score
from reflexarc.programs.verify import Assumptions, verify
from reflexarc.safety.limits import Limits

ADATOM = event("adatom", 7, Score.Z)
ADATOM_M = (1e-9, -1.5e-9)
PLANT = f"""
drift_x_m_per_s = 0.0
drift_y_m_per_s = 0.0
drift_z_m_per_s = 0.0
adatoms_m = [[{ADATOM_M[0]}, {ADATOM_M[1]}]]
adatom_height_m = 0.25e-9
"""
FRAME = ScanSettings(width_m=6e-9, height_m=6e-9, pixels=32, lines=32, pixel_s=60e-6)


@pytest.fixture
def board(start_board: StartBoard, tmp_path: Path) -> Iterator[Controller]:
    """Armed, the tip approached."""
    plant = tmp_path / "plant.toml"
    plant.write_text(PLANT)
    with Controller(start_board("--plant", str(plant)).address, lockstep=True) as controller:
        controller.set_limits(Limits())
        controller.arm()
        controller.run(configure_raster(controller.device, FRAME))
        controller.run(approach(controller.device, FRAME))
        yield controller


def run(board: Controller, tree: ProgramTree) -> ProgramRun:
    return board.run(run_program(board.device, compile_program(tree, board.device.calibration)))


def test_pulse_an_adatom(board: Controller) -> None:
    """The scan finds it, the program goes there, pulses, and the scan goes on to its end without losing a pixel."""
    with Program("pulse adatoms") as p:
        hit = p.wait_event(ADATOM, score__gt=20e-12, timeout_s=2.0)
        at_event = p.let(clock)
        with p.feedback_held(settle_s=50e-6):
            p.move_to(hit.x, hit.y, speed_m_per_s=1e-6)
            i0 = p.sample(current, mean_of=64)
            with p.repeat(up_to=20):
                p.pulse(bias, to_V=1.2, for_s=10e-6)
                p.stop_if(p.sample(current, mean_of=64) < 0.6 * i0)
        p.back()
        p.emit("done", i0, hit.x, hit.y, at_event)
    assert not verify(p.tree, Assumptions(board.device.calibration, Limits())).faults
    (height,) = board.read("feedback.output")
    board.write({"events.enable": 0, "events.channel": EventChannel.Z, "events.class_id": ADATOM.class_id})
    raw = [round((height + above) / board.device.calibration.z_m_per_code * 4096) for above in (120e-12, 60e-12)]
    board.run(board.device.registers.write_raw({"events.on": raw[0], "events.off": raw[1], "events.enable": 1}))
    board.device.take_packets()
    board.run(board.device.start_scan())
    ran = run(board, p.tree)
    assert ran.reason == "done" and board.dose()["pulses"] == 20
    ((i0_A, x_m, y_m, at_s),) = [emission.values for emission in ran.emissions]
    assert i0_A == pytest.approx(100e-12, rel=0.5) and at_s > 1e-3
    assert (x_m, y_m) == pytest.approx(ADATOM_M, abs=0.8e-9)  # its flank comes first
    while board.run(board.device.scan_state()) is not ScanState.IDLE:
        board.run(board.device.sleep(10e-3))
    assert board.read("capture.pixels_lost") == [0]
    lines = board.device.take_packets()
    assert len(lines) == 2 * FRAME.lines and all(len(packet.index) == FRAME.pixels and not packet.lost for packet in lines)
    assert board.run(board.device.state()) is InterlockState.ARMED


def test_absolute_times_have_no_jitter(board: Controller) -> None:
    """Whatever lies between, a step comes when it is due, to the cycle; too late for it is a trip that says so."""
    text = 'program "steps"\nmark\n'
    due_us = (100, 230, 231, 1000)
    for index, micro in enumerate(due_us):
        text += f"{'s = mean of 8 samples of current' if index == 1 else 'mark_ = clock'}\nwait until {micro} us\nat{index} = clock\n"
    text += 'emit "at" at0, at1, at2, at3\n'
    ((found),) = [emission.values for emission in run(board, parse(text.replace("mark_", "spare"))).emissions]
    cycle_s = board.device.calibration.seconds(1)
    gaps = {round((at - micro * 1e-6) / cycle_s) for at, micro in zip(found, due_us, strict=True)}
    assert len(gaps) == 1  # the clock is read so many cycles after each time, always as many
    late = parse('program "late"\nmark\nwait 50 us\nwait until 40 us')
    assert "late is a trip" in verify(late, Assumptions(board.device.calibration, Limits())).faults[0].text
    with pytest.raises(BoardTripped, match="HOST"):
        run(board, late)
    assert StopReason(board.run(board.device.registers.read_raw("sequencer.reason"))[0]) is StopReason.LATE


def test_a_trip_ends_a_program(board: Controller) -> None:
    with pytest.raises(BoardTripped, match="Z_HIGH|BIAS_LOW"):
        run(board, parse('program "no bias"\nset bias 0 V\nwait 1 s'))
    status = board.run(program_status(board.device.registers))
    assert not status.running and status.reason is StopReason.NOT_LIVE
    with pytest.raises(BoardTripped):
        run(board, parse('program "more"\nwait 1 us'))


def test_a_program_that_is_stopped_gives_everything_back(board: Controller) -> None:
    """By whoever is done with it: the feedback goes on, the tip goes back, the scan is free."""
    registers = board.device.registers
    tree = parse(
        'program "away"\nhold feedback:\n    height 1 nm at 1 um/s\n    move to 5 nm, 5 nm at 10 um/s\n    repeat:\n        wait 1 ms\n'
    )
    compiled = compile_program(tree, board.device.calibration)

    async def interrupted() -> None:
        import asyncio

        task = asyncio.create_task(run_program(board.device, compiled))
        while (await registers.read("gate.x_code"))[0] < 4.9e-9:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    board.run(interrupted())
    board.run(board.device.sleep(10e-3))
    assert not board.run(program_status(registers)).running
    assert board.run(registers.read_raw("feedback.mode")) == [FeedbackMode.ON]
    assert board.read("gate.x_code")[0] == pytest.approx(board.read("scan.x")[0], abs=2e-12)
    assert board.read("capture.sample")[0] == pytest.approx(100e-12, rel=0.5)


def test_two_banks(board: Controller) -> None:
    """A new program loads while one runs, and the bank that runs is not touched."""
    registers = board.device.registers
    first = compile_program(parse('program "first"\nwait 20 ms\nhalt "a"'), board.device.calibration)
    second = compile_program(parse('program "second"\nhalt "b"'), board.device.calibration)
    bank = board.run(load_rows(registers, first.rows))
    board.run(start_program(registers, bank))
    board.run(board.device.sleep(1e-3))
    assert board.run(load_rows(registers, second.rows)) == 1 - bank
    with pytest.raises(RegisterRefused, match="a program runs already"):
        board.run(start_program(registers, 1 - bank))
    board.run(board.device.sleep(25e-3))
    status = board.run(program_status(registers))
    assert not status.running and first.reasons[status.halt] == "a"
    board.run(start_program(registers, 1 - bank))
    board.run(board.device.sleep(1e-3))
    assert second.reasons[board.run(program_status(registers)).halt] == "b"
    board.run(stop_program(registers))
    with pytest.raises(BadInput, match=f"a program of {BANK_ROWS + 1} rows does not fit"):
        board.run(load_rows(registers, [Row(Operation.HALT)] * (BANK_ROWS + 1)))


def test_many_values_and_events_that_are_missed(board: Controller) -> None:
    """Emissions of several parts come whole, in their order, as fast as the board can send them."""
    with Program("many") as p:
        with p.repeat(40) as n:
            p.emit("five", n, x, y, bias, clock)
        p.emit("none")
    ran = run(board, p.tree)
    five = [emission.values for emission in ran.emissions if emission.tag == "five"]
    assert [values[0] for values in five] == list(range(40)) and ran.lost == 0
    assert [values[3] for values in five] == pytest.approx([0.5] * 40, abs=2e-5)
    assert ran.emissions[-1].tag == "none" and ran.emissions[-1].values == ()
    times = [values[4] for values in five]
    assert times == sorted(times)
