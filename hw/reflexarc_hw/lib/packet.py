"""Streams of 32-bit words that form packets, and the buffer that never stalls its writer."""

from collections.abc import Mapping

from amaranth.hdl import Cat, Const, Module, Signal, Value, ValueLike
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from reflexarc.contract.words import Layout

CRC_POLYNOMIAL = 0xEDB88320  # IEEE 802.3, reflected
CRC_INIT = 0xFFFFFFFF

WORD = data.StructLayout({"data": 32, "last": 1})  # last word of its packet


def pack_words(layout: Layout, values: Mapping[str, ValueLike]) -> list[Value]:
    """The words of a contract layout from values by field name, sign-extended or cut to the field's width; a field left out reads 0."""
    bits: list[Value] = [Const(0, 1)] * (32 * layout.words)
    for field in layout.fields:
        if field.name in values:
            value = Value.cast(values[field.name])
            for bit in range(field.width):
                beyond = value[-1] if value.shape().signed else Const(0, 1)
                bits[32 * field.word + field.bit + bit] = value[bit] if bit < len(value) else beyond
    return [Cat(*bits[32 * word : 32 * word + 32]) for word in range(layout.words)]


def _crc_of_bits(bits: int) -> int:
    """CRC remainder after the 32 bits of ``bits`` alone; linear, so words are the XOR of what their nibbles give."""
    for _ in range(32):
        bits = bits >> 1 ^ (CRC_POLYNOMIAL if bits & 1 else 0)
    return bits


def add_crc_of_word(m: Module, crc: Value, word: Value) -> Value:
    """CRC-32 (IEEE 802.3, bit-reflected, as ``zlib.crc32``) after one more little-endian word.

    One table of 16 entries a nibble: each of its output bits is a LUT4, three levels in all, and the twin looks it up. Written as parities
    of single bits, as a generic CRC would be, it synthesizes alike but takes the twin a third of its time.
    """
    mixed = Signal(32)
    m.d.comb += mixed.eq(crc ^ word)
    total: Value = Const(0, 32)
    for nibble in range(8):
        term = Signal(32, name=f"crc_term_{nibble}")
        with m.Switch(mixed.word_select(nibble, 4)):
            for value in range(16):
                with m.Case(value):
                    m.d.comb += term.eq(_crc_of_bits(value << 4 * nibble))
        total = total ^ term
    return total


class PacketBuffer(wiring.Component):
    """FIFO of packet words that appends the CRC-32.

    ``write`` takes ``data``; ``write_crc`` takes the CRC of the words since the last one as the packet's last word, one cycle or more after
    the last ``write``. The writer looks at ``room`` (free words, three cycles late) before it begins; the buffer itself never refuses.
    """

    def __init__(self, depth: int):
        self._depth = depth
        super().__init__(
            {
                "write": In(1),
                "data": In(32),
                "write_crc": In(1),
                "room": Out(range(depth + 1)),
                "stream": Out(stream.Signature(WORD)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = SyncFIFOBuffered(width=33, depth=self._depth)
        crc = Signal(32, init=CRC_INIT)
        # Registered first: the CRC of a 32-bit word is a deep XOR and whatever makes the word is deep too.
        write, write_crc, word = Signal(), Signal(), Signal(32)
        m.d.sync += [write.eq(self.write), write_crc.eq(self.write_crc), word.eq(self.data)]
        m.d.comb += [
            fifo.w_en.eq(write | write_crc),
            fifo.w_data[:32].eq(word),
            self.stream.valid.eq(fifo.r_rdy),
            self.stream.payload.data.eq(fifo.r_data[:32]),
            self.stream.payload.last.eq(fifo.r_data[32]),
            fifo.r_en.eq(self.stream.ready),
        ]
        crc_next = add_crc_of_word(m, crc, word)
        with m.If(write_crc):
            m.d.comb += [fifo.w_data[:32].eq(~crc), fifo.w_data[32].eq(1)]
            m.d.sync += crc.eq(CRC_INIT)
        with m.Elif(write):
            m.d.sync += crc.eq(crc_next)
        level = Signal(range(self._depth + 1))
        m.d.comb += level.eq(fifo.level)
        m.d.sync += self.room.eq(self._depth - level)
        return m
