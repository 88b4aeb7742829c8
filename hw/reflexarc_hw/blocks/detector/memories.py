"""What the engine's parts pass to each other, and its memories."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.model import (
    ACCUMULATOR_BITS,
    ACTIVATION_BYTES,
    BANKS,
    OUTPUTS,
    PARAMETER_LAYOUT,
    PARAMETERS,
    QUAD,
    RING_BYTES,
    TABLE_SIZE,
    TABLES,
    WEIGHT_BYTES,
    Memory,
)
from reflexarc.contract.words import Layout
from reflexarc_hw.lib.memory import Ram

WORD_BYTES = 4
SUM = signed(ACCUMULATOR_BITS)
STORED = signed(8)

# A word on its way from the loader to a memory of a bank. They come at least 7 cycles apart.
LOAD = data.StructLayout({"enable": 1, "bank": 1, "memory": 4, "address": 14, "data": 32})
RING_WRITE = data.StructLayout({"enable": 1, "address": (RING_BYTES - 1).bit_length(), "data": 8})
# Outputs of the last layer, in order; it can't be stalled, so there is no ready. ``last``: no more come of this evaluation.
QUAD_OUTPUTS = data.StructLayout({"valid": 1, "last": 1, "count": 3, "values": data.ArrayLayout(STORED, QUAD)})


def struct_of(layout: Layout) -> data.FlexibleLayout:
    """A contract layout as a struct: words one behind the other, each field where it is."""
    fields = {
        field.name: data.Field(signed(field.width) if field.signed else unsigned(field.width), 32 * field.word + field.bit)
        for field in layout.fields
    }
    return data.FlexibleLayout(32 * layout.words, fields)


def put_word(m: Module, target: data.View, word: Value, value: Value) -> None:
    """Word number ``word`` of a struct becomes ``value``."""
    bits = target.as_value()
    with m.Switch(word):
        for index in range(len(bits) // 32):
            with m.Case(index):
                m.d.sync += bits[32 * index : 32 * index + 32].eq(value)


PARAMETER = struct_of(PARAMETER_LAYOUT)


class ByteMemory(wiring.Component):
    """``size`` bytes in as many banks as there are lanes, so that as many bytes are read or written at once, from any address on.

    Byte ``a`` is in row ``a // lanes`` of bank ``a % lanes``; each bank has its own row. ``read_data``, by bank, follows after 2 cycles in which
    ``read_enable`` is high. Who reads in the cycle in which a byte is written gets anything.
    """

    def __init__(self, lanes: int, size: int):
        self._lanes, self._rows = lanes, size // lanes
        row = (self._rows - 1).bit_length()
        super().__init__(
            {
                "read_enable": In(1),
                "read_rows": In(data.ArrayLayout(row, lanes)),
                "read_data": Out(data.ArrayLayout(8, lanes)),
                "write_enable": In(lanes),
                "write_rows": In(data.ArrayLayout(row, lanes)),
                "write_data": In(data.ArrayLayout(8, lanes)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        for bank in range(self._lanes):
            m.submodules[f"bank_{bank}"] = ram = Ram(8, self._rows)
            m.d.comb += [
                ram.read_enable.eq(self.read_enable),
                ram.read_address.eq(self.read_rows[bank]),
                self.read_data[bank].eq(ram.read_data),
                ram.write_enable.eq(self.write_enable[bank]),
                ram.write_address.eq(self.write_rows[bank]),
                ram.write_data.eq(self.write_data[bank]),
            ]
        return m


class LoadedWords(wiring.Component):
    """A memory that the loader writes in words of 32 bits and that is read in rows of ``words`` of them, of both banks one behind the other.

    ``read_data`` follows after 2 cycles in which ``read_enable`` is high. A loaded word is there 3 cycles later.
    """

    def __init__(self, memory: Memory, words: int, rows: int):
        self._memory, self._words, self._rows = memory, words, rows
        super().__init__(
            {
                "load": In(LOAD),
                "read_enable": In(1),
                "read_address": In((BANKS * rows - 1).bit_length()),  # the bank's bit is the topmost
                "read_data": Out(32 * words),
            }
        )

    def elaborate(self, platform):
        m = Module()
        address_bits = (self._rows - 1).bit_length()
        select_bits = (self._words - 1).bit_length()
        taken = Signal()
        select, address, word = Signal(select_bits), Signal(len(self.read_address)), Signal(32)
        m.d.sync += taken.eq(self.load.enable & (self.load.memory == self._memory))
        with m.If(self.load.enable):
            m.d.sync += [
                select.eq(self.load.address[:select_bits]),
                address.eq(Cat(self.load.address[select_bits : select_bits + address_bits], self.load.bank)),
                word.eq(self.load.data),
            ]
        # The enables of many slices are decoded into registers, and what is written waits for them.
        for index in range(self._words):
            m.submodules[f"slice_{index}"] = ram = Ram(32, BANKS * self._rows)
            enable = Signal(name=f"enable_{index}")
            m.d.sync += enable.eq(taken & (select == index))
            m.d.comb += [
                ram.write_enable.eq(enable),
                ram.write_address.eq(address),
                ram.write_data.eq(word),
                ram.read_enable.eq(self.read_enable),
                ram.read_address.eq(self.read_address),
                self.read_data[32 * index : 32 * index + 32].eq(ram.read_data),
            ]
        return m


class Weights(LoadedWords):
    """Rows of OUTPUTS * lanes bytes, [output][lane]."""

    def __init__(self, lanes: int):
        row_bytes = OUTPUTS * lanes
        super().__init__(Memory.WEIGHTS, row_bytes // WORD_BYTES, WEIGHT_BYTES // row_bytes)


class Parameters(LoadedWords):
    """Rows of QUAD outputs."""

    def __init__(self) -> None:
        super().__init__(Memory.PARAMETERS, QUAD * PARAMETER_LAYOUT.words, PARAMETERS // QUAD)


class Tables(wiring.Component):
    """QUAD copies of the tables, so that as many values are looked up at once, 2 cycles later.

    A loaded word is written a byte a cycle and is there 6 cycles later; hence the distance from a word to the next.
    """

    load: In(LOAD)
    bank: In(1)
    table: In((TABLES - 1).bit_length())
    enable: In(1)
    values: In(data.ArrayLayout(STORED, QUAD))
    found: Out(data.ArrayLayout(STORED, QUAD))

    def elaborate(self, platform):
        m = Module()
        place_bits = (TABLES * TABLE_SIZE // WORD_BYTES - 1).bit_length()
        place, word = Signal(place_bits + 1), Signal(32)
        left, byte = Signal(WORD_BYTES), Signal(2)  # a bit for each byte that is still to be written
        with m.If(self.load.enable & (self.load.memory == Memory.TABLES)):
            m.d.sync += [
                left.eq(Cat(1 for _ in range(WORD_BYTES))),
                byte.eq(0),
                place.eq(Cat(self.load.address[:place_bits], self.load.bank)),
                word.eq(self.load.data),
            ]
        with m.Elif(left[0]):
            m.d.sync += [left.eq(left[1:]), byte.eq(byte + 1), word.eq(word[8:])]
        for index in range(QUAD):
            m.submodules[f"copy_{index}"] = ram = Ram(8, BANKS * TABLES * TABLE_SIZE)
            value = self.values[index].as_unsigned()
            m.d.comb += [
                ram.write_enable.eq(left[0]),
                ram.write_address.eq(Cat(byte, place)),
                ram.write_data.eq(word[:8]),
                ram.read_enable.eq(self.enable),
                ram.read_address.eq(Cat(value[:7], ~value[7], self.table, self.bank)),
                self.found[index].eq(ram.read_data),
            ]
        return m


class Activations(wiring.Component):
    """What the layers write: up to QUAD consecutive bytes at once, those of a layer without a gap.

    ``place`` says where the next values go; ``announce`` with their ``count`` comes a cycle before ``values``, which are in the memory 2 cycles
    later: ``announce`` in cycle 0, written in cycle 2, and an address that stands at ``read_rows`` in cycle 3 reads them.
    """

    def __init__(self, lanes: int):
        self._lanes = lanes
        row = (ACTIVATION_BYTES // lanes - 1).bit_length()
        super().__init__(
            {
                "read_enable": In(1),
                "read_rows": In(data.ArrayLayout(row, lanes)),
                "read_data": Out(data.ArrayLayout(8, lanes)),
                "start": In(1),  # the next value goes to ``place``
                "place": In((ACTIVATION_BYTES - 1).bit_length()),
                "announce": In(1),
                "count": In(range(QUAD + 1)),
                "values": In(data.ArrayLayout(STORED, QUAD)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        lanes = self._lanes
        m.submodules.bytes = memory = ByteMemory(lanes, ACTIVATION_BYTES)
        m.d.comb += [
            memory.read_enable.eq(self.read_enable),
            memory.read_rows.eq(self.read_rows),
            self.read_data.eq(memory.read_data),
        ]
        turn_bits = (lanes - 1).bit_length()
        place = Signal(len(self.place))
        turn, row = place[:turn_bits], place[turn_bits:]
        row_after = Signal(len(row))
        m.d.comb += row_after.eq(row + 1)
        written = Signal()  # last cycle's announcement
        m.d.sync += [written.eq(self.announce), memory.write_enable.eq(0)]
        with m.If(self.start):
            m.d.sync += place.eq(self.place)
        with m.Elif(self.announce):
            m.d.sync += place.eq(place + self.count)
        for bank in range(lanes):
            offset = Signal(turn_bits, name=f"offset_{bank}")  # of this bank's byte from the first one
            takes, which = Signal(name=f"takes_{bank}"), Signal(2, name=f"which_{bank}")
            bank_row = Signal(len(row), name=f"row_{bank}")
            m.d.comb += offset.eq(bank - turn)
            with m.If(self.announce):
                m.d.sync += [
                    takes.eq(offset < self.count),
                    which.eq(offset),
                    bank_row.eq(Mux(turn > bank, row_after, row)),
                ]
            with m.If(written):
                m.d.sync += [
                    memory.write_enable[bank].eq(takes),
                    memory.write_rows[bank].eq(bank_row),
                    memory.write_data[bank].eq(self.values[which]),
                ]
        return m


class Ring(wiring.Component):
    """The view's records. A byte that is written in cycle 0 is read by an address that stands at ``read_rows`` in cycle 2."""

    def __init__(self, lanes: int):
        self._lanes = lanes
        row = (RING_BYTES // lanes - 1).bit_length()
        super().__init__(
            {
                "read_enable": In(1),
                "read_rows": In(data.ArrayLayout(row, lanes)),
                "read_data": Out(data.ArrayLayout(8, lanes)),
                "write": In(RING_WRITE),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.bytes = memory = ByteMemory(self._lanes, RING_BYTES)
        m.d.comb += [
            memory.read_enable.eq(self.read_enable),
            memory.read_rows.eq(self.read_rows),
            self.read_data.eq(memory.read_data),
        ]
        turn_bits = (self._lanes - 1).bit_length()
        row, byte = Signal(len(self.write.address) - turn_bits), Signal(8)
        m.d.sync += memory.write_enable.eq(0)
        with m.If(self.write.enable):
            m.d.sync += [
                memory.write_enable.bit_select(self.write.address[:turn_bits], 1).eq(1),
                row.eq(self.write.address[turn_bits:]),
                byte.eq(self.write.data),
            ]
        for bank in range(self._lanes):
            m.d.comb += [memory.write_rows[bank].eq(row), memory.write_data[bank].eq(byte)]
        return m
