"""The head, its settings cut into words."""

from amaranth.hdl import Cat, Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from view_bench import SETTINGS_WORDS

from reflexarc_hw.blocks.detector.head import Head


class HeadBench(wiring.Component):
    """``values``: up to four, the first one lowest."""

    def __init__(self) -> None:
        super().__init__(
            {f"settings_{word}": In(32) for word in range(SETTINGS_WORDS)}
            | {
                "valid": In(1),
                "last": In(1),
                "count": In(3),
                "values": In(32),
                "clear": In(1),
                "select": In(6),
                "output": Out(signed(8)),
                "verdict": Out(1),
                "event": Out(1),
                "class_id": Out(8),
                "greatest": Out(8),
                "margin": Out(9),
                "disagreement": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.head = head = Head()
        m.d.comb += [
            head.settings.eq(Cat(getattr(self, f"settings_{word}") for word in range(SETTINGS_WORDS))),
            head.outputs.values.as_value().eq(self.values),
            head.clear.eq(self.clear),
            head.select.eq(self.select),
            self.output.eq(head.output),
            self.verdict.eq(head.verdict.valid),
            self.busy.eq(head.busy),
        ]
        m.d.comb += [head.outputs[name].eq(getattr(self, name)) for name in ("valid", "last", "count")]
        m.d.comb += [getattr(self, name).eq(head.verdict[name]) for name in ("event", "class_id", "greatest", "margin", "disagreement")]
        return m
