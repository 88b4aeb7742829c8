"""A PI controller from a sample to an output: linearizer, anti-windup and limits, hold, offset, excitation."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks.feedback import (
    ERROR_FRACTION_BITS,
    KI_FRACTION_BITS,
    KP_FRACTION_BITS,
    SETPOINT_FRACTION_BITS,
    SLOPE_BITS,
    TABLE_BITS,
    FeedbackMode,
    Linearizer,
)
from reflexarc.contract.blocks.scan import POSITION_FRACTION_BITS
from reflexarc.contract.registers import Block
from reflexarc_hw.blocks.feedback.table import FRACTION_BITS, REST_BITS, VALUE_BITS, log2_table
from reflexarc_hw.lib.approach import approach
from reflexarc_hw.lib.bus import BankSignature, attach_bank
from reflexarc_hw.lib.compare import greater
from reflexarc_hw.lib.formats import CODE, POSITION, SAMPLES
from reflexarc_hw.lib.memory import Ram
from reflexarc_hw.lib.product_register import product_register

ERROR = signed(6 + ERROR_FRACTION_BITS)  # Q6.12
INTEGRAL_FRACTION_BITS = ERROR_FRACTION_BITS + KI_FRACTION_BITS
INTEGRAL = signed(22 + INTEGRAL_FRACTION_BITS)  # Q22.24, DAC LSB; two bits of headroom over the output
WIDE = signed(INTEGRAL.width + 2)  # Q24.24: sums of an integral and others before they are limited
# A sample, Q6.12 or a logarithm in Q5.16, less a setpoint, and less or more by the greatest error.
SCALED = signed(6 + VALUE_BITS + 3)
PROPORTIONAL_FRACTION_BITS = ERROR_FRACTION_BITS + KP_FRACTION_BITS
TABLE_REST_BITS = CODE.width - TABLE_BITS
TABLE_VALUE_BITS = 32 - SLOPE_BITS
OUTPUT_CYCLES = 12  # from sample to output; the gate adds 2 for z


def _widen(value: Value, fraction_bits: int) -> Value:
    """Signed ``value`` with ``fraction_bits`` zeros appended."""
    return Cat(Const(0, fraction_bits), value).as_signed()


def _step_to(value: Value, most: Value) -> Value:
    """``value``, but at most ``most`` (signed, not negative) and at least its opposite."""
    return Mux(greater(value, most), most, Mux(greater(-most, value), -most, value))


class Feedback(wiring.Component):
    """Sample to output in ``OUTPUT_CYCLES`` cycles, a new sample each 12 cycles or later.

    The error is ``linearize(code) - setpoint``. Per sample: ``step = clamp(ki * error, slew)``,
    ``output = clamp(integral + step + kp * error + feed)``, ``integral = clamp(integral + step)``; the output to [low, high], the integral to
    what leaves room for ``feed``: this clamp is the anti-windup. ``feed`` is ``offset`` and the excitation.

    Held, the output is ``base + feed + displacement``. ``base`` is where the controller stopped, ``displacement`` goes to ``hold_height`` by
    ``hold_step`` while nothing but the mode holds. ``low`` and ``high`` bound it, but alone they never move it. With ``taken`` the output is
    ``taken_output``. With each sample that does not count, the integral becomes what it would have to be for the output that stands, so that
    the controller goes on from there without a bump. ``hold`` freezes all but ``feed``.

    While not ``live``, or OFF, output, base and integral follow ``driven``, so that the controller goes on from what the gate drives; and ON,
    ``hold_height`` and ``excitation_samples`` must be written again after ``live`` rises: arming alone never starts motion.
    """

    def __init__(self, block: Block, rest: int):
        """``rest``: the code that stands after reset, the gate's safe one."""
        self._block = block
        self._rest = rest
        super().__init__(
            {
                "bus": In(BankSignature()),
                "samples": In(SAMPLES),
                "live": In(1),
                "hold": In(1),
                "offset": In(POSITION),  # Q20.12, DAC LSB, as are all below
                "taken": In(1),
                "taken_output": In(POSITION),
                "driven": In(POSITION),
                "output": Out(POSITION, init=rest << POSITION_FRACTION_BITS),
                "request": Out(POSITION, init=rest << POSITION_FRACTION_BITS),  # the output, for who drives and who judges it
                "used": Out(1),  # the output is to be driven: the mode is not OFF
                "engaged": Out(1),
                "error": Out(ERROR),  # Q6.12
                "error_valid": Out(1),  # a new error, of a sample that moves the output
            }
        )

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, self._block)
        # They stop and start all of this: a cycle here instead of long ways from where they are made.
        live, hold, taken = Signal(), Signal(), Signal()
        m.d.sync += [live.eq(self.live), hold.eq(self.hold), taken.eq(self.taken)]
        on, off = Signal(), Signal(init=self._block["mode"].reset == FeedbackMode.OFF)
        with m.If(~live):
            m.d.sync += on.eq(0)
        with m.Elif(bank.mode_strobe):
            m.d.sync += on.eq(bank.mode == FeedbackMode.ON)
        m.d.sync += off.eq(bank.mode == FeedbackMode.OFF)
        # Neither does a displacement or an excitation that was written before: they count once they are written again.
        height, excitation_samples = Signal(POSITION), Signal(24)
        with m.If(~live):
            m.d.sync += [height.eq(0), excitation_samples.eq(0)]
        with m.Else():
            with m.If(bank.hold_height_strobe):
                m.d.sync += height.eq(bank.hold_height)
            with m.If(on):  # the next HOLD begins where it stops
                m.d.sync += height.eq(0)
            with m.If(bank.excitation_samples_strobe):
                m.d.sync += excitation_samples.eq(bank.excitation_samples)
        follows = Signal()  # the output follows what is driven
        m.d.comb += [
            follows.eq(~live | off),
            self.used.eq(~off),
            self.engaged.eq(on & live & ~hold & ~taken),
        ]
        # Base and integral are a few cycles behind what was followed: a sample whose sums would be made of older ones changes nothing.
        followed = Signal(4)
        m.d.sync += followed.eq(Cat(follows, followed))

        sample = Signal.like(self.samples[0])
        m.d.comb += sample.eq(Mux(bank.channel, self.samples[1], self.samples[0]))
        valid = [sample.valid]
        for stage in range(1, 14):
            late = Signal(name=f"valid_{stage}")
            m.d.sync += late.eq(valid[-1])
            valid.append(late)

        # Each stage moves only when a sample reaches it.
        # 1: magnitude
        code = Signal(CODE)
        magnitude = Signal(19)
        with m.If(valid[0]):
            m.d.sync += [code.eq(sample.code), magnitude.eq(Mux(sample.code[-1], ~sample.code, sample.code))]
        # 2: number of leading zeros
        magnitude_2 = Signal(19)
        zeros = Signal(range(20))
        with m.If(valid[1]):
            m.d.sync += [magnitude_2.eq(magnitude), zeros.eq(19)]
            for bit in range(19):
                with m.If(magnitude[bit]):
                    m.d.sync += zeros.eq(18 - bit)
        # 3: normalise to 1.f; a magnitude of 0 counts as 1 (log2 = 0). What the later stages need stands until the next sample. The upper half
        # of the table is the user's, over the code from its lowest.
        fraction = Signal(FRACTION_BITS)
        exponent = Signal(5)
        linear_magnitude = Signal(19)
        linearizer = Signal(Linearizer)
        address, rest = Signal(TABLE_BITS + 1), Signal(TABLE_REST_BITS)
        assert TABLE_REST_BITS > REST_BITS
        m.d.comb += fraction.eq(magnitude_2 << zeros)
        with m.If(valid[2]):
            m.d.sync += [exponent.eq(Mux(zeros == 19, 0, 18 - zeros)), linear_magnitude.eq(magnitude_2), linearizer.eq(bank.linearizer)]
            with m.If(bank.linearizer == Linearizer.TABLE):
                m.d.sync += [address.eq(Cat(code[TABLE_REST_BITS:] ^ (1 << (TABLE_BITS - 1)), 1)), rest.eq(code)]
            with m.Elif(bank.linearizer == Linearizer.LINEAR):
                m.d.sync += rest.eq(0)  # and so nothing is added behind the table
            with m.Else():
                m.d.sync += [address.eq(fraction[REST_BITS:]), rest.eq(Cat(Const(0, TABLE_REST_BITS - REST_BITS), fraction[:REST_BITS]))]
        # 4, 5: table
        entries = [value | slope << TABLE_VALUE_BITS for value, slope in log2_table()]
        m.submodules.table = table = Ram(32, 2 << TABLE_BITS, init=entries)
        # A written entry waits while a sample reads: what a RAM gives of a word that is being written is not defined.
        entry, entry_due = Signal(32), Signal()
        with m.If(bank.table_entry_strobe):
            m.d.sync += [entry.eq(bank.table_entry), entry_due.eq(1)]
        with m.Elif(~valid[3]):
            m.d.sync += entry_due.eq(0)
        m.d.comb += [
            table.read_address.eq(address),
            table.write_enable.eq(entry_due & ~valid[3]),
            table.write_address.eq(Cat(bank.table_index, 1)),
            table.write_data.eq(entry),
        ]
        # 6: interpolation product. Beside it what a sample would be but for the product, less the setpoint: the way out of the multiplier is long, and
        # nothing but a sum can follow it. Those are Q.16 with the logarithm, which is rounded down once, behind the sum, and else Q.12.
        product = product_register(signed(SLOPE_BITS + TABLE_REST_BITS + 1), "product")
        setpoint = Signal(signed(6 + SETPOINT_FRACTION_BITS))  # Q6.24
        due = setpoint[SETPOINT_FRACTION_BITS - ERROR_FRACTION_BITS :].as_signed()
        drop = VALUE_BITS - ERROR_FRACTION_BITS
        most_error = (1 << (ERROR.width - 1)) - 1
        due_scaled, highest, lowest = Signal(SCALED), Signal(SCALED), Signal(SCALED)
        known, difference, to_highest, from_lowest = Signal(SCALED), Signal(SCALED), Signal(SCALED), Signal(SCALED)
        value = table.read_data[:TABLE_VALUE_BITS].as_signed()
        # What is rounded down to most_error is most_error either way.
        for register, limit in ((due_scaled, due), (highest, due + most_error), (lowest, due - most_error)):
            m.d.sync += register.eq(Mux(linearizer == Linearizer.LOG, limit << drop, limit))
        with m.Switch(linearizer):
            with m.Case(Linearizer.LOG):
                # log2 of 2 - 2**-18 is less than 1.0 in the table, so the mantissa's part never carries into the exponent.
                m.d.comb += known.eq(Cat(value[:VALUE_BITS], exponent))
            with m.Case(Linearizer.LINEAR):
                m.d.comb += known.eq((linear_magnitude >> (14 - ERROR_FRACTION_BITS))[: 5 + ERROR_FRACTION_BITS])  # magnitude / 2**14
            with m.Default():
                m.d.comb += known.eq(value)
        with m.If(valid[5]):
            m.d.sync += [
                product.eq(table.read_data[TABLE_VALUE_BITS:].as_signed() * Cat(rest, Const(0, 1)).as_signed()),
                difference.eq(known - due_scaled),
                to_highest.eq(highest - known),
                from_lowest.eq(known - lowest),
            ]
        # 7: error, Q6.12; whether it is beyond what an error can be is found beside the sum and not behind it. 8: either multiplier has a copy of its
        # own, and the bus one behind them: a register can stand beside one multiplier only, and half of their cycle is their own.
        # The enable is there to keep them two; an inverted copy, as elsewhere, would have a LUT before its multiplier.
        error, error_integral, error_proportional, reported = Signal(ERROR), Signal(ERROR), Signal(ERROR), Signal(ERROR)
        m.d.sync += [error_proportional.eq(error), reported.eq(error_proportional)]
        with m.If(valid[7]):
            m.d.sync += error_integral.eq(error)
        interpolated = product >> TABLE_REST_BITS
        with m.If(valid[6]):
            total = difference + interpolated
            m.d.sync += error.eq(Mux(linearizer == Linearizer.LOG, total >> drop, total))
            with m.If((to_highest - interpolated)[-1]):
                m.d.sync += error.eq(most_error)
            with m.If((from_lowest + interpolated)[-1]):
                m.d.sync += error.eq(-most_error)
        # The setpoint on its way to its register, for the next sample.
        wanted = _widen(bank.setpoint, SETPOINT_FRACTION_BITS - ERROR_FRACTION_BITS)
        nearer = approach(m, "setpoint", valid[7], valid[8], setpoint, wanted, bank.setpoint_step)
        with m.If(valid[9]):
            m.d.sync += setpoint.eq(nearer)
        # 9: products. The gains too stand beside their multipliers.
        ki, kp = Signal(signed(18)), Signal(signed(18))
        m.d.sync += [ki.eq(bank.ki), kp.eq(bank.kp)]
        integral_product = product_register(signed(ERROR.width + 18), "integral_product")  # Q.24
        proportional_product = product_register(signed(ERROR.width + 18), "proportional_product")  # Q.20
        with m.If(valid[8]):
            m.d.sync += [integral_product.eq(error_integral * ki), proportional_product.eq(error_proportional * kp)]
        # Excitation: a square wave, counted in the very samples that have it; it begins with its positive half.
        excited = Signal(24)
        exciting, negative = Signal(), Signal()
        feed = Signal(signed(POSITION.width + 1))  # Q21.12
        amplitude = Cat(bank.excitation, Const(0, 1)).as_signed()
        wave = Signal(signed(len(amplitude) + 1))
        m.d.sync += [
            exciting.eq(excitation_samples != 0),
            wave.eq(Mux(excitation_samples == 0, 0, Mux(negative, -amplitude, amplitude))),
        ]
        with m.If(valid[7]):
            m.d.sync += feed.eq(self.offset + wave)
        with m.If(~exciting):
            m.d.sync += [excited.eq(0), negative.eq(0)]
        with m.Elif(valid[7]):
            m.d.sync += excited.eq(excited + 1)
            with m.If(excited + 1 >= excitation_samples):
                m.d.sync += [excited.eq(0), negative.eq(~negative)]
        # 9: the integral with the feed, and its limits, which leave room for the feed. 10: slew limit; what is added to the integral beside the step
        step = Signal(signed(ERROR.width + 18))  # Q.24
        integral = Signal(INTEGRAL, init=self._rest << INTEGRAL_FRACTION_BITS)
        fed, beside, unstepped = Signal(WIDE), Signal(WIDE), Signal(WIDE)
        low, high = Signal(INTEGRAL), Signal(INTEGRAL)  # registered: the limits are quasi-static
        least, most = Signal(WIDE), Signal(WIDE)
        slew = Cat(Const(0, INTEGRAL_FRACTION_BITS - 12), bank.slew, Const(0, 1)).as_signed()
        feed_wide = _widen(feed, INTEGRAL_FRACTION_BITS - POSITION_FRACTION_BITS)
        m.d.sync += [low.eq(_widen(bank.low, INTEGRAL_FRACTION_BITS)), high.eq(_widen(bank.high, INTEGRAL_FRACTION_BITS))]
        proportional = _widen(proportional_product, INTEGRAL_FRACTION_BITS - PROPORTIONAL_FRACTION_BITS)
        with m.If(valid[8]):
            m.d.sync += fed.eq(integral + feed_wide)
        with m.If(valid[9]):
            m.d.sync += [step.eq(_step_to(integral_product, slew)), beside.eq(proportional + feed_wide), unstepped.eq(proportional + fed)]
        with m.If(valid[8] | follows):
            m.d.sync += [least.eq(low - feed_wide), most.eq(high - feed_wide)]
        # 10: the displacement
        base = Signal(WIDE, init=self._rest << INTEGRAL_FRACTION_BITS)  # Q24.24
        displacement = Signal(POSITION)  # Q20.12
        displaced = approach(m, "displacement", valid[7], valid[8], displacement, height, bank.hold_step)
        moved = Signal()  # the base moves, and a displacement begins anew from there
        with m.If(moved):
            m.d.sync += displacement.eq(0)
        with m.Elif(valid[9] & ~(self.engaged | hold | taken | follows | followed[:3].any())):
            m.d.sync += displacement.eq(displaced)
        # 11: sums, unclamped, or what is held. Limits never move what is held: they are no narrower than where it stopped.
        total, raw = Signal(WIDE), Signal(WIDE)
        counts, held = Signal(), Signal()
        stood = Signal(POSITION, init=self._rest << POSITION_FRACTION_BITS)
        stood_wide = _widen(stood, INTEGRAL_FRACTION_BITS - POSITION_FRACTION_BITS)
        bottom, top = Signal(INTEGRAL), Signal(INTEGRAL)
        stood_below, stood_above = Signal(), Signal()
        with m.If(valid[9]):
            m.d.sync += [stood_below.eq(greater(low, stood_wide)), stood_above.eq(greater(stood_wide, high))]
        with m.If(valid[10]):
            lately = follows | followed.any()
            m.d.sync += total.eq(integral + step)
            m.d.sync += [counts.eq(self.engaged & ~lately), held.eq(~self.engaged & ~lately), bottom.eq(low), top.eq(high)]
            with m.If(self.engaged):
                m.d.sync += raw.eq(unstepped + step)
            with m.Else():
                m.d.sync += raw.eq(base + feed_wide + _widen(displacement, INTEGRAL_FRACTION_BITS - POSITION_FRACTION_BITS))
                with m.If(stood_below):
                    m.d.sync += bottom.eq(stood_wide)
                with m.If(stood_above):
                    m.d.sync += top.eq(stood_wide)
        # 12: output; a hold that came after the sum freezes what stands. What it is to be is there whether it moves or not: a LUT less behind the sums.
        # The output has loads all over the chip; the request has registers of its own, which can stand beside gate and envelope. They hold the inverse,
        # or synthesis would make one of both.
        above, below = greater(raw, top), greater(bottom, raw)
        limited = Mux(above, top, Mux(below, bottom, raw)) >> (INTEGRAL_FRACTION_BITS - POSITION_FRACTION_BITS)
        summed = (counts & self.engaged) | held
        new = Signal(POSITION)
        m.d.comb += new.eq(Mux(follows, self.driven, Mux(taken, self.taken_output, limited)))
        request_inverse = Signal(POSITION, init=~(self._rest << POSITION_FRACTION_BITS))
        with m.If(follows | (valid[11] & (taken | summed))):
            m.d.sync += [self.output.eq(new), request_inverse.eq(~new)]
        with m.If(~follows & valid[11] & ~taken & summed):
            m.d.sync += bank.saturated.eq(above | below)
        # Where it stops: what stands less the feed, one cycle after each output that is not held.
        output_wide = _widen(self.output, INTEGRAL_FRACTION_BITS - POSITION_FRACTION_BITS)
        m.d.sync += moved.eq(follows | (valid[11] & ((counts & self.engaged) | taken)))
        with m.If(moved):
            m.d.sync += [base.eq(output_wide - feed_wide), stood.eq(self.output)]
        # 13, 14: the integral, clamped; where the sample did not count what it would have to be for the output that stands now
        following = Signal(WIDE)
        with m.If(valid[12] | followed[0]):
            m.d.sync += following.eq(Mux(counts & ~followed[0], total, output_wide - beside))
        with m.If(valid[13] | followed[1]):
            m.d.sync += integral.eq(Mux(greater(following, most), most, Mux(greater(least, following), least, following)))
        m.d.comb += [
            self.request.eq(~request_inverse),
            self.error.eq(error),
            self.error_valid.eq(valid[7] & self.engaged),
            bank.output.eq(self.output),
            bank.error.eq(reported),
            bank.engaged.eq(self.engaged),
            bank.setpoint_now.eq(due),
        ]
        return m
