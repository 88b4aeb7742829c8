"""Energy of the feedback's error within a band."""

from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc_hw.lib.product_register import product_register

ERROR = signed(18)  # Q6.12, log2 of the current
EXTRA_BITS = 15  # below the error's, so that the slowest low-pass moves for one LSB of error
STATE = signed(ERROR.width + EXTRA_BITS)  # Q6.27
MEAN_EXTRA_BITS = 15
MEAN = unsigned(32 + MEAN_EXTRA_BITS)  # Q12.35
ENERGY_CYCLES = 10  # from ``error_valid`` to the new ``energy``


class Oscillation(wiring.Component):
    """Mean square of what lies between two one-pole low-passes.

    With each error ``e``: ``fast += (e - fast) / 2**fast_shift``, ``slow`` alike, ``mean += ((fast - slow)**2 - mean) / 2**window``.
    Divisions round down. A low-pass of 2**n samples has its edge at ``1 / (2 pi 2**n)`` of the sample rate.
    """

    error: In(ERROR)
    error_valid: In(1)  # at least ENERGY_CYCLES apart
    fast_shift: In(4)
    slow_shift: In(4)
    window: In(4)
    energy: Out(32)  # Q12.20

    def elaborate(self, platform):
        m = Module()
        valid = Signal(9)
        m.d.sync += valid.eq((valid << 1) | self.error_valid)
        fast, slow = Signal(STATE), Signal(STATE)
        fast_gap, slow_gap = Signal(signed(STATE.width + 1)), Signal(signed(STATE.width + 1))
        mean = Signal(MEAN)
        with m.If(self.error_valid):
            m.d.sync += [fast_gap.eq((self.error << EXTRA_BITS) - fast), slow_gap.eq((self.error << EXTRA_BITS) - slow)]
        # A shift by any number and a sum are a cycle each: together they took up to 10.7 ns.
        fast_step, slow_step = Signal.like(fast_gap), Signal.like(slow_gap)
        with m.If(valid[0]):
            m.d.sync += [fast_step.eq(fast_gap >> self.fast_shift), slow_step.eq(slow_gap >> self.slow_shift)]
        with m.If(valid[1]):
            m.d.sync += [fast.eq(fast + fast_step), slow.eq(slow + slow_step)]
        band = Signal(ERROR)  # Q6.12; the low-passes lie within the error's range, their difference is held at its ends
        difference = (fast - slow) >> EXTRA_BITS
        highest, lowest = (1 << (ERROR.width - 1)) - 1, -(1 << (ERROR.width - 1))
        with m.If(valid[2]):
            m.d.sync += band.eq(difference)
            with m.If(difference > highest):
                m.d.sync += band.eq(highest)
            with m.Elif(difference < lowest):
                m.d.sync += band.eq(lowest)
        # A register on either side that stands beside the multiplier, which is far from all else.
        factor = Signal(ERROR)
        product = product_register(2 * ERROR.width - 1, "product")  # Q12.24, up to and with 2**34
        square = Signal(2 * ERROR.width - 1)
        with m.If(valid[3]):
            m.d.sync += factor.eq(band)
        with m.If(valid[4]):
            m.d.sync += product.eq(factor * factor)
        with m.If(valid[5]):
            m.d.sync += square.eq(product)
        square_held = Signal(32)  # Q12.20
        m.d.comb += square_held.eq(square >> 4)
        gap = Signal(signed(MEAN.width + 1))
        with m.If(valid[6]):
            m.d.sync += gap.eq((square_held << MEAN_EXTRA_BITS) - mean)
        step = Signal(signed(MEAN.width + 1))
        with m.If(valid[7]):
            m.d.sync += step.eq(gap >> self.window)
        with m.If(valid[8]):
            m.d.sync += mean.eq(mean + step)
        m.d.comb += self.energy.eq(mean >> MEAN_EXTRA_BITS)
        return m
