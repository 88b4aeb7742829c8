"""The output gate: every code that leaves the controller leaves here."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import gate
from reflexarc.contract.blocks.gate import CODE_MAX, CODE_MIN
from reflexarc.contract.blocks.scan import POSITION_FRACTION_BITS
from reflexarc_hw.lib.bus import BankSignature, attach_bank
from reflexarc_hw.lib.formats import CODE, POSITION

OUTPUTS = data.StructLayout({"x": CODE, "y": CODE, "z": CODE, "bias": CODE})


def round_to_code(position: Value) -> Value:
    """Q20.12 to a code: half up, held at the rails."""
    rounded = (position >> (POSITION_FRACTION_BITS - 1)) + 1 >> 1
    return Mux(rounded > CODE_MAX, CODE_MAX, rounded)


class Gate(wiring.Component):
    """Drives the converters: the requested codes while permitted, otherwise the safe ones.

    Live: codes follow the requests after 2 cycles. From the cycle after ``safe`` rises: x and y hold; bias is what it last was outside of a
    pulse; z steps towards the withdrawn rail, at once and then with each tick, by ``retract_step``, never back; the beam is blanked.
    The withdrawn rail is the greatest z code: a constant of the gateware, as rule 3 of the design asks.

    ``dac_load`` starts a frame of all four converters with the codes of this cycle and aborts one that is under way (AD5791: SYNC high
    before the 24th SCLK edge discards the frame). It follows ``frame``, but the cycle in which the first safe codes stand starts one
    at once, and that one is left to end.
    """

    def __init__(self, cycles_per_sample: int):
        self._cycles_per_sample = cycles_per_sample
        super().__init__(
            {
                "bus": In(BankSignature()),
                "armed": In(1),
                "safe": In(1),
                "tick": In(1),
                "frame": In(1),
                "x": In(POSITION),  # Q20.12, DAC LSB, as are y and z
                "y": In(POSITION),
                "z": In(POSITION),
                "pulse": In(1),
                "pulse_bias": In(CODE),
                "blank_request": In(1),
                "dac": Out(OUTPUTS, init={"x": 0, "y": 0, "z": CODE_MAX, "bias": 0}),
                "dac_load": Out(1),
                "blank": Out(1, init=1),
                "z_driven": Out(POSITION, init=CODE_MAX << POSITION_FRACTION_BITS),  # Q20.12, DAC LSB
            }
        )

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, gate.BLOCK)
        assert CODE_MIN == -(CODE_MAX + 1)  # rounding half up can only pass the upper rail

        request = Signal(OUTPUTS, init={"x": 0, "y": 0, "z": CODE_MAX, "bias": 0})
        request_pulse = Signal()
        m.d.sync += [
            request.x.eq(round_to_code(self.x)),
            request.y.eq(round_to_code(self.y)),
            request.z.eq(round_to_code(self.z)),
            request.bias.eq(Mux(self.pulse, self.pulse_bias, bank.bias)),
            request_pulse.eq(self.pulse),
        ]

        requested_z = Cat(Const(0, POSITION_FRACTION_BITS), request.z).as_signed()
        bias_kept = Signal(CODE)  # last bias outside of a pulse
        safe_late = Signal(init=1)
        m.d.sync += safe_late.eq(self.safe)

        # One step further away than z_driven, always at hand: the first safe cycle only selects it.
        rail = CODE_MAX << POSITION_FRACTION_BITS
        away = Signal(POSITION, init=rail)

        def step_away(position: Value) -> Value:
            stepped = position + bank.retract_step
            return Mux(stepped > rail, rail, stepped)

        with m.If(self.safe):
            m.d.sync += [self.dac.bias.eq(bias_kept), self.blank.eq(1)]
            with m.If(self.tick | ~safe_late):
                m.d.sync += [self.z_driven.eq(away), away.eq(step_away(away))]
        with m.Else():
            m.d.sync += [
                self.dac.x.eq(request.x),
                self.dac.y.eq(request.y),
                self.dac.bias.eq(request.bias),
                self.blank.eq(self.blank_request),
                self.z_driven.eq(requested_z),
                away.eq(step_away(requested_z)),
            ]
            with m.If(~request_pulse):
                m.d.sync += bias_kept.eq(request.bias)
        m.d.comb += self.dac.z.eq(self.z_driven >> POSITION_FRACTION_BITS)

        # A frame that carries the first safe codes must not be cut off by the regular one; the frame after it is at most one later.
        first_safe = Signal()
        guard_cycles = 2 * self._cycles_per_sample - 2
        guard = Signal(range(guard_cycles + 1))
        m.d.sync += first_safe.eq(self.safe & ~safe_late)
        with m.If(first_safe):
            m.d.sync += guard.eq(guard_cycles)
        with m.Elif(guard != 0):
            m.d.sync += guard.eq(guard - 1)
        m.d.comb += self.dac_load.eq(first_safe | (self.frame & (guard == 0)))

        m.d.comb += [
            bank.x_code.eq(self.dac.x),
            bank.y_code.eq(self.dac.y),
            bank.z_code.eq(self.dac.z),
            bank.bias_code.eq(self.dac.bias),
            bank.blanked.eq(self.blank),
            bank.withdrawn.eq(self.z_driven == rail),
        ]
        return m
