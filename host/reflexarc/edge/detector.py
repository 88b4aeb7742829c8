"""A model that the host runs: packets in, events out, as the gateware's detector makes them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reflexarc.calibration import Calibration
from reflexarc.compiler.canonical import Format
from reflexarc.compiler.exact import input_thresholds
from reflexarc.compiler.load import parse
from reflexarc.compiler.model_store import CANONICAL, ModelStore, StoredModel
from reflexarc.compiler.network import Head
from reflexarc.compiler.runtime import Session
from reflexarc.compiler.wishes import ViewWish, stored_view
from reflexarc.contract.blocks.scan import POSITION_FRACTION_BITS
from reflexarc.contract.events import Event, EventSource
from reflexarc.contract.model import ViewSource
from reflexarc.contract.packets import Packet
from reflexarc.edge.pixels import Int64, PixelView
from reflexarc.edge.verdict import Neighbours, Verdict, event_class, judge
from reflexarc.errors import BadInput

FLOAT_STEPS = 256  # an event's score is an integer: a margin in floats counts in 1/256 of the output's unit
SCORE_MAX = (1 << 31) - 1
Place = Callable[[float, float], tuple[float, float]]  # line and pixel to x and y in metres


class EdgeDetector:
    """``onnx``: the canonical model, whose integers are the fabric's, if ``given`` says how numbers become those; otherwise a model in floats.

    ``view`` has all its numbers. ``margin``: the least one that makes an event of a model in floats, in its outputs' unit.
    """

    def __init__(
        self, onnx: bytes, view: ViewWish, head: Head, calibration: Calibration, *, model_id: int, given: Format | None, margin: float = 0.0,
        radius: int = 0,
    ) -> None:  # fmt: skip
        if view.source is not ViewSource.PIXEL:
            raise BadInput("the edge tier looks at pixels only; accepted there: windows and lines")
        model = parse(onnx)
        self._session = Session(onnx, optimized=given is None)
        self._shape, self._type = model.input_shape, model.input_type
        self.view, self.head, self.model_id = view, head, model_id
        self._calibration = calibration
        self._units = view.lsb_units(calibration)
        self._thresholds = (
            None if given is None else [input_thresholds(given.scale, given.zero_point, not given.signed, unit) for unit in self._units]
        )
        self._margin = margin
        self._neighbours = Neighbours(radius)
        shape = view.shape
        self._pixels = PixelView(
            view.channels,
            shape.rows,
            shape.columns,
            view.hop or shape.columns,
            self._encoded,
            backward=view.backward,
            line_mean=view.line_mean,
        )
        self._sequence = 0
        self.evaluations = self.suppressed = self.disagreements = 0
        self.busy_s = 0.0

    @property
    def is_integer(self) -> bool:
        return self._thresholds is not None

    def start_frame(self) -> None:
        self._pixels.start_frame()
        self._neighbours.start_frame()

    def add(self, packet: Packet, place: Place) -> list[Event]:
        """Events of the windows that this packet completes. ``place`` gives x and y of a line and pixel, fractions too."""
        windows, origins = self._pixels.add(packet, self._calibration.cycles_per_sample)
        begun = time.perf_counter()
        events = []
        back = -1 if self.view.backward else 1
        for window, origin in zip(windows, origins, strict=True):
            verdict = self.verdict(window)
            self.evaluations += 1
            self.disagreements += verdict.disagree
            class_id = event_class(verdict, self.head, None if self.is_integer else self._margin)
            if class_id is None:
                continue
            if not self._neighbours.takes(origin.count, origin.index):
                self.suppressed += 1
                continue
            place_m = place(origin.line - self.view.center[1], origin.index - back * self.view.center[0])
            events.append(self._event(class_id, verdict, origin.time, place_m))
        self.busy_s += time.perf_counter() - begun
        return events

    def verdict(self, window: NDArray[Any]) -> Verdict:
        """Of one window [channels, lines, records]: stored values for a canonical model, floats for another one."""
        given = window.reshape(self._shape)
        if self._thresholds is not None:
            (outputs,) = self._session.run((given.astype(np.int64) + 128).astype(np.uint8))
            return judge(outputs.reshape(-1).astype(np.int64) - 128, self.head)
        (outputs,) = self._session.run(given.astype(self._type))
        return judge(outputs.reshape(-1).astype(np.float64), self.head, -math.inf)

    def _encoded(self, values: Int64, channel: int) -> NDArray[Any]:
        if self._thresholds is not None:
            return np.searchsorted(self._thresholds[channel], values, side="right") - 128
        return (values * np.float64(self._units[channel])).astype(np.float32)

    def _event(self, class_id: int, verdict: Verdict, cycle: int, place_m: tuple[float, float]) -> Event:
        score = verdict.margin * (1 if self.is_integer else FLOAT_STEPS)
        one = 1 << POSITION_FRACTION_BITS
        event = Event(
            source=EventSource.DETECTOR,
            class_id=class_id,
            model_id=self.model_id,
            score=round(score) if abs(score) < SCORE_MAX else int(math.copysign(SCORE_MAX, score)),
            x=round(place_m[0] / self._calibration.x_m_per_code * one),
            y=round(place_m[1] / self._calibration.y_m_per_code * one),
            time=cycle,
            sequence=self._sequence,
        )
        self._sequence += 1
        return event


def stored_detector(entry: StoredModel, models: ModelStore, calibration: Calibration) -> EdgeDetector:
    """A model of the store, of either tier, on an instrument of this calibration."""
    view = stored_view(entry)
    try:
        plain = entry.head
        head = Head(
            classes=plain["classes"],
            members=plain["members"],
            floor=plain["floor"],
            least_margin=plain["least_margin"],
            class_base=plain["class_base"],
            eventful=frozenset(plain["eventful_numbers"]),
            disagreement_class=plain["disagreement_class"],
        )
        given = None if entry.input is None else Format(float(entry.input[0]), int(entry.input[1]), bool(entry.input[2]))
        margin, radius = float(plain["margin"]), int(plain["radius"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise BadInput(f"the entry of the model {entry.name!r} is not whole ({error}); deploy the model again") from None
    onnx = models.part(entry, CANONICAL)
    return EdgeDetector(onnx, view, head, calibration, model_id=entry.model_id, given=given, margin=margin, radius=radius)
