"""Takes an image word by word: to the memories what is theirs, and to the bank whether it may be used."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks.detector import BankState
from reflexarc.contract.model import BANKS, HEADER_LAYOUT, LANES, MAGIC, MEMORY_WORDS, SEGMENT_LAYOUT, VERSION, Memory
from reflexarc_hw.blocks.detector.memories import LOAD, struct_of
from reflexarc_hw.lib.packet import CRC_INIT, add_crc_of_word

WORDS_APART = 3  # cycles, at least, from a word to the next
LOAD_CYCLES = 3  # from ``data_strobe`` to ``load.enable``, and to the bank's state
LEAST_WORDS = HEADER_LAYOUT.words + 1
HEADER = struct_of(HEADER_LAYOUT)
SEGMENT = struct_of(SEGMENT_LAYOUT)


class Expected(enum.Enum):
    MAGIC = 0
    FORM = 1
    WORDS = 2
    HEAD = 3  # of a segment, or the CRC
    DATA = 4


class Loader(wiring.Component):
    """``start`` begins an image for ``start_bank``, which is empty from then on; the active bank, while it is valid, is refused. The bank is valid
    once the image was whole and right to its last word. The first word that is wrong ends it, as ``end`` and the next start do; what comes
    after that, or without a start, is left unread.
    """

    def __init__(self, lanes: int):
        if lanes not in LANES:
            raise ValueError(f"{lanes} lanes; there may be {', '.join(map(str, LANES))}")
        self._lanes = lanes
        super().__init__(
            {
                "start": In(1),
                "start_bank": In(1),
                "data_strobe": In(1),
                "data": In(32),
                "end": In(1),
                "active_bank": In(1),
                "active_valid": In(1),
                "load": Out(LOAD),
                "state_0": Out(BankState),
                "state_1": Out(BankState),
                "refused": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        states = Array([self.state_0, self.state_1])
        bank = Signal(range(BANKS))
        loading = Signal()  # states[bank] is LOADING
        accepted = Signal()
        m.d.comb += accepted.eq(self.start & ~(self.active_valid & (self.start_bank == self.active_bank)))
        m.d.sync += self.refused.eq(self.start & ~accepted)

        # A word is taken, looked at, and acted on.
        word = Signal(32)
        taken, looked_at = Signal(), Signal()
        m.d.sync += [taken.eq(self.data_strobe & loading), looked_at.eq(taken & loading)]
        with m.If(self.data_strobe & loading):
            m.d.sync += word.eq(self.data)
        header = data.View(HEADER, Cat(word, word, word))  # each field in the word that it may be in
        segment = data.View(SEGMENT, word)
        crc = Signal(32)
        is_magic, is_form, is_crc, enough = Signal(), Signal(), Signal(), Signal()
        limit, beyond = Signal(15), Signal(15)
        with m.If(taken):
            m.d.sync += [
                is_magic.eq(header.magic == MAGIC),
                is_form.eq((header.version == VERSION) & (header.lanes == self._lanes) & (header.model_id != 0)),
                enough.eq(header.words >= LEAST_WORDS),
                is_crc.eq(word == ~crc),
                beyond.eq(segment.start + segment.count),
            ]
            with m.Switch(segment.memory):
                for memory in Memory:
                    with m.Case(memory):
                        m.d.sync += limit.eq(MEMORY_WORDS[memory])
                with m.Default():
                    m.d.sync += limit.eq(0)
        fits, known = Signal(), Signal()
        m.d.comb += [fits.eq(beyond <= limit), known.eq(limit != 0)]

        expected = Signal(Expected)
        left = Signal(32)  # words of the image, with this one; the header's do not count
        last = Signal()
        address, count = Signal(14), Signal(14)
        right, whole = Signal(), Signal()
        verdict = Signal(BankState)
        crc_after = add_crc_of_word(m, crc, word)
        m.d.comb += last.eq(left == 1)
        m.d.sync += self.load.enable.eq(0)
        with m.If(looked_at):
            m.d.sync += [crc.eq(crc_after), left.eq(left - 1)]
            with m.Switch(expected):
                with m.Case(Expected.MAGIC):
                    m.d.comb += right.eq(is_magic)
                    m.d.sync += expected.eq(Expected.FORM)
                with m.Case(Expected.FORM):
                    m.d.comb += right.eq(is_form)
                    m.d.sync += expected.eq(Expected.WORDS)
                with m.Case(Expected.WORDS):
                    m.d.comb += right.eq(enough)
                    m.d.sync += [expected.eq(Expected.HEAD), left.eq(word - HEADER_LAYOUT.words)]
                with m.Case(Expected.HEAD):
                    m.d.comb += [whole.eq(last), right.eq(fits & known)]
                    m.d.sync += [address.eq(segment.start), count.eq(segment.count), self.load.memory.eq(segment.memory)]
                    with m.If(segment.count != 0):
                        m.d.sync += expected.eq(Expected.DATA)
                with m.Default():
                    m.d.comb += right.eq(~last)
                    m.d.sync += [address.eq(address + 1), count.eq(count - 1)]
                    m.d.sync += [
                        self.load.enable.eq(~last),
                        self.load.bank.eq(bank),
                        self.load.address.eq(address),
                        self.load.data.eq(word),
                    ]
                    with m.If(count == 1):
                        m.d.sync += expected.eq(Expected.HEAD)
        m.d.comb += verdict.eq(Mux(whole, Mux(is_crc, BankState.VALID, BankState.BAD_CRC), BankState.BAD_FORMAT))
        with m.If(looked_at & (whole | ~right)):
            m.d.sync += [loading.eq(0), looked_at.eq(0), taken.eq(0), states[bank].eq(verdict)]
        with m.If((self.end | accepted) & loading):
            m.d.sync += [loading.eq(0), states[bank].eq(BankState.BAD_FORMAT)]
        with m.If(accepted):
            m.d.sync += [
                bank.eq(self.start_bank),
                loading.eq(1),
                states[self.start_bank].eq(BankState.LOADING),
                expected.eq(Expected.MAGIC),
                crc.eq(CRC_INIT),
            ]
        with m.If(self.end | accepted):
            m.d.sync += [self.load.enable.eq(0), taken.eq(0), looked_at.eq(0)]
        return m
