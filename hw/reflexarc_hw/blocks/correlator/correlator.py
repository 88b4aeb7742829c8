"""A line that is unlike the one before it."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks import correlator
from reflexarc.contract.packets import Channel
from reflexarc_hw.blocks.capture.pixel import PIXEL, SAMPLES_BITS, SUM
from reflexarc_hw.blocks.correlator.arithmetic import FACTOR, SQUARE_BITS, SUM_BITS, Arithmetic
from reflexarc_hw.blocks.detector.mean import MEAN, Mean
from reflexarc_hw.blocks.events.found import FOUND
from reflexarc_hw.lib.bus import BankSignature, attach_bank
from reflexarc_hw.lib.formats import CODE, POSITION, TIME
from reflexarc_hw.lib.memory import Ram

PIXELS = 2048  # of a line
PLACE_BITS = (PIXELS - 1).bit_length()
FRACTION_BITS = 12  # of a mean, Q20.12
MIDDLE = 1 << (FACTOR - 1)
HALF = SQUARE_BITS // 2
PIXEL_CYCLES = 11  # from a pixel of one sample to the next one, if that is not to be lost; MEAN_CYCLES - 1 more for one of several


class State(enum.Enum):
    REST = 0
    START = 1
    MEAN = 2
    FINE = 3  # the mean in steps of 2**shift
    HOLD = 4
    SQUARE = 5
    CROSS = 6
    ADD = 7
    CARRY = 8
    LAST = 9
    END = 10  # of a line


class Correlator(wiring.Component):
    """Compares each line with the one before it, of the same direction and with as many pixels, and fires where they are too unlike.

    A pixel's mean becomes a value of 16 bits; of the values sums are kept; at the line's end the correlation is made of them while the next line
    comes. ``detection`` is of no model, and its score is the correlation; x, y and time are those of the line's last pixel.
    """

    bus: In(BankSignature())
    pixel: In(PIXEL)
    frame_start: In(1)
    aborted: In(1)
    time: In(TIME)
    detection: Out(FOUND)

    def elaborate(self, platform):
        m = Module()
        bank = attach_bank(m, self, correlator.BLOCK)
        m.submodules.mean = mean = Mean()
        m.submodules.before = before = Ram(FACTOR, PIXELS)
        m.submodules.arithmetic = arithmetic = Arithmetic()
        state = Signal(State)

        # What of the settings has changed makes the lines of before incomparable.
        changed = Signal()
        m.d.sync += changed.eq(bank.enable_strobe | bank.channel_strobe | bank.backward_strobe | bank.shift_strobe)

        # Pixels of the direction that is looked at. ``lonely``: the next line has no predecessor.
        opened, good, has_before, compares, lonely = Signal(), Signal(), Signal(), Signal(), Signal(init=1)
        comes, takes, lost = Signal(), Signal(), Signal()  # a cycle after the pixel, whose numbers still stand
        line_first, last = Signal(), Signal()
        total, number = Signal(SUM), Signal(SAMPLES_BITS)
        x, y, time = Signal(POSITION), Signal(POSITION), Signal(TIME)
        spoilt = Signal(3)  # a line that can't be compared: strobes; the last two never come together
        m.d.comb += [
            takes.eq(comes & (state == State.REST) & (opened | line_first)),
            lost.eq(comes & (state != State.REST) & (opened | line_first)),
            spoilt[0].eq(lost & (line_first | good)),
        ]
        m.d.sync += [
            comes.eq(self.pixel.valid & bank.enable & (self.pixel.direction == bank.backward) & ~self.pixel.second),
            line_first.eq(self.pixel.line_first),
        ]
        # Registers that say what the next cycle does: it begins a division far from here, and clears all sums.
        starts_mean, clears = Signal(), Signal()
        m.d.sync += [starts_mean.eq(takes), clears.eq(takes & line_first)]
        with m.If(takes):
            m.d.sync += [
                last.eq(self.pixel.line_last), number.eq(self.pixel.samples), x.eq(self.pixel.x),
                y.eq(self.pixel.y), time.eq(self.time), state.eq(State.START), opened.eq(~self.pixel.line_last),
            ]  # fmt: skip
            with m.Switch(bank.channel):
                for channel in (Channel.CURRENT, Channel.MONITOR):
                    with m.Case(channel):
                        code_sum = self.pixel.sums[channel][: CODE.width + SAMPLES_BITS]
                        m.d.sync += total.eq(Cat(Const(0, FRACTION_BITS), code_sum).as_signed())
                with m.Default():
                    m.d.sync += total.eq(self.pixel.sums[Channel.Z])
            with m.If(line_first):
                m.d.sync += [good.eq(1), lonely.eq(0), has_before.eq(0), compares.eq(has_before & ~opened & ~lonely)]
        with m.If(lost):
            with m.If(opened):
                m.d.sync += good.eq(0)
            with m.If(line_first):
                m.d.sync += [opened.eq(0), lonely.eq(1)]

        # Its value, 2**15 more than that: from 0 up, which correlation does not mind.
        place, beyond = Signal(PLACE_BITS), Signal()  # of this pixel; a line has no more places
        coarse, fine = Signal(MEAN), Signal(MEAN)
        value = Signal(FACTOR)
        high = fine[FACTOR - 1 :]
        count, count_before = Signal(PLACE_BITS + 1), Signal(PLACE_BITS + 1)
        sums = {name: Signal(SUM_BITS if len(name) == 1 else SQUARE_BITS, name=f"sum_{name}") for name in ("a", "b", "aa", "bb", "ab")}
        carries = {name: Signal(name=f"carry_{name}") for name in ("bb", "ab")}
        product = Signal(2 * FACTOR)
        m.d.comb += [
            mean.start.eq(starts_mean),
            mean.total.eq(total),
            mean.number.eq(number),
            before.read_enable.eq((state == State.FINE) | (state == State.HOLD)),
            before.read_address.eq(place),
            before.write_enable.eq(state == State.CROSS),
            before.write_address.eq(place),
            before.write_data.eq(value),
            arithmetic.borrow.eq((state == State.SQUARE) | (state == State.CROSS)),
            arithmetic.x.eq(value),
            arithmetic.y.eq(Mux(state == State.SQUARE, value, before.read_data)),
            product.eq(arithmetic.product),
        ]

        def add_low(name: str) -> None:
            m.d.sync += Cat(sums[name][:HALF], carries[name]).eq(sums[name][:HALF] + product[:HALF])

        def add_high(name: str, upper) -> None:
            m.d.sync += sums[name][HALF:].eq(sums[name][HALF:] + upper + carries[name])

        upper = Signal(2 * FACTOR - HALF)  # of the product whose lower half was added
        same, whole, detection = Signal(), Signal(), self.detection
        # What starts the arithmetic goes far. What makes lines comparable stands long before a line's end, and all but ``good`` is a register then.
        comparable, starts, misses = Signal(), Signal(), Signal()
        m.d.comb += [
            same.eq(count == count_before),
            whole.eq(good & ~beyond),
            spoilt[1].eq((state == State.MEAN) & beyond & good),
            arithmetic.number.eq(count),
            arithmetic.start.eq(starts & good),
            spoilt[2].eq(misses & good),
        ]
        line_ends = (state == State.LAST) & last
        m.d.sync += [
            comparable.eq(~beyond & compares & same),
            starts.eq(line_ends & comparable & ~arithmetic.busy),
            misses.eq(line_ends & comparable & arithmetic.busy),
        ]
        m.d.comb += [getattr(arithmetic, f"sum_{name}").eq(total_) for name, total_ in sums.items()]
        with m.Switch(state):
            with m.Case(State.START):
                m.d.sync += [state.eq(State.MEAN), place.eq(place + 1), count.eq(count + 1), beyond.eq(beyond | place.all())]
            with m.Case(State.MEAN):
                with m.If(mean.done):
                    m.d.sync += [coarse.eq(mean.mean >> Cat(Const(0, 3), bank.shift[3:])), state.eq(State.FINE)]
            with m.Case(State.FINE):
                m.d.sync += [fine.eq(coarse >> bank.shift[:3]), state.eq(State.HOLD)]
            with m.Case(State.HOLD):
                m.d.sync += [
                    value.eq(Mux((high == 0) | high.all(), fine[:FACTOR] ^ MIDDLE, Mux(fine[-1], 0, 2 * MIDDLE - 1))),
                    state.eq(State.SQUARE),
                ]
            with m.Case(State.SQUARE):
                m.d.sync += [sums["b"].eq(sums["b"] + value), state.eq(State.CROSS)]
            with m.Case(State.CROSS):
                m.d.sync += state.eq(State.ADD)
            with m.Case(State.ADD):
                add_low("bb")
                m.d.sync += [upper.eq(product[HALF:]), state.eq(State.CARRY)]
            with m.Case(State.CARRY):
                add_high("bb", upper)
                add_low("ab")
                m.d.sync += [upper.eq(product[HALF:]), state.eq(State.LAST)]
            with m.Case(State.LAST):
                add_high("ab", upper)
                m.d.sync += state.eq(Mux(last, State.END, State.REST))
            with m.Case(State.END):
                m.d.sync += [
                    state.eq(State.REST), has_before.eq(whole), count_before.eq(count), sums["a"].eq(sums["b"]), sums["aa"].eq(sums["bb"]),
                ]  # fmt: skip
        with m.If(clears):
            m.d.sync += [place.eq(0), beyond.eq(0), count.eq(1)]
            m.d.sync += [sums[name].eq(0) for name in ("b", "bb", "ab")]
        with m.If(spoilt[1]):
            m.d.sync += good.eq(0)
        with m.If(arithmetic.start):
            m.d.sync += [detection.x.eq(x), detection.y.eq(y), detection.time.eq(time)]
        # What is under way, or was before, can't be compared with what comes.
        with m.If(changed | self.aborted):
            m.d.sync += [opened.eq(0), good.eq(0), has_before.eq(0)]
        with m.If(changed | self.aborted | self.frame_start):
            m.d.sync += lonely.eq(1)

        fires = Signal()
        lines, events, missed = Signal(32), Signal(32), Signal(32)
        correlation = Signal(arithmetic.correlation.shape())
        m.d.comb += fires.eq(arithmetic.done & bank.enable & ~arithmetic.flat & (arithmetic.correlation < bank.least))
        m.d.sync += detection.valid.eq(fires)
        with m.If(arithmetic.done):
            m.d.sync += [correlation.eq(arithmetic.correlation), lines.eq(lines + 1)]
        with m.If(fires):
            m.d.sync += [detection.class_id.eq(bank.class_id), detection.score.eq(arithmetic.correlation), events.eq(events + 1)]
        misses_line = Signal(2)
        m.d.sync += [misses_line.eq(Cat(spoilt[0], spoilt[1] | spoilt[2])), missed.eq(missed + misses_line[0] + misses_line[1])]
        m.d.comb += [bank.lines.eq(lines), bank.events.eq(events), bank.missed.eq(missed), bank.correlation.eq(correlation)]
        return m
