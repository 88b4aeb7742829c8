"""Per-pixel sums and their packets."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import capture
from reflexarc.contract.blocks.signals import CURRENT, MONITOR
from reflexarc.contract.packets import HEADER_LAYOUT, PACKET_MAGIC, PIXEL_LAYOUT, SUM_WORDS, TRAILER_LAYOUT, Channel
from reflexarc_hw.blocks.capture.pixel import PIXEL, SAMPLES_BITS, SUM
from reflexarc_hw.lib.bus import BankSignature, attach_bank
from reflexarc_hw.lib.formats import CODE, MARKER, POSITION, SAMPLE, SAMPLES, TIME
from reflexarc_hw.lib.own_register import own_register
from reflexarc_hw.lib.packet import WORD, PacketBuffer, pack_words

COUNTERS = 2
COUNT_BITS = 16  # pulses in a sample period

BUFFER_WORDS = 2048
PIXEL_CYCLES = 2
RECORD_WORDS_MAX = PIXEL_LAYOUT.words + SUM_WORDS * len(Channel)
# What must be free for a pixel: its own words, the trailer, and 6 for the room's delay and the word on its way
RESERVE_WORDS = RECORD_WORDS_MAX + TRAILER_LAYOUT.words + 6


def _lowest(bits: Value) -> Value:
    """Its lowest bit alone."""
    return bits & (~bits + 1)[: len(bits)]


class Capture(wiring.Component):
    """Sums the chosen channels over each pixel's samples and sends one packet a line and direction.

    A pixel for which the buffer has no room, or that is over before the last one is written, is dropped whole and counted, in its packet's
    trailer and in ``pixels_lost``; a line for whose header there is no room, or that begins before the last packet is written, is dropped
    whole and shows as a gap in the packets' sequence numbers too.

    ``pixel`` is each whole pixel, PIXEL_CYCLES after its last sample, whatever becomes of its record.

    ``pulses`` are counted from one sample to the next; a sample's count is that of the period before, in which its conversion was asked for.
    """

    bus: In(BankSignature())
    samples: In(SAMPLES)
    pulses: In(COUNTERS)  # asynchronous; rising edges, at least 2 cycles high and low
    marker: In(MARKER)
    aborted: In(1)
    z: In(POSITION)  # Q20.12, DAC LSB
    time: In(TIME)
    pixels: In(16)
    pixel_samples: In(24)
    pixel: Out(PIXEL)
    pixel_ends: Out(1)  # it is valid in the next cycle
    stream: Out(stream.Signature(WORD))

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, capture.BLOCK)
        m.submodules.buffer = buffer = PacketBuffer(BUFFER_WORDS)
        wiring.connect(m, wiring.flipped(self.stream), buffer.stream)
        # Samples and markers go to a thousand places: they are kept here for a cycle, with the time that they came at.
        current, monitor = Signal(SAMPLE), Signal(CODE)
        marker, z, now, aborted_now = Signal(MARKER), Signal(POSITION), Signal(TIME), Signal()
        m.d.sync += [
            current.eq(self.samples[CURRENT]),
            marker.eq(self.marker),
            z.eq(self.z),
            now.eq(self.time),
            aborted_now.eq(self.aborted),
        ]
        with m.If(self.samples[MONITOR].valid):  # the converters finish together; one that is late has its last code
            m.d.sync += monitor.eq(self.samples[MONITOR].code)

        # Pulses since the last sample, and those of the period before it.
        level, before = Signal(COUNTERS), Signal(COUNTERS)
        m.submodules.pulses = FFSynchronizer(self.pulses, level, stages=3)
        m.d.sync += before.eq(level)
        counts, totals = [], [bank.count_0, bank.count_1]
        for index in range(COUNTERS):
            rise = Signal(name=f"rise_{index}")
            running, counted_pulses = Signal(COUNT_BITS, name=f"running_{index}"), Signal(COUNT_BITS, name=f"counted_{index}")
            m.d.comb += rise.eq(level[index] & ~before[index])
            with m.If(rise):
                m.d.sync += totals[index].eq(totals[index] + 1)
            with m.If(current.valid):
                m.d.sync += [running.eq(rise), counted_pulses.eq(running)]
            with m.Elif(rise & ~running.all()):
                m.d.sync += running.eq(running + 1)
            counts.append(counted_pulses)

        # Sums: all samples of a pixel, none twice.
        # The current is in other blocks' registers at the same time: the one that is added stands here.
        values = {
            Channel.Z: z,
            Channel.CURRENT: own_register(m, self.samples[CURRENT].code, "added").as_signed(),
            Channel.MONITOR: monitor,
            Channel.COUNTER_0: counts[0],
            Channel.COUNTER_1: counts[1],
        }
        counted = Signal()
        m.d.sync += counted.eq(self.samples[CURRENT].valid & self.marker.active)
        sums = {channel: Signal(SUM, name=f"sum_{channel.name.lower()}") for channel in Channel}
        done = {channel: Signal(SUM, name=f"done_{channel.name.lower()}") for channel in Channel}
        number, number_done = Signal(SAMPLES_BITS), Signal(SAMPLES_BITS)
        index, index_done = Signal(16), Signal(16)
        # Half of the sums begin by a register of their own.
        first = own_register(m, self.marker.first, "first")
        begins = {channel: first if channel in (Channel.Z, Channel.COUNTER_0) else marker.first for channel in Channel}
        with m.If(counted):
            m.d.sync += [sums[channel].eq(Mux(begins[channel], 0, sums[channel]) + value) for channel, value in values.items()]
            m.d.sync += [number.eq(Mux(marker.first, 0, number) + 1), index.eq(marker.index)]

        # Its first pixel may be its only one.
        begun, line_first = Signal(), Signal()
        with m.If(counted):
            m.d.comb += line_first.eq(marker.line_first | begun)
            m.d.sync += begun.eq(line_first & ~marker.last)
            m.d.sync += [self.pixel[name].eq(marker[name]) for name in ("line_last", "direction", "second", "x", "y")]
            m.d.sync += self.pixel.line_first.eq(line_first)
        m.d.comb += self.pixel_ends.eq(counted & marker.last)
        m.d.sync += self.pixel.valid.eq(self.pixel_ends)
        m.d.comb += [self.pixel.index.eq(index), self.pixel.samples.eq(number)]
        m.d.comb += [self.pixel.sums[channel].eq(sums[channel]) for channel in Channel]

        # A packet is under way from its line's first sample until its CRC is written. A line that begins meanwhile is left out.
        idle = Signal()  # the last packet is written, or will be by the time a new header is
        leaving_out, left_out = Signal(), Signal()
        begins, counts = Signal(), Signal()
        chosen = Signal(len(Channel))  # of this packet
        sequence = Signal(32)
        direction, second, line, time = Signal(), Signal(), Signal(16), Signal(TIME)
        m.d.comb += [
            begins.eq(counted & marker.line_first),
            leaving_out.eq(Mux(marker.line_first, ~idle, left_out)),
            counts.eq(counted & ~leaving_out),
        ]
        with m.If(begins):
            m.d.sync += left_out.eq(~idle)
            with m.If(idle):
                m.d.sync += [
                    direction.eq(marker.direction), second.eq(marker.second), line.eq(marker.line), time.eq(now),
                    chosen.eq(bank.channels),
                ]  # fmt: skip

        # What is still to be written: a sample asks for at most a header, a pixel and a trailer; pixel and trailer come a cycle later.
        header_due, pixel_due, trailer_due = Signal(), Signal(), Signal()
        open_, dropped, aborted = Signal(), Signal(), Signal()
        ended, ended_left_out, ending, trailing = Signal(), Signal(), Signal(), Signal()
        sent, lost = Signal(16), Signal(15)
        pixels_sent, pixels_lost = Signal(32), Signal(32)
        m.d.sync += [
            ended.eq(counts & marker.last),
            ended_left_out.eq(counted & leaving_out & marker.last),
            ending.eq(counts & marker.line_last),
            trailing.eq(0),
        ]
        with m.If(begins & idle):
            m.d.sync += [header_due.eq(1), open_.eq(1)]
        overtaken = ended & pixel_due
        with m.If(ended & ~pixel_due):
            m.d.sync += [done[channel].eq(sums[channel]) for channel in Channel]
            m.d.sync += [number_done.eq(number), index_done.eq(index), pixel_due.eq(1)]
        with m.If(counts & marker.line_last):
            m.d.sync += [open_.eq(0), aborted.eq(0)]
        with m.Elif((aborted_now & (open_ | (begins & idle))) | (begins & open_)):
            # A line that begins before the last one has ended ends that one.
            m.d.sync += [trailing.eq(1), open_.eq(0), aborted.eq(1)]
        with m.If(ending | trailing):
            m.d.sync += trailer_due.eq(1)

        header = pack_words(
            HEADER_LAYOUT,
            {
                "magic": PACKET_MAGIC, "direction": direction, "second": second, "channels": chosen, "sequence": sequence, "line": line,
                "pixels": self.pixels, "pixel_samples": self.pixel_samples, "time": time,
            },
        )  # fmt: skip
        first_words = pack_words(PIXEL_LAYOUT, {"index": index_done, "samples": number_done})
        trailer = pack_words(TRAILER_LAYOUT, {"sent": sent, "lost": lost, "aborted": aborted})[:-1]
        word = Signal(range(8))
        left, lowest = Signal(len(Channel)), Signal(len(Channel))  # channels of this record still to be written; the first of them, one-hot
        remaining = left & ~lowest
        roomy, cramped = Signal(), Signal()
        m.d.sync += [roomy.eq(buffer.room >= HEADER_LAYOUT.words + RESERVE_WORDS), cramped.eq(buffer.room < RESERVE_WORDS)]

        def write(words: list, then: str) -> None:
            """One word a cycle, then the next state."""
            m.d.sync += buffer.write.eq(1)
            with m.Switch(word):
                for place, value in enumerate(words):
                    with m.Case(place):
                        m.d.sync += buffer.data.eq(value)
            m.d.sync += word.eq(word + 1)
            with m.If(word == len(words) - 1):
                m.d.sync += word.eq(0)
                m.next = then

        drop = Signal()
        # What is written comes from all over the block: it is there a cycle later.
        m.d.sync += [buffer.write.eq(0), buffer.write_crc.eq(0)]
        with m.FSM() as fsm:
            with m.State("CHOOSE"):
                with m.If(header_due):
                    m.d.sync += [sent.eq(0), lost.eq(0), dropped.eq(~roomy)]
                    with m.If(roomy):
                        m.next = "HEADER"
                    with m.Else():
                        m.d.sync += [header_due.eq(0), sequence.eq(sequence + 1)]
                with m.Elif(pixel_due):
                    with m.If(dropped | cramped):
                        m.d.comb += drop.eq(1)
                        m.d.sync += pixel_due.eq(0)
                    with m.Else():
                        m.d.sync += [sent.eq(sent + 1), pixels_sent.eq(pixels_sent + 1), left.eq(chosen), lowest.eq(_lowest(chosen))]
                        m.next = "PIXEL"
                with m.Elif(trailer_due):
                    with m.If(dropped):
                        m.d.sync += trailer_due.eq(0)
                    with m.Else():
                        m.next = "TRAILER"
            with m.State("HEADER"):
                write(header, "CHOOSE")
                with m.If(word == len(header) - 1):
                    m.d.sync += [header_due.eq(0), sequence.eq(sequence + 1)]
            with m.State("PIXEL"):
                write(first_words, "SUMS")
            with m.State("SUMS"):
                m.d.sync += buffer.write.eq(1)
                for bit, channel in enumerate(Channel):
                    with m.If(lowest[bit]):
                        m.d.sync += buffer.data.eq(Mux(word[0], done[channel] >> 32, done[channel]))
                m.d.sync += word[0].eq(~word[0])
                with m.If(word[0]):
                    m.d.sync += [left.eq(remaining), lowest.eq(_lowest(remaining))]
                    with m.If(remaining == 0):
                        m.d.sync += pixel_due.eq(0)
                        # Header, a pixel of two channels and trailer take 16 cycles: the way past CHOOSE is one too many.
                        m.next = "CHOOSE"
                        with m.If(trailer_due):
                            m.next = "TRAILER"
            with m.State("TRAILER"):
                write(trailer, "CRC")
            with m.State("CRC"):
                m.d.sync += buffer.write_crc.eq(1)
                m.d.sync += trailer_due.eq(0)
                m.next = "CHOOSE"
        due = open_ | header_due | pixel_due | trailer_due | ended | ending | trailing
        m.d.comb += idle.eq(fsm.ongoing("CRC") | (fsm.ongoing("CHOOSE") & ~due))
        with m.If(drop | overtaken):
            m.d.sync += lost.eq(lost + drop + overtaken)
        with m.If(drop | overtaken | ended_left_out):
            m.d.sync += pixels_lost.eq(pixels_lost + (drop + overtaken + ended_left_out))
        with m.If(begins & ~idle):
            m.d.sync += sequence.eq(sequence + 1)

        sample = Signal.like(bank.sample)
        with m.If(current.valid):
            m.d.sync += sample.eq(current.code)
        m.d.comb += [bank.pixels_sent.eq(pixels_sent), bank.pixels_lost.eq(pixels_lost), bank.sample.eq(sample), bank.monitor.eq(monitor)]
        return m
