"""What the last layer's outputs come to: a class, its margin, and whether members of an ensemble agree."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.model import OUTPUTS_MAX, QUAD
from reflexarc_hw.blocks.detector.memories import QUAD_OUTPUTS, STORED
from reflexarc_hw.blocks.detector.values import SETTINGS
from reflexarc_hw.lib.memory import RegisterFile

MARGIN = signed(STORED.width + 1)
PLACE_BITS = (OUTPUTS_MAX - 1).bit_length()
VERDICT_CYCLES = (
    1  # from the cycle in which the last output is compared; the first one is in that in which it comes, and one follows each cycle
)

# ``valid`` for one cycle. ``event``: it is one that makes an event.
VERDICT = data.StructLayout({"valid": 1, "event": 1, "class_id": 8, "greatest": 8, "margin": MARGIN, "disagreement": 1})


class Head(wiring.Component):
    """Outputs are kept as they come and taken one a cycle, the first one in the cycle in which it comes.

    ``class_id`` is what an event carries, ``greatest`` what the first member says; there must be ``classes`` times ``members`` outputs. ``output``
    is number ``select`` of the last evaluation, a cycle late; it stands from an evaluation's first outputs to its verdict.
    """

    settings: In(SETTINGS)
    outputs: In(QUAD_OUTPUTS)
    clear: In(1)
    select: In(PLACE_BITS)
    output: Out(STORED)
    verdict: Out(VERDICT)
    busy: Out(1)

    def elaborate(self, platform):
        m = Module()
        settings = self.settings

        # Kept: output n in file n % QUAD, so that four of them find a place at once.
        written, read = Signal(PLACE_BITS), Signal(PLACE_BITS)
        came, ended = Signal(), Signal()  # outputs of an evaluation that has no verdict yet; all of them
        empty, takes, final = Signal(), Signal(), Signal()
        kept = []
        for index in range(QUAD):
            m.submodules[f"file_{index}"] = file = RegisterFile(STORED, OUTPUTS_MAX // QUAD, 1)
            which = Signal(range(QUAD), name=f"which_{index}")  # of the four
            m.d.comb += [
                which.eq(index - written[:2]),
                file.write_enable.eq(self.outputs.valid & (which < self.outputs.count)),
                file.write_address.eq(written[2:] + (index < written[:2])),
                file.write_data.eq(self.outputs.values[which]),
                file.read_address_0.eq(Mux(self.busy, read, self.select)[2:]),
            ]
            kept.append(file.read_data_0)
        place = Signal(2)
        out_of_files = Signal(STORED)
        m.d.comb += place.eq(Mux(self.busy, read, self.select)[:2])
        with m.Switch(place):
            for index in range(QUAD):
                with m.Case(index):
                    m.d.comb += out_of_files.eq(kept[index])
        m.d.comb += [
            empty.eq(written == read),
            takes.eq(~empty | self.outputs.valid),
            final.eq(Mux(empty, self.outputs.last & (self.outputs.count == 1), ended & ((read + 1)[:PLACE_BITS] == written))),
        ]
        with m.If(self.outputs.valid):
            m.d.sync += [written.eq(written + self.outputs.count), came.eq(1), ended.eq(self.outputs.last)]
        with m.If(takes):
            m.d.sync += read.eq(read + 1)
        with m.If(~self.busy & ~self.outputs.valid):
            m.d.sync += self.output.eq(out_of_files)

        # One after the other; a member's greatest, and the second one or the floor.
        value = Signal(STORED)
        number, member = Signal(6), Signal(3)  # of the class, of its group
        class_first, class_last, of_first = Signal(), Signal(), Signal()
        compared, class_ends, evaluation_ends = Signal(), Signal(), Signal()  # of the one that is compared
        greatest, second, best, compared_number = Signal(STORED), Signal(STORED), Signal(6), Signal(6)
        member_done, member_first, evaluation_done = Signal(), Signal(), Signal()
        m.d.comb += class_last.eq(number + 1 == settings.classes)
        m.d.sync += compared.eq(takes)
        with m.If(takes):
            m.d.sync += [
                value.eq(Mux(empty, self.outputs.values[0], out_of_files)),
                class_first.eq(number == 0),
                class_ends.eq(class_last | final),
                evaluation_ends.eq(final),
                of_first.eq(member == 0),
                compared_number.eq(number),
                number.eq(Mux(class_last, 0, number + 1)),
                member.eq(member + class_last),
            ]
        m.d.sync += [member_done.eq(compared & class_ends), evaluation_done.eq(compared & evaluation_ends)]
        with m.If(compared):
            m.d.sync += member_first.eq(of_first)
            with m.If(class_first | (value > greatest)):
                m.d.sync += [greatest.eq(value), best.eq(compared_number)]
            with m.If(class_first):
                m.d.sync += second.eq(settings.floor)
            with m.Elif(value > greatest):
                m.d.sync += second.eq(Mux(greatest > second, greatest, second))
            with m.Elif(value > second):
                m.d.sync += second.eq(value)

        # Its margin; then what it is together with the members before it.
        margin, margin_class, margin_eventful = Signal(MARGIN), Signal(6), Signal()
        margin_done, margin_first, margin_last = Signal(), Signal(), Signal()
        m.d.sync += [margin_done.eq(member_done), margin_last.eq(evaluation_done)]
        with m.If(member_done):
            m.d.sync += [
                margin.eq(greatest - second),
                margin_class.eq(best),
                margin_first.eq(member_first),
                margin_eventful.eq(Cat(settings.eventful, settings.eventful_high).bit_select(best, 1)),
            ]
        least, first_class, first_eventful = Signal(MARGIN), Signal(6), Signal()
        enough, agree = Signal(), Signal()  # of the members before this one
        now_class, now_eventful, now_enough, now_disagree, now_least = Signal(6), Signal(), Signal(), Signal(), Signal(MARGIN)
        suffices, of_disagreement = Signal(), Signal()
        m.d.comb += [
            suffices.eq(margin >= settings.least_margin),
            now_class.eq(Mux(margin_first, margin_class, first_class)),
            now_eventful.eq(Mux(margin_first, margin_eventful, first_eventful)),
            now_enough.eq(suffices & (margin_first | enough)),
            now_disagree.eq(~margin_first & (~agree | (margin_class != first_class))),
            now_least.eq(Mux(margin_first | (margin < least), margin, least)),
            of_disagreement.eq(now_disagree & settings.disagreement),
            self.verdict.valid.eq(margin_done & margin_last),
            self.verdict.event.eq(of_disagreement | (now_eventful & now_enough)),
            self.verdict.greatest.eq(settings.class_base + now_class),
            self.verdict.class_id.eq(Mux(of_disagreement, settings.disagreement_class, self.verdict.greatest)),
            self.verdict.margin.eq(now_least),
            self.verdict.disagreement.eq(now_disagree),
            self.busy.eq(came),
        ]
        with m.If(margin_done):
            m.d.sync += [
                least.eq(now_least),
                first_class.eq(now_class),
                first_eventful.eq(now_eventful),
                enough.eq(now_enough),
                agree.eq(~now_disagree),
            ]
        with m.If(self.verdict.valid):
            m.d.sync += came.eq(0)
        with m.If(self.clear | (takes & final)):
            m.d.sync += [written.eq(0), read.eq(0), number.eq(0), member.eq(0), ended.eq(0)]
        with m.If(self.clear):
            m.d.sync += [came.eq(0), compared.eq(0), member_done.eq(0), evaluation_done.eq(0), margin_done.eq(0)]
        return m
