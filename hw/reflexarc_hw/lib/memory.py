"""The one wrapper for memories: one write port, one read port with a registered output."""

from collections.abc import Iterable

from amaranth.hdl import Module, Shape, ShapeLike
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out


class Ram(wiring.Component):
    """Simple dual-port block RAM; also a ROM when its write port is left alone.

    ``read_data`` follows ``read_address`` after 2 cycles: one in the RAM, one in its output register, which block RAM needs for 100 MHz
    on an ECP5-6. What comes of reading an address in the cycle in which it is written is not defined: synthesis is told so, and who reads
    must not use it.
    """

    def __init__(self, shape: ShapeLike, depth: int, init: Iterable[int] = ()):
        self._memory = memory.MemoryData(shape=Shape.cast(shape), depth=depth, init=init)
        address_bits = max(1, (depth - 1).bit_length())
        super().__init__(
            {
                "write_enable": In(1),
                "write_address": In(address_bits),
                "write_data": In(Shape.cast(shape)),
                "read_address": In(address_bits),
                "read_data": Out(Shape.cast(shape)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = ram = memory.Memory(self._memory)
        write, read = ram.write_port(), ram.read_port()
        m.d.comb += [
            write.en.eq(self.write_enable),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
            read.addr.eq(self.read_address),
        ]
        m.d.sync += self.read_data.eq(read.data)
        return m
