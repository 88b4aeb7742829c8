"""The detector, its ports cut so that each fits into 64 bits."""

from amaranth.hdl import Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.packets import Channel
from reflexarc_hw.blocks.detector.detector import Detector
from reflexarc_hw.lib.bus import BankSignature
from reflexarc_hw.lib.formats import CODE, POSITION

FLAGS = ("valid", "line_first", "line_last", "direction", "second")
MARKS = ("active", "first", "last", "line_first")
FOUND = ("class_id", "model_id", "score", "x", "y", "time", "disagreement")


class DetectorBench(wiring.Component):
    def __init__(self, lanes: int) -> None:
        self._lanes = lanes
        super().__init__(
            {f"pixel_{flag}": In(1) for flag in FLAGS}
            | {f"pixel_sum_{channel.name.lower()}": In(signed(56)) for channel in Channel}
            | {f"marker_{mark}": In(1) for mark in MARKS}
            | {
                "bus": In(BankSignature()),
                "pixel_samples": In(24),
                "pixel_index": In(16),
                "x": In(POSITION),
                "y": In(POSITION),
                "time": In(63),
                "sample_valid": In(1),
                "sample_current": In(CODE),
                "z": In(POSITION),
                "pixels": In(16),
                "in_line": In(1),
                "frame_start": In(1),
                "aborted": In(1),
                "found": Out(1),
                "found_class_id": Out(8),
                "found_model_id": Out(16),
                "found_score": Out(signed(32)),
                "found_x": Out(POSITION),
                "found_y": Out(POSITION),
                "found_time": Out(63),
                "found_disagreement": Out(1),
                "underflow": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.detector = detector = Detector(self._lanes)
        wiring.connect(m, wiring.flipped(self.bus), detector.bus)
        m.d.comb += [
            detector.pixel.samples.eq(self.pixel_samples),
            detector.pixel.index.eq(self.pixel_index),
            detector.pixel.x.eq(self.x),
            detector.pixel.y.eq(self.y),
            detector.marker.x.eq(self.x),
            detector.marker.y.eq(self.y),
            detector.samples[0].valid.eq(self.sample_valid),
            detector.samples[0].code.eq(self.sample_current),
            self.found.eq(detector.detection.valid),
            self.underflow.eq(detector.underflow),
        ]
        m.d.comb += [detector.pixel[flag].eq(getattr(self, f"pixel_{flag}")) for flag in FLAGS]
        m.d.comb += [detector.pixel.sums[channel].eq(getattr(self, f"pixel_sum_{channel.name.lower()}")) for channel in Channel]
        m.d.comb += [detector.marker[mark].eq(getattr(self, f"marker_{mark}")) for mark in MARKS]
        for name in ("z", "pixels", "in_line", "frame_start", "aborted", "time"):
            m.d.comb += getattr(detector, name).eq(getattr(self, name))
        m.d.comb += [getattr(self, f"found_{name}").eq(detector.detection[name]) for name in FOUND]
        return m
