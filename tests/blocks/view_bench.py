"""Values and View with something in the engine's place, their ports cut so that each fits into 64 bits."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.model import SETTINGS_LAYOUT
from reflexarc.contract.packets import Channel
from reflexarc_hw.blocks.detector.values import Values
from reflexarc_hw.blocks.detector.view import View
from reflexarc_hw.lib.formats import CODE, POSITION

SETTINGS_WORDS = 9  # those that have anything
PIXEL_FLAGS = ("line_first", "line_last", "direction", "second")
MARKS = ("active", "first", "last", "line_first")


class ViewBench(wiring.Component):
    """An evaluation takes ``work`` cycles from the one in which ``arrived`` says that the window is whole; it is then at rest in the next."""

    def __init__(self) -> None:
        super().__init__(
            {f"settings_{word}": In(32) for word in range(SETTINGS_WORDS)}
            | {f"pixel_{flag}": In(1) for flag in ("valid", *PIXEL_FLAGS)}
            | {f"pixel_sum_{channel.name.lower()}": In(signed(56)) for channel in Channel}
            | {f"marker_{mark}": In(1) for mark in MARKS}
            | {
                "bank": In(1),
                "active": In(1),
                "clear": In(1),
                "stop": In(1),
                "pixels": In(16),
                "load_enable": In(1),
                "load_bank": In(1),
                "load_memory": In(4),
                "load_address": In(14),
                "load_data": In(32),
                "pixel_samples": In(24),
                "pixel_index": In(16),
                "sample_valid": In(1),
                "sample_current": In(CODE),
                "monitor_valid": In(1),
                "sample_monitor": In(CODE),
                "z": In(POSITION),
                "x": In(POSITION),  # of pixel and marker
                "y": In(POSITION),
                "push": In(signed(32)),
                "push_strobe": In(1),
                "restart": In(1),
                "frame_start": In(1),
                "time": In(63),
                "work": In(14),
                "write": Out(1),
                "write_address": Out(13),
                "write_data": Out(8),
                "begin": Out(1),
                "base": Out(13),
                "arrived": Out(14),
                "aborts": Out(1),
                "engine_busy": Out(1),
                "completed": Out(1),
                "age": Out(2),
                "origin_x": Out(POSITION),
                "origin_y": Out(POSITION),
                "origin_time": Out(63),
                "origin_index": Out(16),
                "origin_line": Out(16),
                "origin_frame": Out(1),
                "starts_frame": Out(1),
                "missed": Out(1),
                "dropped": Out(1),
                "too_long": Out(1),
                "overrun": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.values = values = Values()
        m.submodules.view = view = View()
        busy, left = Signal(), Signal(14)
        window = view.settings.window_bytes
        with m.If(view.begin & ~busy):
            m.d.sync += [busy.eq(1), left.eq(self.work)]
        with m.Elif(view.abort):
            m.d.sync += busy.eq(0)
        with m.Elif(busy & (view.arrived == window)):
            m.d.sync += left.eq(left - 1)
            with m.If(left == 0):
                m.d.sync += busy.eq(0)
        words = Cat(getattr(self, f"settings_{word}") for word in range(SETTINGS_WORDS))
        m.d.comb += [
            values.settings.eq(words),
            view.settings.eq(words),
            values.active.eq(self.active),
            values.clear.eq(self.clear),
            values.marker.x.eq(self.x),
            values.marker.y.eq(self.y),
            values.pixel.valid.eq(self.pixel_valid),
            values.pixel.x.eq(self.x),
            values.pixel.y.eq(self.y),
            values.pixel.samples.eq(self.pixel_samples),
            values.pixel.index.eq(self.pixel_index),
            values.samples[0].valid.eq(self.sample_valid),
            values.samples[0].code.eq(self.sample_current),
            values.samples[1].valid.eq(self.monitor_valid),
            values.samples[1].code.eq(self.sample_monitor),
            values.taken.eq(view.taken),
            view.value.eq(values.value),
            view.load.enable.eq(self.load_enable),
            view.load.bank.eq(self.load_bank),
            view.load.memory.eq(self.load_memory),
            view.load.address.eq(self.load_address),
            view.load.data.eq(self.load_data),
            view.engine_busy.eq(busy),
            self.write.eq(view.ring_write.enable),
            self.write_address.eq(view.ring_write.address),
            self.write_data.eq(view.ring_write.data),
            self.engine_busy.eq(busy),
            self.aborts.eq(view.abort),
            self.overrun.eq(values.overrun),
            self.busy.eq(values.busy | view.busy),
        ]
        for name in ("z", "push", "push_strobe", "restart", "frame_start", "time"):
            m.d.comb += getattr(values, name).eq(getattr(self, name))
        for name in ("bank", "clear", "stop", "pixels"):
            m.d.comb += getattr(view, name).eq(getattr(self, name))
        for name in ("begin", "base", "arrived", "completed", "age", "starts_frame", "missed", "dropped", "too_long"):
            m.d.comb += getattr(self, name).eq(getattr(view, name))
        for name in ("x", "y", "time", "index", "line", "frame"):
            m.d.comb += getattr(self, f"origin_{name}").eq(view.origin[name])
        m.d.comb += [values.pixel[flag].eq(getattr(self, f"pixel_{flag}")) for flag in PIXEL_FLAGS]
        m.d.comb += [values.pixel.sums[channel].eq(getattr(self, f"pixel_sum_{channel.name.lower()}")) for channel in Channel]
        m.d.comb += [values.marker[mark].eq(getattr(self, f"marker_{mark}")) for mark in MARKS]
        return m


def settings_words(**fields: int) -> dict[str, int]:
    """The bench's inputs from SETTINGS_LAYOUT's fields; those that are left out are 0."""
    words = SETTINGS_LAYOUT.pack({field.name: fields.get(field.name, 0) for field in SETTINGS_LAYOUT.fields})
    assert not any(words[SETTINGS_WORDS:])
    return {f"settings_{word}": words[word] for word in range(SETTINGS_WORDS)}
