"""Distance feedback: linearizer, PI with anti-windup and limits, hold."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import feedback
from reflexarc.contract.blocks.feedback import ERROR_FRACTION_BITS, KI_FRACTION_BITS, KP_FRACTION_BITS, TABLE_BITS, FeedbackMode, Linearizer
from reflexarc.contract.blocks.scan import POSITION_FRACTION_BITS
from reflexarc_hw.blocks.feedback.table import FRACTION_BITS, REST_BITS, SLOPE_BITS, VALUE_BITS, log2_table
from reflexarc_hw.lib.bus import BankSignature, attach_bank
from reflexarc_hw.lib.formats import POSITION, SAMPLE
from reflexarc_hw.lib.memory import Ram

ERROR = signed(6 + ERROR_FRACTION_BITS)  # Q6.12
INTEGRAL_FRACTION_BITS = ERROR_FRACTION_BITS + KI_FRACTION_BITS
INTEGRAL = signed(22 + INTEGRAL_FRACTION_BITS)  # Q22.24, DAC LSB; two bits of headroom over z
PROPORTIONAL_FRACTION_BITS = ERROR_FRACTION_BITS + KP_FRACTION_BITS
Z_CYCLES = 12  # from sample to z; the gate adds 2


def _widen(value: Value, fraction_bits: int) -> Value:
    """Signed ``value`` with ``fraction_bits`` zeros appended."""
    return Cat(Const(0, fraction_bits), value).as_signed()


class Feedback(wiring.Component):
    """Sample to z in ``Z_CYCLES`` cycles, a new sample each 12 cycles or later.

    The error is ``linearize(|code|) - setpoint`` with the magnitude taken as one's complement (-1 counts as 0, so that the most negative
    code has a magnitude). Per sample: ``step = clamp(ki * error, slew)``, ``z = clamp(integral + step + kp * error)``,
    ``integral = clamp(integral + step)``, both to [z_min, z_max]. The clamp of the integral is the anti-windup.

    While not ``live`` the integral follows ``gate_z``, so that the controller goes on from where the gate put the tip; and ON must be
    written again after ``live`` rises: arming alone never starts motion. ``hold`` freezes z and the integral.
    """

    bus: In(BankSignature())
    sample: In(SAMPLE)
    live: In(1)
    hold: In(1)
    gate_z: In(POSITION)
    z: Out(POSITION, init=((1 << 19) - 1) << POSITION_FRACTION_BITS)  # Q20.12, DAC LSB; the gate's safe value
    engaged: Out(1)
    error: Out(ERROR)  # Q6.12, log2 of the current
    error_valid: Out(1)  # a new error, of a sample that moves z

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, feedback.BLOCK)
        on = Signal()
        with m.If(~self.live):
            m.d.sync += on.eq(0)
        with m.Elif(bank.mode_strobe):
            m.d.sync += on.eq(bank.mode == FeedbackMode.ON)
        m.d.comb += self.engaged.eq(on & self.live & ~self.hold)

        valid = [self.sample.valid]
        for stage in range(1, 12):
            late = Signal(name=f"valid_{stage}")
            m.d.sync += late.eq(valid[-1])
            valid.append(late)

        # Each stage moves only when a sample reaches it.
        # 1: magnitude
        code = self.sample.code
        magnitude = Signal(19)
        with m.If(valid[0]):
            m.d.sync += magnitude.eq(Mux(code[-1], ~code, code))
        # 2: number of leading zeros
        magnitude_2 = Signal(19)
        zeros = Signal(range(20))
        with m.If(valid[1]):
            m.d.sync += [magnitude_2.eq(magnitude), zeros.eq(19)]
            for bit in range(19):
                with m.If(magnitude[bit]):
                    m.d.sync += zeros.eq(18 - bit)
        # 3: normalise to 1.f; a magnitude of 0 counts as 1 (log2 = 0). What the later stages need stands until the next sample.
        fraction = Signal(FRACTION_BITS)
        exponent = Signal(5)
        linear_magnitude = Signal(19)
        with m.If(valid[2]):
            m.d.sync += [
                fraction.eq((magnitude_2 << zeros)[:FRACTION_BITS]),
                exponent.eq(Mux(zeros == 19, 0, 18 - zeros)),
                linear_magnitude.eq(magnitude_2),
            ]
        # 4, 5: table
        m.submodules.table = table = Ram(
            VALUE_BITS + SLOPE_BITS, 1 << TABLE_BITS, init=[value | slope << VALUE_BITS for value, slope in log2_table()]
        )
        m.d.comb += table.read_address.eq(fraction[REST_BITS:])
        # 6: interpolation product
        product = Signal(SLOPE_BITS + REST_BITS)
        value = Signal(VALUE_BITS)
        with m.If(valid[5]):
            m.d.sync += [product.eq(table.read_data[VALUE_BITS:] * fraction[:REST_BITS]), value.eq(table.read_data[:VALUE_BITS])]
        # 7: error, Q6.12. The logarithm is rounded down once, to 12 bits.
        error = Signal(ERROR)
        drop = VALUE_BITS - ERROR_FRACTION_BITS
        # log2 of 2 - 2**-18 rounds to less than 1.0, so the mantissa's part never carries into the exponent.
        log = Cat((value + (product >> REST_BITS))[drop:VALUE_BITS], exponent)  # Q5.12
        linear = (linear_magnitude >> (14 - ERROR_FRACTION_BITS))[: 5 + ERROR_FRACTION_BITS]  # magnitude / 2**14 in Q5.12
        with m.If(valid[6]):
            with m.If(bank.linearizer == Linearizer.LOG):
                m.d.sync += error.eq(log - bank.setpoint)
            with m.Else():
                m.d.sync += error.eq(linear - bank.setpoint)
        # 8: products
        integral_product = Signal(signed(ERROR.width + 18))  # Q.24
        proportional_product = Signal(signed(ERROR.width + 18))  # Q.20
        with m.If(valid[7]):
            m.d.sync += [integral_product.eq(error * bank.ki.as_signed()), proportional_product.eq(error * bank.kp.as_signed())]
        # 9: slew limit
        step = Signal(signed(ERROR.width + 18))  # Q.24
        slew = Cat(Const(0, INTEGRAL_FRACTION_BITS - 12), bank.slew, Const(0, 1)).as_signed()
        with m.If(valid[8]):
            m.d.sync += step.eq(Mux(integral_product > slew, slew, Mux(integral_product < -slew, -slew, integral_product)))
        # 10: sum, unclamped
        integral = Signal(INTEGRAL, init=_integral_init())
        total = Signal(INTEGRAL)
        with m.If(valid[9]):
            m.d.sync += total.eq(integral + step)
        # 11: clamp of the integral, sum with the proportional part
        low, high = Signal(INTEGRAL), Signal(INTEGRAL)  # registered: the limits are quasi-static
        m.d.sync += [low.eq(_widen(bank.z_min, INTEGRAL_FRACTION_BITS)), high.eq(_widen(bank.z_max, INTEGRAL_FRACTION_BITS))]
        raw = Signal(signed(INTEGRAL.width + 1))
        with m.If(valid[10]):
            m.d.sync += raw.eq(total + _widen(proportional_product, INTEGRAL_FRACTION_BITS - PROPORTIONAL_FRACTION_BITS))
        with m.If(~self.live):
            m.d.sync += integral.eq(_widen(self.gate_z, INTEGRAL_FRACTION_BITS - POSITION_FRACTION_BITS))
        with m.Elif(valid[10] & self.engaged):
            m.d.sync += integral.eq(Mux(total > high, high, Mux(total < low, low, total)))
        # 12: z
        with m.If(~self.live):
            m.d.sync += self.z.eq(self.gate_z)
        with m.Elif(valid[11] & self.engaged):
            above, below = raw > high, raw < low
            m.d.sync += [
                self.z.eq(Mux(above, high, Mux(below, low, raw)) >> (INTEGRAL_FRACTION_BITS - POSITION_FRACTION_BITS)),
                bank.saturated.eq(above | below),
            ]
        m.d.comb += [
            self.error.eq(error),
            self.error_valid.eq(valid[7] & self.engaged),
            bank.z.eq(self.z),
            bank.error.eq(error),
            bank.engaged.eq(self.engaged),
        ]
        return m


def _integral_init() -> int:
    return ((1 << 19) - 1) << INTEGRAL_FRACTION_BITS
