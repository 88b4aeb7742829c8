"""First event source: per-pixel threshold with hysteresis."""

from amaranth.hdl import Array, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import events
from reflexarc.contract.blocks.events import EventChannel
from reflexarc.contract.events import EVENT_LAYOUT, EventSource
from reflexarc_hw.blocks.capture import PIXEL
from reflexarc_hw.blocks.capture.capture import SAMPLES_BITS, SUM
from reflexarc_hw.lib.bus import BankSignature, attach_bank
from reflexarc_hw.lib.formats import POSITION, TIME
from reflexarc_hw.lib.packet import WORD, PacketBuffer, pack_words

# What a reaction needs of an event, at once; the record with score and CRC follows on the stream.
DETECTION = data.StructLayout({"valid": 1, "class_id": 8, "x": POSITION, "y": POSITION})

BUFFER_WORDS = 512
DETECTION_CYCLES = 3  # from a finished pixel to the detection


class ThresholdEvents(wiring.Component):
    """Fires when a pixel's mean rises above ``on``; then not until a pixel's mean fell below ``off``.

    Means are compared as sums, exactly: ``on * pixel_samples`` is formed by a serial multiplier (under 60 cycles after a change of
    either factor). The record's score is the excess ``sum - on * pixel_samples`` shifted right by ``floor(log2(pixel_samples))`` and held
    at 32 bits: the mean's excess times a factor from 1 to 2 that the host knows exactly.
    """

    bus: In(BankSignature())
    pixel: In(PIXEL)
    pixel_samples: In(SAMPLES_BITS)
    time: In(TIME)
    detection: Out(DETECTION)
    stream: Out(stream.Signature(WORD))

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, events.BLOCK)
        m.submodules.buffer = buffer = PacketBuffer(BUFFER_WORDS)
        wiring.connect(m, wiring.flipped(self.stream), buffer.stream)

        # on and off times pixel_samples, one after the other, one bit of pixel_samples a cycle; anew when a factor changes
        sums = Array([Signal(SUM, name="on_sum"), Signal(SUM, name="off_sum")])
        which = Signal()
        bit = Signal(range(SAMPLES_BITS + 1))
        factor = Signal(SUM)
        multiplier = Signal(SAMPLES_BITS)
        total = Signal(SUM)
        known_samples = Signal(SAMPLES_BITS)
        stale = Signal(init=1)
        changed = Signal()
        m.d.sync += [
            known_samples.eq(self.pixel_samples),
            changed.eq(bank.on_strobe | bank.off_strobe | (known_samples != self.pixel_samples)),
        ]
        with m.If(changed):
            m.d.sync += [stale.eq(1), which.eq(0), bit.eq(0)]
        with m.Elif(stale):
            m.d.sync += bit.eq(bit + 1)
            with m.If(bit == 0):
                m.d.sync += [factor.eq(Mux(which, bank.off, bank.on)), multiplier.eq(self.pixel_samples), total.eq(0)]
            with m.Elif(bit < SAMPLES_BITS):
                m.d.sync += [factor.eq(factor << 1), multiplier.eq(multiplier >> 1)]
                with m.If(multiplier[0]):
                    m.d.sync += total.eq(total + factor)
            with m.Else():
                m.d.sync += [sums[which].eq(Mux(multiplier[0], total + factor, total)), which.eq(~which), bit.eq(0)]
                with m.If(which):
                    m.d.sync += stale.eq(0)

        # 1: differences, 2: verdict, 3: detection
        value = Mux(bank.channel == EventChannel.CURRENT, self.pixel.current_sum, self.pixel.z_sum)
        over, under = Signal(signed(SUM.width + 1)), Signal(signed(SUM.width + 1))
        valid_1, valid_2 = Signal(), Signal()
        above, below = Signal(), Signal()
        excess = Signal(signed(SUM.width + 1))
        m.d.sync += [valid_1.eq(self.pixel.valid), valid_2.eq(valid_1)]
        with m.If(self.pixel.valid):
            m.d.sync += [over.eq(value - sums[0]), under.eq(value - sums[1])]
        with m.If(valid_1):
            m.d.sync += [above.eq(over > 0), below.eq(under < 0), excess.eq(over)]
        ready = Signal()  # below `off` since the last event; enabling starts with not ready, so a scan that begins on a feature is silent
        fire = Signal()
        m.d.comb += fire.eq(valid_2 & bank.enable & ready & above)
        m.d.sync += self.detection.valid.eq(fire)
        with m.If(~bank.enable):
            m.d.sync += ready.eq(0)
        with m.Elif(valid_2):
            m.d.sync += ready.eq((ready | below) & ~above)

        # The record, one at a time: scaling takes floor(log2(pixel_samples)) cycles and writing 8, less than the two pixels between events.
        score = Signal(signed(SUM.width + 1))
        scale = Signal(SAMPLES_BITS)
        class_id = Signal(8)
        time = Signal(TIME)
        sequence, number = Signal(32), Signal(32)
        lost = Signal(32)
        with m.If(fire):
            m.d.sync += [self.detection.class_id.eq(bank.class_id), self.detection.x.eq(self.pixel.x), self.detection.y.eq(self.pixel.y)]
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
                with m.If(fire):
                    with m.If(roomy):
                        m.d.sync += [score.eq(excess), scale.eq(self.pixel_samples), class_id.eq(bank.class_id), time.eq(self.time)]
                        m.d.sync += number.eq(sequence)
                        m.next = "SCALE"
                    with m.Else():
                        m.d.sync += lost.eq(lost + 1)
            with m.State("SCALE"):
                with m.If(scale[1:] == 0):
                    m.next = "WRITE"
                with m.Else():
                    m.d.sync += [score.eq(score >> 1), scale.eq(scale >> 1)]
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
