"""The correlator, its ports cut so that each fits into 64 bits."""

from amaranth.hdl import Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.packets import Channel
from reflexarc_hw.blocks.correlator import Correlator
from reflexarc_hw.lib.bus import BankSignature
from reflexarc_hw.lib.formats import POSITION

FLAGS = ("valid", "line_first", "line_last", "direction", "second")


class CorrelatorBench(wiring.Component):
    def __init__(self) -> None:
        super().__init__(
            {f"pixel_{flag}": In(1) for flag in FLAGS}
            | {f"pixel_sum_{channel.name.lower()}": In(signed(56)) for channel in Channel}
            | {
                "bus": In(BankSignature()),
                "pixel_samples": In(24),
                "x": In(POSITION),
                "y": In(POSITION),
                "time": In(63),
                "frame_start": In(1),
                "aborted": In(1),
                "found": Out(1),
                "class_id": Out(8),
                "model_id": Out(16),
                "score": Out(signed(32)),
                "found_x": Out(POSITION),
                "found_y": Out(POSITION),
                "found_time": Out(63),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.correlator = correlator = Correlator()
        wiring.connect(m, wiring.flipped(self.bus), correlator.bus)
        m.d.comb += [
            correlator.pixel.samples.eq(self.pixel_samples),
            correlator.pixel.x.eq(self.x),
            correlator.pixel.y.eq(self.y),
            self.found.eq(correlator.detection.valid),
        ]
        m.d.comb += [correlator.pixel[flag].eq(getattr(self, f"pixel_{flag}")) for flag in FLAGS]
        m.d.comb += [correlator.pixel.sums[channel].eq(getattr(self, f"pixel_sum_{channel.name.lower()}")) for channel in Channel]
        m.d.comb += [getattr(correlator, name).eq(getattr(self, name)) for name in ("time", "frame_start", "aborted")]
        m.d.comb += [getattr(self, name).eq(correlator.detection[name]) for name in ("class_id", "model_id", "score")]
        m.d.comb += [getattr(self, f"found_{name}").eq(correlator.detection[name]) for name in ("x", "y", "time")]
        return m
