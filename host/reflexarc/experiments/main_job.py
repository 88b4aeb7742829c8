"""The main job: approach, scan, react, meet a crash, and tell of it."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reflexarc.contract.events import Event
from reflexarc.contract.packets import Direction
from reflexarc.device.controller import AsyncController, Trip
from reflexarc.errors import BoardTripped, ReflexArcError
from reflexarc.experiments.approach import approach
from reflexarc.experiments.blackbox import read_blackbox
from reflexarc.experiments.scan import LineCollector, configure_raster, event_row, geometry, progress, raster, true_surface
from reflexarc.experiments.settings import ScanSettings
from reflexarc.experiments.timings import Timings
from reflexarc.report import draw_report, topography_metrics
from reflexarc.store import ScanWriter

if TYPE_CHECKING:  # the compiler of models takes a moment to load
    from reflexarc.compiler.deploy import Ready

LEVEL_LINES = 12  # the terraces' heights are taken from these first lines
PULSES = 4
PULSE_V = 2.0
PULSE_S = 100e-6
PULSE_SETTLE_S = 300e-6
CRASH_SPEED_M_PER_S = 10e-6  # faster than the loop can follow: it lags by v / (2 pi f), 0.4 nm at 4 kHz
CRASH_HEIGHT_M = 5e-9
CRASH_AFTER_LINES = 2
CRASH_LINES = 6


@dataclasses.dataclass
class Result:
    """What the main job found; ``report`` is what report.json holds."""

    report: dict[str, Any]
    trip: Trip | None
    folder: Path


async def arm_reaction(board: AsyncController) -> None:
    """Pulses at the next events, as many as the budget has."""
    await board.registers.write(
        {
            "reaction.bias": PULSE_V,
            "reaction.pulse_samples": board.calibration.samples(PULSE_S),
            "reaction.settle_samples": board.calibration.samples(PULSE_SETTLE_S),
            "reaction.budget": PULSES,
            "reaction.enable": 1,
        }
    )


async def provoke_crash(board: AsyncController, settings: ScanSettings) -> Trip:
    """Scan on and let the surface rise into the tip; the interlock must trip. ReflexArcError if it does not."""
    await board.registers.write_raw({"events.enable": 0, "detector.enable": 0, "reaction.enable": 0})
    few = dataclasses.replace(settings, lines=CRASH_LINES, height_m=settings.height_m * CRASH_LINES / settings.lines)
    await configure_raster(board, few)

    def crash(line: int) -> Awaitable[None] | None:
        if line != CRASH_AFTER_LINES:
            return None
        return board.inject("rise", speed_m_per_s=CRASH_SPEED_M_PER_S, height_m=CRASH_HEIGHT_M)

    try:
        await raster(board, few, LineCollector(few, board.calibration, None), after_line=crash)
    except BoardTripped:
        trip = await board.last_trip()
        assert trip is not None
        return trip
    raise ReflexArcError("the provoked crash did not trip the interlock")


async def main_job(
    board: AsyncController,
    settings: ScanSettings,
    folder: Path,
    timings: Timings,
    attributes: dict[str, Any],
    model: Ready | None = None,
) -> Result:
    """Approach, scan with reactions, crash, withdraw, report into ``folder``.

    What is reacted to is what ``model`` finds on the gateware; without one, what stands above the terraces that the first lines showed.
    """
    from reflexarc.experiments import features

    began = time.monotonic()
    calibration = board.calibration
    settings.check(calibration)
    await board.set_limits(settings.limits)
    if model is not None:
        await features.deploy_features(board, settings, model)
    await board.arm()
    frame = geometry(settings, calibration)
    events: list[Event] = []
    with ScanWriter(folder / "scan.h5", frame, attributes, channels=settings.channels) as writer:
        await configure_raster(board, settings)
        print("approach ...", flush=True)
        await approach(board, settings)
        collector = LineCollector(settings, calibration, writer)
        threshold_m = float("nan")

        def after_line(line: int) -> Awaitable[None] | None:
            return level() if line == LEVEL_LINES and model is None else None

        async def level() -> None:
            nonlocal threshold_m
            threshold_m = await features.arm_threshold(board, collector)
            await arm_reaction(board)

        if model is not None:
            await arm_reaction(board)

        with progress("scan", settings.lines) as update:
            events += await raster(board, settings, collector, update, after_line)
        rows = [event_row(event, calibration) for event in events]
        writer.append_events(rows)
        pulses, ignored, latency = await board.registers.read_raw("reaction.count", "reaction.ignored", "reaction.latency")
        pulse_x_m, pulse_y_m = await board.registers.read("reaction.x", "reaction.y")
        (lost_in_gateware,) = await board.registers.read_raw("capture.pixels_lost")
        (events_lost,) = await board.registers.read_raw("events.lost")
        detector = await features.evaluations(board) if model is not None else None

        print("crash ...", flush=True)
        trip = await provoke_crash(board, settings)
        blackbox = await read_blackbox(board)
        await board.sleep(2.5 * calibration.z_range_m / settings.limits.retract_m_per_s)
        (withdrawn,) = await board.registers.read_raw("gate.withdrawn")
        status = await board.status()
        truth = await board.truth()
        if blackbox is not None:
            writer.write_blackbox(blackbox)
        surface = await true_surface(board, settings, collector.line_time_s)
        writer.write_reference(surface)
        found = await features.quality(board, settings, model, events, collector.line_time_s) if model is not None else None

    measured = collector.z_m[Direction.FORWARD]
    metrics = topography_metrics(measured, surface)
    expected = collector.expected
    # Without ignored events the first ones are those that made pulses; else only the last pulse's place is known.
    reacted = [(row.x_m, row.y_m) for row in rows[:pulses]] if not ignored else [(pulse_x_m, pulse_y_m)] * bool(pulses)
    report = {
        "pixels": collector.pixels,
        "pixels_lost": expected - collector.pixels,
        "pixels_lost_in_gateware": lost_in_gateware,
        "board_s": calibration.seconds(truth["cycle"]),
        "wall_s": time.monotonic() - began,
        "twin_cycles_per_s": truth["cycle"] / truth["busy_s"],
        "event_to_output_cycles": latency if pulses else timings.event_to_output_cycles,
        "sample_to_trip_cycles": timings.sample_to_trip_cycles,
        "time_to_safe_s": timings.time_to_safe_s,
        "time_to_safe_worst_s": timings.time_to_safe_worst_s,
        "topography_rms_fraction": metrics.rms_fraction,
        "topography_rms_m": metrics.rms_m,
        "topography_correlation": metrics.correlation,
        "surface_peak_to_peak_m": metrics.peak_to_peak_m,
        "feedback_bandwidth_Hz": settings.bandwidth_Hz,
        "pixel_s": frame.pixel_s,
        "events": len(events),
        "events_lost": events_lost,
        "event_threshold_m": None if model is not None else threshold_m,
        "model": None if model is None else model.request.name,
        "detector": detector,
        "adatoms": None if found is None else dataclasses.asdict(found),
        "precision": None if found is None else found.precision,
        "recall": None if found is None else found.recall,
        "pulses": pulses,
        "tip_contacts": truth["contacts"],
        "tip_contact_depth_m": truth["contact_depth_m"],
        "trips": status["trips"],
        "trip": dataclasses.asdict(trip),
        "withdrawn_after_trip": bool(withdrawn),
        **attributes,
    }
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    draw_report(
        folder / "report.png",
        geometry=frame,
        topography_m=measured,
        current_A=collector.current_A[Direction.FORWARD],
        events=rows,
        reactions_xy_m=reacted,
        blackbox=blackbox,
        true_surface_m=surface,
        title=f"{attributes.get('specimen', '')}, {settings.width_m * 1e9:g} nm, on the twin",
        lines_of_text=[line for line in table(report) if not line.startswith("twin ")],  # two runs, one picture
    )
    return Result(report, trip, folder)


def detector_lines(report: dict[str, Any]) -> list[str]:
    """What the network did, if one looked on."""
    if report["model"] is None:
        return []
    done, adatoms = report["detector"], report["adatoms"]
    return [
        f"detector           {report['model']}, {done['cycles_to_verdict']} cycles",
        f"evaluations        {done['evaluations']}, missed {done['missed']}",
        f"adatoms            {adatoms['found']} of {adatoms['features']} found",
        f"events beside them {adatoms['stray']} stray, {adatoms['double']} double",
        f"precision, recall  {report['precision']:.3f}, {report['recall']:.3f}",
    ]


def table(report: dict[str, Any]) -> list[str]:
    """The report as lines for people."""
    trip = report["trip"]
    return [
        f"pixels             {report['pixels']}, lost {report['pixels_lost']}",
        f"board time         {report['board_s']:.2f} s at {report['pixel_s'] * 1e6:.0f} us a pixel",
        f"twin               {report['twin_cycles_per_s'] / 1e6:.1f} M cycles/s",
        f"RMS error          {report['topography_rms_m'] * 1e12:.1f} pm, {report['topography_rms_fraction']:.2%} of p-p",
        f"correlation        {report['topography_correlation']:.4f}",
        f"feedback           {report['feedback_bandwidth_Hz'] / 1e3:g} kHz",
        f"events             {report['events']}, pulses {report['pulses']}",
        *detector_lines(report),
        f"event to output    {report['event_to_output_cycles']} cycles",
        f"sample to trip     {report['sample_to_trip_cycles']} cycles",
        f"time to safe       {report['time_to_safe_s'] * 1e6:.2f} us with converters",
        f"trip               {trip['cause']}",
        f"                   {trip['value']:.3g} {trip['unit']}, limit {trip['limit']:.3g} {trip['unit']}",
        f"withdrawn          {'yes' if report['withdrawn_after_trip'] else 'NO'}",
        f"tip contacts       {report['tip_contacts']}",
    ]
