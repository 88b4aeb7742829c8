"""What makes an event of a feature while a frame is scanned: a network on the detector, or a threshold in height; and how well it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reflexarc.compiler.deploy import Deployable, Ready, Request, Tier, fit, make_ready
from reflexarc.compiler.model_store import name_of
from reflexarc.contract.blocks.events import EventChannel
from reflexarc.contract.events import Event
from reflexarc.contract.model import OUTPUTS
from reflexarc.contract.packets import Direction
from reflexarc.device.controller import AsyncController
from reflexarc.device.detector import detector_status, engine_lanes
from reflexarc.errors import BadInput
from reflexarc.experiments.deploy import aim, deploy_image
from reflexarc.experiments.scan import POSITION_ONE, Array, LineCollector
from reflexarc.experiments.settings import ScanSettings

FEATURE_ABOVE_M = 60e-12  # an adatom stands about 150 pm over its terrace, the herringbone 20 pm
FEATURE_RELEASE_M = 40e-12
WITHIN_PIXELS = 2.5  # an event tells of a feature that is so near
ADATOM = "adatom"  # as specimens and models call it


def ready_model(path: Path) -> Ready:
    """A model that is to run on the gateware, with the calibration data that lie beside it. BadInput if it can't."""
    beside = path.with_name("calibration.npz")
    return make_ready(Request(path, name_of(path), calibration=beside if beside.exists() else None, tier=Tier.FABRIC))


async def deploy_features(board: AsyncController, settings: ScanSettings, ready: Ready) -> Deployable:
    """The model looks on from now on, and its events tell where what it saw is in this scan. BadInput for a scan that it can't see."""
    shape = ready.view.shape
    if shape.columns > settings.pixels or shape.rows > settings.lines:
        raise BadInput(
            f"the model {ready.request.name!r} looks at {shape.columns} pixels of {shape.rows} lines; "
            f"the scan has {settings.pixels} of {settings.lines}"
        )
    made = fit(ready, board.calibration, await engine_lanes(board.registers))
    assert made.compiled is not None
    await deploy_image(board, made.compiled.words, radius=ready.head.radius)
    await aim(board, settings, ready.view)
    return made


async def evaluations(board: AsyncController) -> dict[str, int]:
    """What the detector has done since reset, for a report."""
    status = await detector_status(board.registers)
    return {
        "evaluations": status.evaluations,
        "missed": status.missed,
        "suppressed": status.suppressed,
        "products_a_cycle": OUTPUTS * status.lanes,
        "cycles_to_verdict": status.last.cycles,
    }


async def arm_threshold(board: AsyncController, collector: LineCollector) -> float:
    """Let the gateware fire above the highest terrace seen so far; the threshold in metres."""
    seen = collector.z_m[Direction.FORWARD][: collector.lines_done]
    terrace = float(np.percentile(seen[np.isfinite(seen)], 95))
    code = board.calibration.z_m_per_code / POSITION_ONE
    on = terrace + FEATURE_ABOVE_M
    await board.registers.write_raw(
        {
            "events.channel": EventChannel.Z,
            "events.on": round(on / code),
            "events.off": round((terrace + FEATURE_RELEASE_M) / code),
            "events.class_id": 1,
            "events.enable": 1,
        }
    )
    return on


@dataclass(frozen=True)
class Found:
    """Events against what is there. ``features``: those that could be seen; ``stray``: events at none; ``double``: at one that had its event."""

    features: int
    found: int
    stray: int
    double: int

    @property
    def precision(self) -> float:
        """Of the events, those that told of something new; 1 without events."""
        told = self.found + self.stray + self.double
        return self.found / told if told else 1.0

    @property
    def recall(self) -> float:
        """Of the features, those that were found; 1 where there are none."""
        return self.found / self.features if self.features else 1.0


def match(places_m: Array, features_m: Array, seen: Sequence[bool], within_m: float) -> Found:
    """Events, shape (n, 2), against features, (m, 2), of which only some had to be ``seen``. Nearest pairs first, each in one pair at most."""
    apart = np.linalg.norm(places_m[:, None, :] - features_m[None, :, :], axis=2)
    pairs: dict[int, int] = {}
    for number in np.argsort(apart, axis=None):
        event, feature = (int(index) for index in np.unravel_index(number, apart.shape))
        if apart[event, feature] <= within_m and event not in pairs and feature not in pairs.values():
            pairs[event] = feature
    near = (apart <= within_m).any(axis=1) if features_m.size else np.zeros(len(places_m), bool)
    hits = sum(seen[feature] for feature in pairs.values())
    # What is at a feature that it need not have seen is no mistake, and no merit.
    return Found(sum(seen), hits, int((~near).sum()), int(near.sum()) - len(pairs))


async def quality(board: AsyncController, settings: ScanSettings, ready: Ready, events: Sequence[Event], line_time_s: Array) -> Found:
    """Twin only: events of adatoms against the adatoms of the specimen, where drift had carried them when they were scanned.

    An adatom can be seen where it comes to lie in the middle of a window, to within a pixel.
    """
    calibration, frame = board.calibration, settings.frame
    truth = await board.truth()
    rest_m = np.array([(x, y) for x, y, kind in truth["features"] if kind == ADATOM]).reshape(-1, 2)
    drift_m = np.array(await board.true_drift(line_time_s.tolist()))[:, :2]
    lines, pixels = settings.lines, settings.pixels
    first = np.array([frame.place_m(line, 0)[:2] for line in range(lines)])
    along, across = np.array(frame.along_m[:2]), np.array(frame.across_m[:2])
    shape, (records, rows) = ready.view.shape, ready.view.center
    features, seen = np.empty_like(rest_m), []
    for number, rest in enumerate(rest_m):
        offsets = rest + drift_m - first  # from each line's first pixel, when it was scanned
        line = int(np.argmin(np.abs(np.linalg.solve(np.array([along, across]).T, offsets.T)[1])))
        features[number] = rest + drift_m[line]
        pixel, beside = np.linalg.solve(np.array([along, across]).T, offsets[line])
        seen.append(
            bool(
                shape.columns - 1 - records - 1 <= pixel <= pixels - 1 - records + 1
                and shape.rows - 1 - rows - 1 <= line + beside <= lines - 1 - rows + 1
            )
        )
    code = np.array([calibration.x_m_per_code, calibration.y_m_per_code]) / POSITION_ONE
    places = np.array([(event.x, event.y) for event in events]).reshape(-1, 2) * code
    return match(places, features, seen, WITHIN_PIXELS * float(np.linalg.norm(along)))
