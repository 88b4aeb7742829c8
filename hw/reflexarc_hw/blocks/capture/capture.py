"""Per-pixel sums and their packets."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import capture
from reflexarc.contract.packets import HEADER_LAYOUT, PACKET_MAGIC, PIXEL_LAYOUT, TRAILER_LAYOUT
from reflexarc_hw.lib.bus import BankSignature, attach_bank
from reflexarc_hw.lib.formats import MARKER, POSITION, SAMPLE, TIME
from reflexarc_hw.lib.packet import WORD, PacketBuffer, pack_words

SAMPLES_BITS = 24  # a pixel has at most 2**24 - 1 samples
SUM = signed(POSITION.width + SAMPLES_BITS)  # holds the sum of that many positions, and so of that many samples

# A finished pixel, for the event source.
PIXEL = data.StructLayout({"valid": 1, "z_sum": SUM, "current_sum": SUM, "x": POSITION, "y": POSITION})

BUFFER_WORDS = 2048
# What must be free for a pixel: its own words, the trailer, and 5 for the room's delay
RESERVE_WORDS = PIXEL_LAYOUT.words + TRAILER_LAYOUT.words + 5


class Capture(wiring.Component):
    """Sums z and the current over each pixel's samples and sends one packet a line and direction.

    A pixel for which the buffer has no room is dropped whole and counted, in its packet's trailer and in ``pixels_lost``; a line for whose
    header there is no room is dropped whole and shows as a gap in the packets' sequence numbers too.
    """

    bus: In(BankSignature())
    sample: In(SAMPLE)
    marker: In(MARKER)
    aborted: In(1)
    z: In(POSITION)  # Q20.12, DAC LSB
    time: In(TIME)
    pixels: In(16)
    pixel_samples: In(24)
    pixel: Out(PIXEL)
    stream: Out(stream.Signature(WORD))

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, capture.BLOCK)
        m.submodules.buffer = buffer = PacketBuffer(BUFFER_WORDS)
        wiring.connect(m, wiring.flipped(self.stream), buffer.stream)

        # Sums: all samples of a pixel, none twice
        counted = Signal()
        z_sum, current_sum = Signal(SUM), Signal(SUM)
        m.d.comb += counted.eq(self.sample.valid & self.marker.active)
        z_next = Mux(self.marker.first, 0, z_sum) + self.z
        current_next = Mux(self.marker.first, 0, current_sum) + self.sample.code
        index = Signal(16)
        m.d.sync += self.pixel.valid.eq(0)
        with m.If(counted):
            m.d.sync += [z_sum.eq(z_next), current_sum.eq(current_next)]
            with m.If(self.marker.last):
                m.d.sync += [
                    self.pixel.valid.eq(1),
                    self.pixel.z_sum.eq(z_next),
                    self.pixel.current_sum.eq(current_next),
                    self.pixel.x.eq(self.marker.x),
                    self.pixel.y.eq(self.marker.y),
                    index.eq(self.marker.index),
                ]

        # What is still to be written. A sample asks for at most a header, a pixel and a trailer, 13 words, and the next is 16 cycles away.
        header_due, pixel_due, trailer_due = Signal(), Signal(), Signal()
        open_, dropped, aborted = Signal(), Signal(), Signal()
        sequence = Signal(32)
        direction, line, time = Signal(), Signal(16), Signal(TIME)
        sent, lost = Signal(16), Signal(15)
        pixels_sent, pixels_lost = Signal(32), Signal(32)
        with m.If(counted & self.marker.line_first):
            m.d.sync += [header_due.eq(1), open_.eq(1), direction.eq(self.marker.direction), line.eq(self.marker.line), time.eq(self.time)]
        with m.If(counted & self.marker.last):
            m.d.sync += pixel_due.eq(1)
        with m.If(counted & self.marker.line_last):
            m.d.sync += [trailer_due.eq(1), open_.eq(0), aborted.eq(0)]
        with m.Elif(self.aborted & (open_ | (counted & self.marker.line_first))):
            m.d.sync += [trailer_due.eq(1), open_.eq(0), aborted.eq(1)]

        header = pack_words(
            HEADER_LAYOUT,
            {
                "magic": PACKET_MAGIC, "direction": direction, "sequence": sequence, "line": line, "pixels": self.pixels,
                "pixel_samples": self.pixel_samples, "time": time,
            },
        )  # fmt: skip
        record = pack_words(PIXEL_LAYOUT, {"index": index, "z_sum": self.pixel.z_sum, "current_sum": self.pixel.current_sum})
        trailer = pack_words(TRAILER_LAYOUT, {"sent": sent, "lost": lost, "aborted": aborted})[:-1]
        word = Signal(range(8))

        def write(words: list[Value], due: Signal, then: str) -> None:
            """One word a cycle; with the last, ``due`` falls."""
            m.d.comb += buffer.write.eq(1)
            with m.Switch(word):
                for number, value in enumerate(words):
                    with m.Case(number):
                        m.d.comb += buffer.data.eq(value)
            m.d.sync += word.eq(word + 1)
            with m.If(word == len(words) - 1):
                m.d.sync += [word.eq(0), due.eq(0)]
                m.next = then

        roomy, cramped = Signal(), Signal()
        m.d.sync += [roomy.eq(buffer.room >= HEADER_LAYOUT.words + RESERVE_WORDS), cramped.eq(buffer.room < RESERVE_WORDS)]
        with m.FSM():
            with m.State("CHOOSE"):
                with m.If(header_due):
                    m.d.sync += [sent.eq(0), lost.eq(0), dropped.eq(~roomy)]
                    with m.If(roomy):
                        m.next = "HEADER"
                    with m.Else():
                        m.d.sync += [header_due.eq(0), sequence.eq(sequence + 1)]
                with m.Elif(pixel_due):
                    with m.If(dropped | cramped):
                        m.d.sync += [pixel_due.eq(0), lost.eq(lost + 1), pixels_lost.eq(pixels_lost + 1)]
                    with m.Else():
                        m.d.sync += [sent.eq(sent + 1), pixels_sent.eq(pixels_sent + 1)]
                        m.next = "PIXEL"
                with m.Elif(trailer_due):
                    with m.If(dropped):
                        m.d.sync += trailer_due.eq(0)
                    with m.Else():
                        m.next = "TRAILER"
            with m.State("HEADER"):
                write(header, header_due, "CHOOSE")
                with m.If(word == len(header) - 1):
                    m.d.sync += sequence.eq(sequence + 1)
            with m.State("PIXEL"):
                write(record, pixel_due, "CHOOSE")
            with m.State("TRAILER"):
                write(trailer, trailer_due, "CRC")
            with m.State("CRC"):
                m.d.comb += buffer.write_crc.eq(1)
                m.next = "CHOOSE"

        latest = Signal.like(bank.sample)
        with m.If(self.sample.valid):
            m.d.sync += latest.eq(self.sample.code)
        m.d.comb += [bank.pixels_sent.eq(pixels_sent), bank.pixels_lost.eq(pixels_lost), bank.sample.eq(latest)]
        return m
