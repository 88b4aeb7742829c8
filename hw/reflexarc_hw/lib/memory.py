"""The one wrapper for memories: one write port, one read port with a registered output."""

from collections.abc import Iterable

from amaranth.hdl import Module, Shape, ShapeLike
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out


class Ram(wiring.Component):
    """Simple dual-port block RAM; also a ROM when its write port is left alone.

    ``read_data`` follows ``read_address`` after 2 cycles: one in the RAM, one in its output register, which block RAM needs for 100 MHz
    on an ECP5-6; without ``read_enable`` both keep what they have. What comes of reading an address in the cycle in which it is written
    is not defined: synthesis is told so, and who reads must not use it.
    """

    def __init__(self, shape: ShapeLike, depth: int, init: Iterable[int] = ()):
        self._memory = memory.MemoryData(shape=Shape.cast(shape), depth=depth, init=init)
        address_bits = max(1, (depth - 1).bit_length())
        super().__init__(
            {
                "write_enable": In(1),
                "write_address": In(address_bits),
                "write_data": In(Shape.cast(shape)),
                "read_enable": In(1, init=1),
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
            read.en.eq(self.read_enable),
            read.addr.eq(self.read_address),
        ]
        with m.If(self.read_enable):
            m.d.sync += self.read_data.eq(read.data)
        return m


class RegisterFile(wiring.Component):
    """A few words with one write port and ``ports`` read ports without a register: RAM made of LUTs.

    ``read_data_<i>`` follows ``read_address_<i>`` in the same cycle and shows a word from the cycle after its write on.
    """

    def __init__(self, shape: ShapeLike, depth: int, ports: int):
        self._memory = memory.MemoryData(shape=Shape.cast(shape), depth=depth, init=())
        self._ports = ports
        address_bits = max(1, (depth - 1).bit_length())
        members = {"write_enable": In(1), "write_address": In(address_bits), "write_data": In(Shape.cast(shape))}
        for port in range(ports):
            members |= {f"read_address_{port}": In(address_bits), f"read_data_{port}": Out(Shape.cast(shape))}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = ram = memory.Memory(self._memory)
        write = ram.write_port()
        m.d.comb += [write.en.eq(self.write_enable), write.addr.eq(self.write_address), write.data.eq(self.write_data)]
        for port in range(self._ports):
            read = ram.read_port(domain="comb")
            m.d.comb += [read.addr.eq(getattr(self, f"read_address_{port}")), getattr(self, f"read_data_{port}").eq(read.data)]
        return m
