"""All events of the controller: a threshold of its own, those of the detectors, and the records of all of them and of programs."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import events
from reflexarc.contract.events import EVENT_LAYOUT, EventSource
from reflexarc_hw.blocks.events.found import FOUND
from reflexarc_hw.blocks.events.threshold import Threshold
from reflexarc_hw.lib.bus import BankSignature, attach_bank
from reflexarc_hw.lib.formats import MARKER, POSITION, SAMPLE, TIME
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
DETECTION_CYCLES = 4  # from a pixel's last sample to the detection by threshold
TOLD_CYCLES = 2  # from what another source found to the detection, where no other event comes in these cycles
SCORE_CYCLES = 2  # from a detection to the scored event
SOURCES = (EventSource.THRESHOLD, EventSource.DETECTOR, EventSource.CORRELATOR)  # in the order in which they go first


class Events(wiring.Component):
    """Tells of each event three times: at once, with its score, and as a record on the stream.

    ``found`` are the events of the sources beside the threshold, which has the right of way: it can't wait. What a source finds while its
    last event is not yet recorded (at most 4 records of 10 cycles) is lost, and counted.

    ``emission`` becomes a record of a program on the same stream, one at a time.
    """

    bus: In(BankSignature())
    sample: In(SAMPLE)
    z: In(POSITION)  # Q20.12, DAC LSB
    marker: In(MARKER)
    time: In(TIME)
    found: In(data.ArrayLayout(FOUND, len(SOURCES) - 1))  # of the sources beside the threshold
    emission: In(EMISSION)
    emits: In(1)  # until ``emitted``
    detection: Out(DETECTION)
    scored: Out(SCORED)
    emitted: Out(1)  # a cycle after the emission is taken
    stream: Out(stream.Signature(WORD))

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, events.BLOCK)
        m.submodules.threshold = threshold = Threshold()
        m.submodules.buffer = buffer = PacketBuffer(BUFFER_WORDS)
        wiring.connect(m, wiring.flipped(self.stream), buffer.stream)
        m.d.comb += [getattr(threshold, name).eq(getattr(bank, name)) for name in ("enable", "channel", "on", "off", "class_id")]
        m.d.comb += [getattr(threshold, name).eq(getattr(self, name)) for name in ("sample", "z", "marker", "time")]

        # The last event of each source, until its record is written; the threshold's first.
        kept = [Signal(FOUND, name=f"kept_{index}") for index in range(len(SOURCES))]
        told = Signal(len(kept))
        tell = Signal(len(kept))  # one-hot: whose event it is
        telling, scoring = Signal.like(tell), Signal.like(tell)  # a cycle and two later
        crowded = Signal(len(kept))  # an event that has no place
        m.d.comb += tell[0].eq(threshold.fires)
        m.d.sync += [told.eq(told | tell), self.detection.valid.eq(tell.any()), telling.eq(tell), scoring.eq(telling)]
        for index, event in enumerate(kept[1:], 1):
            found = self.found[index - 1]
            m.d.comb += [
                tell[index].eq(event.valid & ~told[index] & ~tell[:index].any()),
                crowded[index].eq(found.valid & event.valid),
            ]
            with m.If(found.valid & ~event.valid):
                m.d.sync += [event.eq(found), told[index].eq(0)]
            with m.If(tell[index]):
                m.d.sync += [self.detection[name].eq(event[name]) for name in ("class_id", "x", "y")]
        with m.If(tell[0]):
            m.d.sync += [self.detection.class_id.eq(bank.class_id), self.detection.x.eq(threshold.x), self.detection.y.eq(threshold.y)]
        with m.If(threshold.found.valid):
            m.d.sync += kept[0].eq(threshold.found)
        m.d.sync += self.scored.valid.eq(scoring.any())
        for index, event in enumerate((threshold.found, *kept[1:])):
            with m.If(scoring[index]):
                m.d.sync += self.scored.source.eq(SOURCES[index])
                m.d.sync += [self.scored[name].eq(event[name]) for name in ("class_id", "score", "x", "y")]

        # Records, one at a time: 10 cycles each, so that the threshold's is written before its next event, 2 samples later at the earliest,
        # even where another one comes first.
        due, begun = Signal(len(kept)), Signal(len(kept))
        for index, event in enumerate(kept):
            # Of the others nothing is left once it is recorded: reaction and program must have heard of it.
            m.d.comb += due[index].eq(event.valid & (told[index] & ~telling[index] & ~scoring[index] if index else 1))
            with m.If(begun[index]):
                m.d.sync += event.valid.eq(0)
        sequence = Signal(32)
        lost, count = Signal(32), Signal(32)
        more_lost = Signal(range(len(kept) + 2))
        content = Signal(RECORD)
        record = pack_words(EVENT_LAYOUT, {name: content[name] for name in RECORD.members})[:-1]
        word = Signal(range(8))
        # ``emits`` still stands in the cycle of ``emitted``: what it says is taken already.
        emission_due, takes = Signal(), Signal()
        m.d.comb += emission_due.eq(self.emits & ~self.emitted)
        m.d.sync += self.emitted.eq(takes)
        roomy = Signal(init=1)  # the buffer starts empty
        no_room = Signal()
        m.d.sync += roomy.eq(buffer.room >= EVENT_LAYOUT.words + 4)
        with m.FSM():
            with m.State("WAIT"):
                with m.If(due.any() | emission_due):
                    m.d.comb += [begun.eq(due & (~due + 1)), takes.eq(~due.any())]
                    m.d.sync += [sequence.eq(sequence + 1), content.sequence.eq(sequence)]
                    with m.If(roomy):
                        m.next = "WRITE"
                    with m.Else():
                        m.d.comb += no_room.eq(1)
                m.d.sync += [
                    content.source.eq(EventSource.PROGRAM),
                    content.class_id.eq(self.emission.class_id),
                    content.model_id.eq(self.emission.part),
                    content.score.eq(self.emission.a),
                    content.x.eq(self.emission.b),
                    content.y.eq(0),
                    content.time.eq(self.time),
                ]
                for index, event in reversed(list(enumerate(kept))):
                    with m.If(due[index]):
                        m.d.sync += content.source.eq(SOURCES[index])
                        m.d.sync += [content[name].eq(event[name]) for name in ("class_id", "model_id", "score", "x", "y", "time")]
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
        # Counted some cycles late: what is lost, and whose turn it is, is known late enough.
        losses = Signal(len(kept) + 1)
        m.d.sync += [losses.eq(Cat(crowded, no_room)), more_lost.eq(sum(losses)), lost.eq(lost + more_lost)]
        m.d.sync += count.eq(count + self.detection.valid)
        m.d.comb += [bank.count.eq(count), bank.lost.eq(lost)]
        return m
