"""The feedback as a control loop: response against theory, tuning, a step of the surface, the second controller."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray
from running_board import RunningBoard, StartBoard

from reflexarc.calibration import Calibration
from reflexarc.contract.blocks.feedback import FeedbackMode, Linearizer
from reflexarc.control import Gains, Tuning, margins
from reflexarc.control.theory import stm_response
from reflexarc.device import Controller
from reflexarc.device.controller import AsyncController
from reflexarc.experiments.approach import approach
from reflexarc.experiments.scan import LineCollector, configure_raster, raster
from reflexarc.experiments.settings import ScanSettings
from reflexarc.experiments.tune import measure_response, set_gains, tune_feedback
from reflexarc.scans import Mode

SEED = 7
STEP_M = 1e-9
DECAY_PER_M = 1.087e10  # sqrt(2 m 4.5 eV) / hbar: Au(111), as the plant has it
GENTLE = ScanSettings(bandwidth_Hz=300.0, width_m=4e-9, height_m=4e-9)


async def begin(device: AsyncController, settings: ScanSettings) -> None:
    await device.set_limits(settings.limits)
    await device.arm()
    await configure_raster(device, settings)
    await approach(device, settings)


@pytest.fixture(scope="module")
def gold(start_module_board: StartBoard) -> RunningBoard:
    return start_module_board("--seed", str(SEED))


@pytest.fixture(scope="module")
def tuned(gold: RunningBoard) -> Tuning:
    """On Au(111)."""
    with Controller(gold.address, lockstep=True) as board:
        board.run(begin(board.device, GENTLE))
        _, found = board.run(tune_feedback(board.device))
        board.disarm()
    print(f"seed {SEED}: {found}")
    return found


def test_the_response_is_what_theory_says(gold: RunningBoard) -> None:
    """0.5 dB and 5 degrees, at each frequency that can be told from noise so well."""
    with Controller(gold.address, lockstep=True) as board:
        board.run(begin(board.device, GENTLE))
        found = board.run(measure_response(board.device, time_s=0.2))  # long enough that 200 Hz stands out too
        known = board.run(board.device.truth())["response"]
        board.disarm()
    theory = stm_response(found.frequency_Hz, sample_period_s=found.sample_period_s, **known)
    ratio = found.gain_per_m / theory
    sure = found.deviation / np.abs(found.gain_per_m) < 0.015
    decibels, degrees = 20 * np.log10(np.abs(ratio[sure])), np.degrees(np.angle(ratio[sure]))
    band = found.frequency_Hz[sure]
    print(
        f"seed {SEED}: {len(band)} of {len(sure)} frequencies from {band[0]:.0f} to {band[-1]:.0f} Hz, "
        f"at most {np.abs(decibels).max():.2f} dB and {np.abs(degrees).max():.1f} degrees from theory"
    )
    assert len(band) >= 15 and band[0] < 300 and band[-1] > 50e3
    assert np.abs(decibels).max() < 0.5 and np.abs(degrees).max() < 5


def test_tuned_gains_have_their_margins(tuned: Tuning) -> None:
    reached = tuned.margins
    assert reached.gain_dB >= 6 and reached.phase_deg >= 60 and reached.peak <= 1.4
    assert reached.bandwidth_Hz > 3e3


@pytest.fixture(scope="module")
def cliff(start_module_board: StartBoard, tmp_path_factory: pytest.TempPathFactory) -> RunningBoard:
    """A terrace, and 1 nm below it another one; the edge, at x = 0, is 20 pm wide."""
    heights = np.zeros((200, 1000))
    heights[:, 500:] = -STEP_M
    path = tmp_path_factory.mktemp("specimen") / "cliff.npy"
    np.save(path, heights)
    return start_module_board("--seed", str(SEED), "--specimen", str(path), "--size", "20e-9")


async def line(device: AsyncController, settings: ScanSettings) -> NDArray[np.float64]:
    await configure_raster(device, settings)
    await device.sleep(3e-3)
    collector = LineCollector(settings, device.calibration, None)
    await raster(device, settings, collector)
    return np.asarray(collector.image_m[0], np.float64)


def test_the_tuned_feedback_follows_a_step_that_it_was_not_tuned_on(cliff: RunningBoard, tuned: Tuning) -> None:
    """Down at a speed at which the edge is one of a few samples, up as fast as the tip gets out of the way."""
    with Controller(cliff.address, lockstep=True) as board:
        device = board.device
        period_s = device.calibration.sample_period_s
        down = dataclasses.replace(
            GENTLE, width_m=3e-9, height_m=0.1e-9, lines=1, pixels=2500, pixel_s=period_s, mode=Mode.FORWARD, overscan_s=0.0
        )
        up = dataclasses.replace(down, angle_deg=180.0, pixels=4000, pixel_s=26 * period_s)
        board.run(begin(device, down))
        board.run(set_gains(device, tuned.gains))
        for name, settings in (("down", down), ("up", up)):
            z = board.run(line(device, settings))
            fifth = len(z) // 5
            first, last = z[:fifth].mean(), z[-fifth:].mean()
            travelled = (z - first) / (last - first)
            speed = settings.width_m / (settings.pixels * settings.pixel_s)
            print(f"seed {SEED}, {name} at {speed * 1e6:.2f} um/s: {(last - first) * 1e9:+.3f} nm, overshoot {travelled.max() - 1:.1%}")
            assert abs(last - first) == pytest.approx(STEP_M, rel=0.03)
            assert travelled.max() < 1.1 and travelled.min() > -0.1
        response = board.run(measure_response(device))
        board.disarm()
    reached = margins(response, tuned.gains)
    print(f"here: {reached}")
    assert reached.gain_dB > 5 and reached.phase_deg > 55 and reached.peak < 1.5


def bias_gains(calibration: Calibration, bias_V: float, bandwidth_Hz: float) -> Gains:
    """log2 of the current changes by 1 / (ln 2 bias) a volt."""
    return Gains(0.0, 2 * np.pi * bandwidth_Hz * calibration.sample_period_s * np.log(2) * abs(bias_V))


def test_the_second_controller_holds_the_current_with_the_bias(gold: RunningBoard) -> None:
    """At constant height: 20 pm further away the bias is greater by the gap's exponential, and the current is the same."""
    settings = dataclasses.replace(GENTLE, bias_V=-0.3)
    away_m = 20e-12

    async def wait_and_read(device: AsyncController) -> tuple[float, float]:
        await device.sleep(10e-3)
        read = [await device.registers.read("bias_feedback.output", "capture.sample") for _ in range(20) if not await device.sleep(50e-6)]
        bias, current = np.mean(read, axis=0)
        return float(bias), float(abs(current))

    async def control(device: AsyncController) -> list[tuple[float, float]]:
        registers = device.registers
        await begin(device, settings)
        await device.feedback_hold()
        gains = bias_gains(device.calibration, settings.bias_V, 500.0)
        await registers.write(
            {
                "bias_feedback.setpoint": device.setpoint_log2(settings.setpoint_A), "bias_feedback.kp": gains.kp_m,
                "bias_feedback.ki": gains.ki_m, "bias_feedback.low": -1.0, "bias_feedback.high": -0.1,
            }
        )  # fmt: skip
        await registers.write_raw({"bias_feedback.linearizer": Linearizer.LOG, "bias_feedback.mode": FeedbackMode.HOLD})
        await registers.write_raw({"bias_feedback.mode": FeedbackMode.ON})
        found = [await wait_and_read(device)]
        await registers.write({"feedback.hold_step": 1e-12, "feedback.hold_height": away_m})
        found.append(await wait_and_read(device))
        await registers.write_raw({"bias_feedback.mode": FeedbackMode.OFF})
        await device.check_live()
        return found

    with Controller(gold.address, lockstep=True) as board:
        (near_V, near_A), (far_V, far_A) = board.run(control(board.device))
        board.disarm()
    print(f"seed {SEED}: {near_V:.3f} V, {near_A * 1e12:.1f} pA; {far_V:.3f} V, {far_A * 1e12:.1f} pA")
    assert near_A == pytest.approx(settings.setpoint_A, rel=0.1) and far_A == pytest.approx(settings.setpoint_A, rel=0.1)
    assert far_V / near_V == pytest.approx(np.exp(2 * DECAY_PER_M * away_m), rel=0.1)
