"""A deployed model during a scan, whichever tier it runs on."""

from __future__ import annotations

from collections import Counter

from reflexarc.calibration import Calibration
from reflexarc.compiler.model_store import ModelStore, StoredModel
from reflexarc.compiler.wishes import ViewWish, stored_view
from reflexarc.contract.blocks.detector import SwapAt
from reflexarc.contract.events import Event, EventSource
from reflexarc.contract.model import CHANNELS, LINE_BYTES, ViewSource
from reflexarc.contract.packets import Direction, Packet
from reflexarc.device.controller import AsyncController
from reflexarc.device.detector import DetectorStatus, detector_status, set_enabled
from reflexarc.edge import EdgeDetector, stored_detector
from reflexarc.errors import BadInput
from reflexarc.experiments.deploy import aim, deploy_image
from reflexarc.experiments.scan import LineCollector
from reflexarc.experiments.settings import ALWAYS, ScanSettings
from reflexarc.store import ScanWriter

LINE_FIT = LINE_BYTES - CHANNELS  # bytes that the former lines of a view may take


class DetectingCollector(LineCollector):
    """Lines as ever, and the events that a model on this computer makes of them."""

    def __init__(self, settings: ScanSettings, calibration: Calibration, writer: ScanWriter | None, detector: EdgeDetector) -> None:
        super().__init__(settings, calibration, writer)
        self.detector = detector
        self.detected: list[Event] = []
        self._frame = settings.frame
        detector.start_frame()

    def add(self, packet: Packet) -> None:
        super().add(packet)
        self.detected += self.detector.add(packet, self._place)

    def _place(self, line: float, index: float) -> tuple[float, float]:
        x_m, y_m, _ = self._frame.place_m(line, index)
        return float(x_m), float(y_m)


class Detection:
    """One model and one scan."""

    def __init__(self, entry: StoredModel, models: ModelStore) -> None:
        self.entry, self._models = entry, models
        self.view: ViewWish = stored_view(entry)
        self._collector: DetectingCollector | None = None
        self._before: DetectorStatus | None = None
        self._after: DetectorStatus | None = None

    @property
    def on_edge(self) -> bool:
        return not self.entry.lanes

    def check(self, settings: ScanSettings) -> None:
        """BadInput for a scan in which the model would see nothing, or something else than what it was made for."""
        view, name = self.view, self.entry.name
        if view.source is not ViewSource.PIXEL:
            if self.on_edge:
                raise BadInput(f"the model {name!r} looks at a {view}; the edge tier sees pixels only")
            return
        shape = view.shape
        if shape.columns > settings.pixels or shape.rows > settings.lines:
            raise BadInput(
                f"the model {name!r} looks at {shape.columns} pixels of {shape.rows} lines; the scan has {settings.pixels} of {settings.lines}"
            )
        if (view.hop or 0) >= shape.columns and shape.columns != settings.pixels:
            raise BadInput(
                f"the model {name!r} looks at lines of {shape.columns} pixels; the scan has {settings.pixels}: give --pixels {shape.columns}"
            )
        longest = LINE_FIT // ((shape.rows - 1) * shape.channels) if shape.rows > 1 and not self.on_edge else settings.pixels
        if settings.pixels > longest:
            raise BadInput(f"the model {name!r} can look at lines of {longest} pixels on the fabric; the scan has {settings.pixels}")
        missing = [channel.name for channel in view.channels if channel not in (*ALWAYS, *settings.channels)]
        if missing and self.on_edge:
            raise BadInput(f"the model {name!r} looks at {', '.join(missing)}, which the scan does not record; add it with --also")
        wanted = Direction.BACKWARD if view.backward else Direction.FORWARD
        if not any(direction is wanted for line in range(settings.lines) for _, direction in settings.plan(Calibration()).directions(line)):
            raise BadInput(f"the model {name!r} looks at lines {wanted.name.lower()}, of which this scan has none")

    async def begin(self, board: AsyncController, settings: ScanSettings, writer: ScanWriter | None) -> LineCollector:
        """The collector of the scan. On the fabric the board has the model from now on; its old one runs until then."""
        if self.on_edge:
            detector = stored_detector(self.entry, self._models, board.calibration)
            self._collector = DetectingCollector(settings, board.calibration, writer, detector)
            return self._collector
        status = await detector_status(board.registers)
        radius = int(self.entry.head.get("radius", 0))
        if status.running != self.entry.model_id:
            await deploy_image(board, self._models.image(self.entry), at=SwapAt.LINE, radius=radius)
        await board.registers.write_raw({"detector.radius": radius})
        await set_enabled(board.registers, True)
        await aim(board, settings, self.view)
        self._before = await detector_status(board.registers)
        return LineCollector(settings, board.calibration, writer)

    async def end(self, board: AsyncController) -> None:
        """The scan is over."""
        if not self.on_edge:
            self._after = await detector_status(board.registers)

    def events(self, events: list[Event]) -> list[Event]:
        """All of the scan, in the order of their times."""
        more = self._collector.detected if self._collector is not None else []
        return sorted([*events, *more], key=lambda event: event.time)

    def summary(self, events: list[Event]) -> str:
        """A line for people."""
        mine = [event for event in events if event.source == EventSource.DETECTOR and event.model_id == self.entry.model_id]
        labels = {number + int(self.entry.head.get("class_base", 0)): label for number, label in enumerate(self.entry.labels)}
        counts = Counter(labels.get(event.class_id, f"class {event.class_id}") for event in mine)
        found = ", ".join(f"{label} {count}" for label, count in sorted(counts.items())) or "none"
        text = f"events       of {self.entry.name}: {found}"
        if self._collector is not None and (done := self._collector.detector).evaluations:
            text += f"; {done.evaluations:,} evaluations on this computer, {done.busy_s / done.evaluations * 1e6:.0f} us each"
        if self._before is not None and self._after is not None:
            done_now, missed = self._after.evaluations - self._before.evaluations, self._after.missed - self._before.missed
            text += f"; {done_now:,} evaluations, {missed:,} missed"
            if missed:
                text += f" ({', '.join(fault.name or '' for fault in self._after.faults)}: a pixel is too short for it)"
        return text
