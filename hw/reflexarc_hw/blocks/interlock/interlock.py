"""Conditions, latch and lifecycle."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import interlock
from reflexarc.contract.blocks.interlock import NO_CAUSE, Cause, InterlockCommand, InterlockState
from reflexarc.contract.blocks.scan import POSITION_FRACTION_BITS
from reflexarc_hw.lib.bus import BankSignature, attach_bank
from reflexarc_hw.lib.formats import CODE, POSITION, SAMPLE, TIME


class Interlock(wiring.Component):
    """Compares, latches, and tells the gate.

    Cycle 0: a sample is valid. Cycle 1: its comparison stands in a register; ``safe`` is high. Cycle 2: the gate's outputs are safe.
    Nothing but armed-and-no-cause makes ``safe`` low, so reset, an unconfigured core and a lost configuration are safe. ``live`` is
    its opposite, registered: for the blocks that ask the gate, which need not know in the same cycle.

    The z that is compared is the one that the gate rounds in the same cycle: a code outside the window never reaches the output.
    ``estop_ok`` is high while the e-stop chain is closed; a cut wire reads as pressed.
    """

    bus: In(BankSignature())
    sample: In(SAMPLE)
    sample_lost: In(1)
    z: In(POSITION)  # Q20.12, DAC LSB: about to be driven
    pulse: In(1)  # a pulse or its settling is under way
    position_overflow: In(1)
    estop_ok: In(1)
    time: In(TIME)
    safe: Out(1, init=1)
    live: Out(1)
    armed: Out(1)
    state: Out(InterlockState)

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, interlock.BLOCK)
        m.d.comb += bank.armed.eq(self.armed)
        state = Signal(InterlockState)

        # Pulse limits count while a pulse is under way, and no longer than pulse_samples_max samples.
        pulse_samples = Signal(24)
        pulse_limits = Signal()
        with m.If(~self.pulse):
            m.d.sync += [pulse_samples.eq(0), pulse_limits.eq(0)]
        with m.Else():
            m.d.sync += pulse_limits.eq(pulse_samples < bank.pulse_samples_max)
            with m.If(self.sample.valid & (pulse_samples < bank.pulse_samples_max)):
                m.d.sync += pulse_samples.eq(pulse_samples + 1)
        current_high, current_low = Signal(CODE), Signal(CODE)
        m.d.sync += [
            current_high.eq(Mux(pulse_limits, bank.pulse_current_high, bank.current_high)),
            current_low.eq(Mux(pulse_limits, bank.pulse_current_low, bank.current_low)),
        ]

        # z is compared in half LSB, where rounding half up turns into a plain comparison.
        z_half = self.z >> (POSITION_FRACTION_BITS - 1)
        z_high_half, z_low_half = Signal(CODE.width + 2), Signal(CODE.width + 2)
        z_above, z_below = Signal(), Signal()
        m.d.sync += [z_high_half.eq((bank.z_high << 1) + 1), z_low_half.eq((bank.z_low << 1) - 1)]
        m.d.sync += [z_above.eq(z_half >= z_high_half.as_signed()), z_below.eq(z_half < z_low_half.as_signed())]

        age = Signal(31)  # cycles since the last heartbeat
        heartbeat_old = Signal()
        with m.If(bank.heartbeat_strobe):
            m.d.sync += [age.eq(0), heartbeat_old.eq(0)]
        with m.Else():
            m.d.sync += heartbeat_old.eq(age >= bank.heartbeat_timeout)
            with m.If(~age.all()):
                m.d.sync += age.eq(age + 1)

        estop_synchronised = Signal()
        m.submodules.estop = FFSynchronizer(self.estop_ok, estop_synchronised, init=0)
        estop = Signal(init=1)
        m.d.sync += estop.eq(~estop_synchronised)

        # The registered conditions. Current keeps its verdict until the next sample.
        above, below, lost, overflow, host = Signal(), Signal(), Signal(), Signal(), Signal()
        with m.If(self.sample.valid):
            m.d.sync += [above.eq(self.sample.code > current_high), below.eq(self.sample.code < current_low)]
        m.d.sync += [
            lost.eq(self.sample_lost),
            overflow.eq(self.position_overflow),
            host.eq(bank.command_strobe & (bank.command == InterlockCommand.TRIP)),
        ]
        by_cause = {
            Cause.CURRENT_HIGH: above,
            Cause.CURRENT_LOW: below,
            Cause.Z_HIGH: z_above,
            Cause.Z_LOW: z_below,
            Cause.HEARTBEAT: heartbeat_old,
            Cause.ESTOP: estop,
            Cause.SAMPLE_LOST: lost,
            Cause.POSITION_OVERFLOW: overflow,
            Cause.HOST: host,
        }
        live = Signal(len(Cause))
        violated = Signal()
        m.d.comb += [live.eq(Cat(by_cause[cause] for cause in Cause)), violated.eq(live.any())]
        m.d.comb += [self.armed.eq(state == InterlockState.ARMED), self.safe.eq(~self.armed | violated)]
        m.d.sync += self.live.eq(~self.safe)

        # What was measured against what, one cycle behind the registered conditions: the cause is encoded first.
        sample_late = Signal(CODE)
        z_late, z_later = Signal(signed(CODE.width + 1)), Signal(signed(CODE.width + 1))  # rounding may pass the rail by one
        high_late, low_late = Signal(CODE), Signal(CODE)
        age_late, age_later = Signal(31), Signal(31)
        with m.If(self.sample.valid):
            m.d.sync += [sample_late.eq(self.sample.code), high_late.eq(current_high), low_late.eq(current_low)]
        m.d.sync += [
            z_late.eq((self.z + (1 << (POSITION_FRACTION_BITS - 1))) >> POSITION_FRACTION_BITS),
            z_later.eq(z_late),
            age_late.eq(age),
            age_later.eq(age_late),
        ]

        tripping = Signal()
        timed = Signal(init=1)
        trip_time = Signal(TIME)
        trips = Signal(32)
        m.d.comb += tripping.eq(self.armed & violated)
        with m.Switch(state):
            with m.Case(InterlockState.DISARMED):
                with m.If(bank.command_strobe & (bank.command == InterlockCommand.ARM) & ~violated & ~bank.trip_flags.any()):
                    m.d.sync += state.eq(InterlockState.ARMED)
            with m.Case(InterlockState.ARMED):
                with m.If(violated):
                    m.d.sync += [state.eq(InterlockState.TRIPPED), timed.eq(0), trips.eq(trips + 1)]
                with m.Elif(bank.command_strobe & (bank.command == InterlockCommand.DISARM)):
                    m.d.sync += state.eq(InterlockState.DISARMED)
            with m.Case(InterlockState.TRIPPED):
                with m.If(bank.command_strobe & (bank.command == InterlockCommand.ACK) & ~bank.trip_flags.any() & ~violated):
                    m.d.sync += state.eq(InterlockState.DISARMED)
            with m.Default():  # no such state: safe, and only an acknowledge leads out
                m.d.sync += state.eq(InterlockState.TRIPPED)
        first_cause = Signal(5, init=NO_CAUSE)
        trip_value, trip_limit = Signal(32), Signal(32)
        with m.If(tripping):
            for cause in reversed(Cause):
                with m.If(by_cause[cause]):
                    m.d.sync += first_cause.eq(cause)
        measured = {
            Cause.CURRENT_HIGH: (sample_late, high_late),
            Cause.CURRENT_LOW: (sample_late, low_late),
            Cause.Z_HIGH: (z_later, bank.z_high),
            Cause.Z_LOW: (z_later, bank.z_low),
            Cause.HEARTBEAT: (age_later, bank.heartbeat_timeout),
        }
        with m.If(~timed):  # the cycle after the decision, in which the gate is safe
            m.d.sync += [trip_time.eq(self.time), timed.eq(1), trip_value.eq(0), trip_limit.eq(0)]
            with m.Switch(first_cause):
                for cause, (value, limit) in measured.items():
                    with m.Case(cause):
                        m.d.sync += [trip_value.eq(value), trip_limit.eq(limit)]
        m.d.comb += [
            bank.trip_flags_set.eq(Mux(tripping | (state == InterlockState.TRIPPED), live, 0)),
            bank.state.eq(state),
            bank.live.eq(live),
            bank.first_cause.eq(first_cause),
            bank.trip_time.eq(trip_time),
            bank.trip_value.eq(trip_value),
            bank.trip_limit.eq(trip_limit),
            bank.trips.eq(trips),
            self.state.eq(state),
        ]
        return m
