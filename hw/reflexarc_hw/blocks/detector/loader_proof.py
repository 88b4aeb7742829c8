"""Proofs of the loader: whatever words come, in whatever order.

| assumption | why it is harmless |
|---|---|
| `active_is_valid`: a bank becomes the active one, and valid, only while its state is VALID | the detector changes to a bank only while it is so, and not in the cycle of a start for it |
| `words_are_apart`: from a word to the next there are at least 3 cycles | accesses to a bank's registers come at least as many cycles apart as it takes for one: `fabric` |
| the CRC of a word is `crc_of_word` below | the loader's own, by tables, is compared with zlib by the tests; an induction takes the tables for memories that hold anything |

Starts, ends, words, the active bank and the reset are free in every cycle otherwise.
"""

from unittest import mock

from amaranth.hdl import Cat, Module, Mux, Signal, Value

from reflexarc.contract.blocks.detector import BankState
from reflexarc.contract.model import MEMORY_WORDS, Memory
from reflexarc_hw.blocks.detector import loader
from reflexarc_hw.blocks.detector.loader import LOAD_CYCLES, WORDS_APART, Expected, Loader
from reflexarc_hw.formal import Mutation, Proof
from reflexarc_hw.lib.packet import CRC_INIT, CRC_POLYNOMIAL

LOADER = "blocks/detector/loader.py"
LANES = 8
ACTIVE = "active_is_valid"
APART = "words_are_apart"


def limit_of(m: Module, memory: Value, name: str) -> Value:
    """Words of a memory; 0 of none."""
    limit = Signal(15, name=name)
    with m.Switch(memory):
        for one in Memory:
            with m.Case(one):
                m.d.comb += limit.eq(MEMORY_WORDS[one])
    return limit


def crc_of_word(m: Module, crc: Value, word: Value) -> Value:
    """CRC-32 after one more word, bit by bit."""
    bits = crc ^ word
    for number in range(32):
        after = Signal(32, name=f"crc_{number}")
        m.d.comb += after.eq((bits >> 1) ^ Mux(bits[0], CRC_POLYNOMIAL, 0))
        bits = after
    return bits


class LoaderProof(Proof):
    """Where words go, and when a bank is valid."""

    name = "loader"
    short = True
    depth = 6
    cover_depth = 20
    assumptions = (ACTIVE, APART)
    properties = {
        "only_the_bank_that_is_loaded": "Each word to a memory goes to the bank of the last start that was not refused, while that bank is LOADING.",
        "the_active_bank_is_kept": "Whatever comes, the active bank stays VALID, and no word goes to it.",
        "segments_stay_inside": "No word goes past the end of its memory.",
        "valid_stays": "A bank that is VALID stays so until a start for it, which is refused while it is active.",
        "valid_by_its_crc": f"A bank becomes VALID only {LOAD_CYCLES} cycles after a word that is the CRC of all words since its start.",
        "a_refusal_is_said": "A start for the active bank, while it is valid, raises the strobe and changes no state.",
    }
    covers = ("writes", "refuses", "is_valid")
    mutations = (
        Mutation("only_the_bank_that_is_loaded", LOADER, "self.load.bank.eq(bank)", "self.load.bank.eq(self.start_bank)", 24),
        Mutation("only_the_bank_that_is_loaded", LOADER, "self.load.enable.eq(0), taken", "taken", 24),
        Mutation("the_active_bank_is_kept", LOADER, "self.active_valid & (self.start_bank == self.active_bank)", "self.active_valid & self.active_bank & (self.start_bank == self.active_bank)", 24),
        Mutation("segments_stay_inside", LOADER, "fits.eq(beyond <= limit)", "fits.eq(beyond[:14] <= limit)", 24),
        Mutation("segments_stay_inside", LOADER, "right.eq(fits & known)", "right.eq(1)", 24),
        Mutation("valid_stays", LOADER, "(self.end | accepted) & loading", "self.end | (accepted & loading)", 24),
        Mutation("valid_by_its_crc", LOADER, "is_crc.eq(word == ~crc)", "is_crc.eq(word[:31] == ~crc[:31])", 24),
        Mutation("valid_by_its_crc", LOADER, "Mux(is_crc, BankState.VALID, BankState.BAD_CRC)", "Mux(is_crc | enough, BankState.VALID, BankState.BAD_CRC)", 24),
        Mutation("a_refusal_is_said", LOADER, "self.refused.eq(self.start & ~accepted)", "self.refused.eq(0)", 24),
    )  # fmt: skip

    def describe(self, m: Module) -> None:
        with mock.patch.object(loader, "add_crc_of_word", crc_of_word):
            dut = self.add("loader", Loader(LANES))
        states = [dut.state_0, dut.state_1]

        def of(bank: Value) -> Value:
            return Mux(bank, states[1], states[0])

        refused = dut.start & dut.active_valid & (dut.start_bank == dut.active_bank)
        accepted = dut.start & ~refused
        stays_active = self.past(dut.active_valid) & (self.past(dut.active_bank) == dut.active_bank)
        active_is_valid = ~dut.active_valid | (of(dut.active_bank) == BankState.VALID)
        self.assume(ACTIVE, active_is_valid | stays_active)
        self.assume(APART, ~dut.data_strobe | ~Cat(self.past(dut.data_strobe, cycles) for cycles in range(1, WORDS_APART)).any())

        bank = Signal()  # of the last start
        with m.If(accepted):
            m.d.sync += bank.eq(dut.start_bank)
        load = dut.load
        self.holds("only_the_bank_that_is_loaded", ~load.enable | ((load.bank == bank) & (of(bank) == BankState.LOADING)))
        self.holds("the_active_bank_is_kept", active_is_valid)
        self.holds("the_active_bank_is_kept", ~(load.enable & dut.active_valid & (load.bank == dut.active_bank)))
        self.holds("segments_stay_inside", ~load.enable | (load.address < limit_of(m, load.memory, "limit_now")))
        for number, state in enumerate(states):
            before = self.past(state)
            started = self.past(accepted & (dut.start_bank == number))
            self.holds("valid_stays", (before != BankState.VALID) | started | (state == BankState.VALID))
        self.holds("a_refusal_is_said", dut.refused == self.past(refused))
        other_than_refused = Cat(self.past(dut.start & ~refused), self.past(dut.end), self.past(self.inside("loader.looked_at")))
        same = Cat(state == self.past(state) for state in states).all()
        self.holds("a_refusal_is_said", ~self.past(refused) | other_than_refused.any() | same)

        # The CRC of the words since the start, once those on their way are counted.
        crc, word, taken, acted = Signal(32, init=CRC_INIT), Signal(32), Signal(), Signal()
        loading = of(bank) == BankState.LOADING
        with m.If(dut.data_strobe & loading):
            m.d.sync += word.eq(dut.data)
        m.d.sync += [taken.eq(dut.data_strobe & loading & ~accepted), acted.eq(taken & loading & ~accepted)]
        after = crc_of_word(m, crc, word)
        with m.If(acted):
            m.d.sync += crc.eq(after)
        with m.If(accepted):
            m.d.sync += crc.eq(CRC_INIT)
        was_crc = self.past(acted & (word == ~crc))
        for number, state in enumerate(states):
            became = (state == BankState.VALID) & (self.past(state) != BankState.VALID)
            self.holds("valid_by_its_crc", ~became | (was_crc & (self.past(bank) == number)))

        inside = {name: self.inside(f"loader.{name}") for name in ("bank", "loading", "word", "crc", "taken", "looked_at", "is_crc")}
        self.invariant(inside["bank"] == bank)
        self.invariant(inside["loading"] == loading)
        self.invariant(of(~bank) != BankState.LOADING)
        self.invariant(~load.enable | loading)
        self.invariant(~(taken & loading) | (inside["taken"] & (inside["word"] == word)))
        self.invariant(~(acted & loading) | (inside["looked_at"] & (inside["word"] == word)))
        self.invariant(~(inside["taken"] & loading) | taken)
        self.invariant(~(inside["looked_at"] & loading) | (acted & (inside["is_crc"] == (word == ~crc))))
        self.invariant(~loading | (inside["crc"] == crc))
        # Within a segment there is at least one word to come, and all that are to come fit.
        expected, address, count = (self.inside(f"loader.{name}") for name in ("expected", "address", "count"))
        limit = limit_of(m, load.memory, "limit_to_come")
        self.invariant(~loading | (expected != Expected.DATA) | ((count != 0) & (address + count <= limit)))
        self.invariant(~loading | (expected <= Expected.DATA))
        # What was looked at of a segment's head.
        segment_limit = limit_of(m, word[28:], "limit_of_head")
        beyond, known = self.inside("loader.beyond"), self.inside("loader.limit")
        self.invariant(~(acted & loading) | ((beyond == word[:14] + word[14:28]) & (known == segment_limit)))
        self.reaches("writes", load.enable)
        self.reaches("refuses", dut.refused)
        self.reaches("is_valid", dut.state_1 == BankState.VALID)


PROOFS = [LoaderProof()]
