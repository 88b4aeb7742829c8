"""First event source: per-pixel threshold with hysteresis."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import events
from reflexarc.contract.blocks.events import EventChannel
from reflexarc.contract.events import EVENT_LAYOUT, EventSource
from reflexarc_hw.blocks.capture.capture import SAMPLES_BITS, SUM
from reflexarc_hw.lib.bus import BankSignature, attach_bank
from reflexarc_hw.lib.formats import MARKER, POSITION, SAMPLE, TIME
from reflexarc_hw.lib.packet import WORD, PacketBuffer, pack_words

# What a reaction needs of an event, at once; the record with score and CRC follows on the stream.
DETECTION = data.StructLayout({"valid": 1, "class_id": 8, "x": POSITION, "y": POSITION})

BUFFER_WORDS = 512
DETECTION_CYCLES = 4  # from a pixel's last sample to the detection
EXCESS = signed(SUM.width + 1)


class ThresholdEvents(wiring.Component):
    """Fires when a pixel's mean rises above ``on``; then not until a pixel's mean fell below ``off``.

    Means are compared exactly, whatever a pixel's number of samples: what is summed is each sample's excess over ``on`` and over ``off``.
    The record's score is the excess ``sum - on * samples`` shifted right by ``floor(log2(samples))`` and held at 32 bits: the mean's
    excess times a factor from 1 to 2 that the host knows exactly.
    """

    bus: In(BankSignature())
    sample: In(SAMPLE)
    z: In(POSITION)  # Q20.12, DAC LSB
    marker: In(MARKER)
    time: In(TIME)
    detection: Out(DETECTION)
    stream: Out(stream.Signature(WORD))

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, events.BLOCK)
        m.submodules.buffer = buffer = PacketBuffer(BUFFER_WORDS)
        wiring.connect(m, wiring.flipped(self.stream), buffer.stream)

        # 1: a sample's excess, 2: its pixel's, 3: verdict, 4: detection
        counted = Signal()
        m.d.comb += counted.eq(self.sample.valid & self.marker.active)
        value = Signal(POSITION)
        m.d.comb += value.eq(Mux(bank.channel == EventChannel.CURRENT, self.sample.code, self.z))
        over, under = Signal(signed(POSITION.width + 1)), Signal(signed(POSITION.width + 1))
        over_sum, under_sum = Signal(EXCESS), Signal(EXCESS)
        samples = Signal(SAMPLES_BITS)
        seen, first, last = Signal(), Signal(), Signal()
        ended, judged = Signal(), Signal()
        pixel_x, pixel_y = Signal(POSITION), Signal(POSITION)
        above, below = Signal(), Signal()
        excess = Signal(EXCESS)
        m.d.sync += [seen.eq(counted), ended.eq(seen & last), judged.eq(ended)]
        with m.If(counted):
            m.d.sync += [over.eq(value - bank.on), under.eq(value - bank.off), first.eq(self.marker.first), last.eq(self.marker.last)]
            with m.If(self.marker.last):
                m.d.sync += [pixel_x.eq(self.marker.x), pixel_y.eq(self.marker.y)]
        with m.If(seen):
            m.d.sync += [
                over_sum.eq(Mux(first, 0, over_sum) + over),
                under_sum.eq(Mux(first, 0, under_sum) + under),
                samples.eq(Mux(first, 0, samples) + 1),
            ]
        with m.If(ended):
            m.d.sync += [above.eq(over_sum > 0), below.eq(under_sum < 0), excess.eq(over_sum)]
        ready = Signal()  # below `off` since the last event; enabling starts with not ready, so a scan that begins on a feature is silent
        fire = Signal()
        m.d.comb += fire.eq(judged & bank.enable & ready & above)
        m.d.sync += self.detection.valid.eq(fire)
        with m.If(~bank.enable):
            m.d.sync += ready.eq(0)
        with m.Elif(judged):
            m.d.sync += ready.eq((ready | below) & ~above)

        # The record, one at a time: scaling takes at most 13 cycles and writing 8, less than the two samples that are between events at least.
        score = Signal(EXCESS)
        scale = Signal(SAMPLES_BITS)
        class_id = Signal(8)
        time = Signal(TIME)
        sequence, number = Signal(32), Signal(32)
        lost = Signal(32)
        with m.If(fire):
            m.d.sync += [self.detection.class_id.eq(bank.class_id), self.detection.x.eq(pixel_x), self.detection.y.eq(pixel_y)]
            m.d.sync += [sequence.eq(sequence + 1)]
        high = score[31:]
        fits = (high == 0) | high.all()
        held = Signal(32)  # a cycle behind the score, which stands by then
        m.d.sync += held.eq(Mux(fits, score[:32], Mux(score[-1], 1 << 31, (1 << 31) - 1)))
        record = pack_words(
            EVENT_LAYOUT,
            {
                "source": EventSource.THRESHOLD, "class_id": class_id, "score": held, "x": self.detection.x, "y": self.detection.y,
                "time": time, "sequence": number,
            },
        )[:-1]  # fmt: skip
        word = Signal(range(8))
        roomy = Signal()
        m.d.sync += roomy.eq(buffer.room >= EVENT_LAYOUT.words + 4)
        with m.FSM():
            with m.State("WAIT"):
                with m.If(judged):
                    m.d.sync += [score.eq(excess), scale.eq(samples), class_id.eq(bank.class_id), time.eq(self.time), number.eq(sequence)]
                with m.If(fire):
                    with m.If(roomy):
                        m.next = "SCALE"
                    with m.Else():
                        m.d.sync += lost.eq(lost + 1)
            with m.State("SCALE"):
                with m.If(scale[2:] != 0):
                    m.d.sync += [score.eq(score >> 2), scale.eq(scale >> 2)]
                with m.Elif(scale[1]):
                    m.d.sync += [score.eq(score >> 1), scale.eq(scale >> 1)]
                with m.Else():
                    m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += buffer.write.eq(1)
                with m.Switch(word):
                    for place, content in enumerate(record):
                        with m.Case(place):
                            m.d.comb += buffer.data.eq(content)
                m.d.sync += word.eq(word + 1)
                with m.If(word == len(record) - 1):
                    m.d.sync += word.eq(0)
                    m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += buffer.write_crc.eq(1)
                m.next = "WAIT"
        m.d.comb += [bank.count.eq(sequence), bank.lost.eq(lost)]
        return m
