"""First event source: per-pixel threshold with hysteresis; and the records of all events."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import events
from reflexarc.contract.blocks.events import EventChannel
from reflexarc.contract.events import EVENT_LAYOUT, EventSource
from reflexarc_hw.blocks.capture.capture import SAMPLES_BITS, SUM
from reflexarc_hw.lib.bus import BankSignature, attach_bank
from reflexarc_hw.lib.conditions import held
from reflexarc_hw.lib.formats import MARKER, POSITION, SAMPLE, TIME
from reflexarc_hw.lib.own_register import own_register
from reflexarc_hw.lib.packet import WORD, PacketBuffer, pack_words

# What a reaction needs of an event, at once; the record with score and CRC follows on the stream.
DETECTION = data.StructLayout({"valid": 1, "class_id": 8, "x": POSITION, "y": POSITION})
# What a program needs to decide: SCORE_CYCLES later.
SCORED = data.StructLayout({"valid": 1, "source": 8, "class_id": 8, "score": signed(32), "x": POSITION, "y": POSITION})
# What a program says to the host.
EMISSION = data.StructLayout({"class_id": 8, "part": 16, "a": signed(32), "b": signed(32)})
RECORD = data.StructLayout(
    {"source": 8, "class_id": 8, "model_id": 16, "score": signed(32), "x": POSITION, "y": POSITION, "time": TIME, "sequence": 32}
)

BUFFER_WORDS = 512
DETECTION_CYCLES = 4  # from a pixel's last sample to the detection
SCORE_CYCLES = 2  # from there to the scored event
EXCESS = signed(SUM.width + 1)


class ThresholdEvents(wiring.Component):
    """Fires when a pixel's mean rises above ``on``; then not until a pixel's mean fell below ``off``.

    Means are compared exactly, whatever a pixel's number of samples: what is summed is each sample's excess over ``on`` and over ``off``.
    The record's score is the excess ``sum - on * samples`` shifted right by ``floor(log2(samples))`` and held at 32 bits: the mean's
    excess times a factor from 1 to 2 that the host knows exactly.

    ``emission`` becomes a record of a program on the same stream, one at a time.
    """

    bus: In(BankSignature())
    sample: In(SAMPLE)
    z: In(POSITION)  # Q20.12, DAC LSB
    marker: In(MARKER)
    time: In(TIME)
    emission: In(EMISSION)
    emits: In(1)  # until ``emitted``
    detection: Out(DETECTION)
    scored: Out(SCORED)
    emitted: Out(1)
    stream: Out(stream.Signature(WORD))

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, events.BLOCK)
        m.submodules.buffer = buffer = PacketBuffer(BUFFER_WORDS)
        wiring.connect(m, wiring.flipped(self.stream), buffer.stream)

        # 1: a sample's excess, 2: its pixel's, 3: verdict, 4: detection
        counted = Signal()
        m.d.comb += counted.eq(self.sample.valid & self.marker.active)
        value, of_current = Signal(POSITION), Signal()
        m.d.sync += of_current.eq(bank.channel == EventChannel.CURRENT)
        m.d.comb += value.eq(Mux(of_current, self.sample.code, self.z))
        over, under = Signal(signed(POSITION.width + 1)), Signal(signed(POSITION.width + 1))
        over_sum, under_sum = Signal(EXCESS), Signal(EXCESS)
        samples = Signal(SAMPLES_BITS)
        seen = own_register(m, counted, "seen")
        first, last = Signal(), Signal()
        ended, judged = Signal(), Signal()
        pixel_x, pixel_y = Signal(POSITION), Signal(POSITION)
        above, below = Signal(), Signal()
        count = Signal(32)
        excess = Signal(EXCESS)
        m.d.sync += [ended.eq(seen & last), judged.eq(ended)]
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

        # The score: scaled in two steps, then held; with it the record's place and time.
        magnitude = Signal(range(SAMPLES_BITS))  # floor(log2(samples))
        coarse, fine = Signal(EXCESS), Signal(EXCESS)
        fine_shift = Signal(3)
        detected = Signal()
        time = Signal(TIME)
        with m.If(ended):
            for bit in range(SAMPLES_BITS):
                with m.If(samples[bit]):
                    m.d.sync += magnitude.eq(bit)
        with m.If(judged):
            m.d.sync += [coarse.eq(excess >> Cat(Const(0, 3), magnitude[3:])), fine_shift.eq(magnitude[:3]), time.eq(self.time)]
        with m.If(fire):
            m.d.sync += [self.detection.class_id.eq(bank.class_id), self.detection.x.eq(pixel_x), self.detection.y.eq(pixel_y)]
            m.d.sync += count.eq(count + 1)
        m.d.sync += [fine.eq(coarse >> fine_shift), detected.eq(self.detection.valid), self.scored.valid.eq(detected)]
        with m.If(detected):
            m.d.sync += [
                self.scored.source.eq(EventSource.THRESHOLD),
                self.scored.class_id.eq(self.detection.class_id),
                self.scored.score.eq(held(fine)),
                self.scored.x.eq(self.detection.x),
                self.scored.y.eq(self.detection.y),
            ]

        # Records, one at a time: 10 cycles each, so that an event's is written before the next event, 2 samples later at the earliest, even
        # where one of a program comes first.
        due = Signal()  # the event's record is to be written
        sequence = Signal(32)
        lost = Signal(32)
        content = Signal(RECORD)
        record = pack_words(EVENT_LAYOUT, {name: content[name] for name in RECORD.members})[:-1]
        word = Signal(range(8))
        roomy = Signal()
        m.d.sync += roomy.eq(buffer.room >= EVENT_LAYOUT.words + 4)
        taken = Signal()
        with m.If(self.scored.valid):
            m.d.sync += due.eq(1)
        with m.Elif(taken):
            m.d.sync += due.eq(0)
        with m.FSM():
            with m.State("WAIT"):
                with m.If(due | self.emits):
                    m.d.comb += [taken.eq(due), self.emitted.eq(~due)]
                    m.d.sync += [sequence.eq(sequence + 1), content.sequence.eq(sequence)]
                    with m.If(roomy):
                        m.next = "WRITE"
                    with m.Else():
                        m.d.sync += lost.eq(lost + 1)
                with m.If(due):
                    m.d.sync += [content[name].eq(self.scored[name]) for name in ("source", "class_id", "score", "x", "y")]
                    m.d.sync += [content.model_id.eq(0), content.time.eq(time)]
                with m.Else():
                    m.d.sync += [
                        content.source.eq(EventSource.PROGRAM),
                        content.class_id.eq(self.emission.class_id),
                        content.model_id.eq(self.emission.part),
                        content.score.eq(self.emission.a),
                        content.x.eq(self.emission.b),
                        content.y.eq(0),
                        content.time.eq(self.time),
                    ]
            with m.State("WRITE"):
                m.d.comb += buffer.write.eq(1)
                with m.Switch(word):
                    for place, part in enumerate(record):
                        with m.Case(place):
                            m.d.comb += buffer.data.eq(part)
                m.d.sync += word.eq(word + 1)
                with m.If(word == len(record) - 1):
                    m.d.sync += word.eq(0)
                    m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += buffer.write_crc.eq(1)
                m.next = "WAIT"
        m.d.comb += [bank.count.eq(count), bank.lost.eq(lost)]
        return m
