"""Values to bytes, bytes to records, records to the ring; and when an evaluation is due."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.model import BANKS, CHANNELS, LINE_BYTES, RING_BYTES, THRESHOLDS, Memory
from reflexarc_hw.blocks.detector.memories import LOAD, RING_WRITE
from reflexarc_hw.blocks.detector.values import ORIGIN, SETTINGS, VALUE
from reflexarc_hw.lib.memory import Ram

LINE_FIT = LINE_BYTES - CHANNELS  # bytes that the lines before the present one may take
MARGIN = 8  # bytes of the ring that are left free once a window is whole: so many are under way when it is found to be full
RADIX = 4  # candidates that a step of the search looks at, and memories that they are in
DIGITS = 4  # RADIX ** DIGITS is one more than there are thresholds
DIGIT_BITS = 2
SEARCH_CYCLES = 10  # from a value's start to its byte
assert RADIX**DIGITS == THRESHOLDS + 1


class Search(wiring.Component):
    """``found``: how many thresholds of ``channel`` are at or below ``value``, DIGITS steps of 3 cycles; the first step's are read ahead.

    It begins in the cycle in which ``start`` and ``ready`` are high; ``value`` stands until ``done``. Threshold i is the candidate number i + 1; a
    candidate lies in the memory that the sum of its digits says, so that the three of a step, which differ in one digit, are read at once.
    """

    load: In(LOAD)
    bank: In(1)
    clear: In(1)
    start: In(1)  # until ``ready``
    channel: In((CHANNELS - 1).bit_length())
    next_channel: In((CHANNELS - 1).bit_length())  # the one that will likely be searched next
    value: In(signed(32))
    ready: Out(1)
    searching: Out(1)
    done: Out(1)  # ``found`` is there in the next cycle, and stays until the next start
    found: Out(DIGITS * DIGIT_BITS)

    def elaborate(self, platform):
        m = Module()
        channel_bits = len(self.channel)
        upper_bits = (DIGITS - 1) * DIGIT_BITS  # the digits above the last one, which the memory's number makes up for

        loaded, candidate = Signal(LOAD), Signal(DIGITS * DIGIT_BITS)
        m.d.sync += loaded.enable.eq(self.load.enable & (self.load.memory == Memory.THRESHOLDS))
        with m.If(self.load.enable):
            m.d.sync += [loaded.bank.eq(self.load.bank), loaded.address.eq(self.load.address), loaded.data.eq(self.load.data)]
            m.d.sync += candidate.eq(self.load.address[: len(candidate)] + 1)  # of the word that is not used: 0, which nobody reads
        home = Signal(DIGIT_BITS)
        m.d.comb += home.eq(sum((candidate.word_select(digit, DIGIT_BITS) for digit in range(1, DIGITS)), candidate[:DIGIT_BITS]))

        upper = [Signal(upper_bits, name=f"upper_{memory}") for memory in range(RADIX)]  # of the candidates that are read
        at_or_below = Signal(RADIX)  # by memory
        phase = Signal(range(3))  # the address stands at the memories, is in them, thresholds are out of them
        read_channel = Signal(channel_bits)
        for memory in range(RADIX):
            m.submodules[f"thresholds_{memory}"] = ram = Ram(32, BANKS * CHANNELS * RADIX ** (DIGITS - 1))
            above = Signal(signed(33), name=f"above_{memory}")
            m.d.comb += [
                ram.write_enable.eq(loaded.enable & (home == memory)),
                ram.write_address.eq(Cat(candidate[DIGIT_BITS:], loaded.address[8 : 8 + channel_bits], loaded.bank)),
                ram.write_data.eq(loaded.data),
                ram.read_enable.eq(phase != 2),
                ram.read_address.eq(Cat(upper[memory], read_channel, self.bank)),
                above.eq(self.value - ram.read_data.as_signed()),
                at_or_below[memory].eq(~above[-1]),
            ]

        # A step: how many of the candidates with 1, 2 and 3 in this digit are at or below.
        step, searching = Signal(range(DIGITS)), self.searching
        known = Signal(DIGITS * DIGIT_BITS)  # digits that were found, the last one lowest
        total, next_total, digit = Signal(DIGIT_BITS), Signal(DIGIT_BITS), Signal(DIGIT_BITS)  # total: of these digits
        with m.Switch(total):
            for value in range(RADIX):
                with m.Case(value):
                    first, second, third = (at_or_below[(value + more) % RADIX] for more in (1, 2, 3))
                    m.d.comb += digit.eq(Cat((first & ~second) | third, second))
        steps, matches, begins_anew = Signal(), Signal(), Signal()
        cleared = Signal()  # what is read begins anew a cycle after all else does
        m.d.comb += [
            next_total.eq(total + digit),
            matches.eq(read_channel == self.channel),
            self.ready.eq((phase == 2) & ~searching & matches),
            steps.eq((phase == 2) & (searching | (self.start & matches))),
            self.done.eq(steps & (step == DIGITS - 1)),
            self.found.eq(known),
            begins_anew.eq(cleared | self.done | (self.start & ~searching & ~matches)),
        ]
        with m.If(phase != 2):
            m.d.sync += phase.eq(phase + 1)
        with m.If(steps):
            m.d.sync += [phase.eq(0), searching.eq(1), step.eq(step + 1), known.eq(Cat(digit, known)), total.eq(next_total)]
            for memory in range(RADIX):
                mine = Signal(DIGIT_BITS, name=f"mine_{memory}")
                m.d.comb += mine.eq(memory - next_total)
                with m.Switch(step):
                    for done in range(DIGITS - 1):
                        with m.Case(done):
                            # From the top: what was known, what is now, and mine; the rest is 0.
                            digits = [known.word_select(index, DIGIT_BITS) for index in reversed(range(done))] + [digit, mine]
                            digits = (digits + [Const(0, DIGIT_BITS)] * DIGITS)[: DIGITS - 1]
                            m.d.sync += upper[memory].eq(Cat(reversed(digits)))
        m.d.sync += cleared.eq(self.clear)
        with m.If(begins_anew | self.clear):
            m.d.sync += [phase.eq(0), searching.eq(0), step.eq(0), total.eq(0)]
        with m.If(begins_anew):
            m.d.sync += read_channel.eq(Mux(cleared, 0, Mux(self.done, self.next_channel, self.channel)))
            m.d.sync += [upper[memory].eq(memory << (upper_bits - DIGIT_BITS)) for memory in range(RADIX)]
        return m


class View(wiring.Component):
    """Records to the ring, and windows to the engine.

    ``begin`` comes with the window's ``base``; ``arrived`` is what of it is in, from the cycle after that of its ``ring_write`` on. ``completed``
    strobes once all of it is, with the ``origin`` of its newest record and its ``age``: cycles since its last byte's ``ring_write``.

    ``clear`` drops records that are under way and a window that waits for more; ``stop`` with it an evaluation that has its window, too, and all
    that followed from the settings.
    """

    settings: In(SETTINGS)
    bank: In(1)
    load: In(LOAD)
    pixels: In(16)  # of a line
    value: In(VALUE)
    taken: Out(1)
    clear: In(1)
    stop: In(1)
    ring_write: Out(RING_WRITE)
    begin: Out(1)
    base: Out((RING_BYTES - 1).bit_length())
    arrived: Out(14)
    abort: Out(1)
    engine_busy: In(1)
    hold: In(1)  # no evaluation may begin
    running: Out(1)  # what the engine gives counts
    completed: Out(1)
    age: Out(2)
    origin: Out(ORIGIN)
    starts_frame: Out(1)
    frame: Out(1)  # changes with each frame
    missed: Out(1)
    dropped: Out(1)  # an evaluation that had its window was stopped
    too_long: Out(1)
    busy: Out(1)  # a value, a record or a window is on its way
    waits: Out(1)  # an evaluation that has its window is under way

    def elaborate(self, platform):
        m = Module()
        settings, value = self.settings, self.value
        m.submodules.search = search = Search()
        m.submodules.lines = lines = Ram(8, LINE_BYTES)

        # What follows from the settings.
        single = Signal()  # records of one line
        older_bytes = Signal(12)  # of a record, from lines before
        older_lines = Signal(8)
        m.d.sync += [
            single.eq(settings.rows == 1),
            older_lines.eq(settings.rows - 1),
            older_bytes.eq(settings.record_bytes - settings.channels),
        ]

        # How far back a line is and all lines are: found anew, serially, where the line's length has changed.
        line_pixels = Signal(16)
        same_pixels, sized, fits = Signal(), Signal(), Signal()
        sizing = Signal(range(len(older_bytes) + 2))  # cycles left
        multiplier, line_multiplier = Signal.like(older_bytes), Signal.like(older_bytes)
        span, line_bytes = Signal(18), Signal(18)
        beyond = Signal()
        row_step = Signal(14)  # from a line's last byte of a record to the next line's first
        resize, uses_lines = Signal(), Signal()
        resizes = Signal()  # a cycle after it is known
        m.d.sync += [
            same_pixels.eq(line_pixels == self.pixels),
            self.too_long.eq(uses_lines & sized & ~fits),
            resizes.eq(resize & ~self.stop),
        ]
        with m.If(self.stop):
            m.d.sync += [sized.eq(0), sizing.eq(0)]
        with m.Elif(resizes):
            m.d.sync += [
                line_pixels.eq(self.pixels),
                sized.eq(0),
                sizing.eq(len(older_bytes) + 1),
                multiplier.eq(older_bytes),
                line_multiplier.eq(settings.channels),
                span.eq(0),
                line_bytes.eq(0),
                beyond.eq(0),
            ]
        with m.Elif(sizing > 1):
            doubled, line_doubled = span[:-1] << 1, line_bytes[:-1] << 1
            m.d.sync += [
                sizing.eq(sizing - 1),
                multiplier.eq(multiplier << 1),
                line_multiplier.eq(line_multiplier << 1),
                span.eq(doubled + Mux(multiplier[-1], line_pixels, 0)),
                line_bytes.eq(line_doubled + Mux(line_multiplier[-1], line_pixels, 0)),
                beyond.eq(beyond | (span > LINE_FIT)),
            ]
        with m.Elif(sizing == 1):
            m.d.sync += [
                sizing.eq(0),
                sized.eq(1),
                fits.eq(~beyond & (span <= LINE_FIT)),
                row_step.eq(line_bytes + 1 - settings.channels),
                self.too_long.eq(beyond | (span > LINE_FIT)),
            ]

        # Taking a value: the search, a register for its byte, then its place. ``ending``: cycles after a record's last byte, in which all that hangs
        # on it is done, one after the other.
        accept, put, found = Signal(), Signal(), Signal()
        ending, ends, ends_whole, ended_record = Signal(3), Signal(), Signal(), Signal()
        begins_record, begins_line, cut = Signal(), Signal(), Signal()
        in_line = Signal()  # there was a first record and no end since
        waiting, is_first = Signal(), Signal()
        m.d.comb += [
            search.load.eq(self.load),
            search.bank.eq(self.bank),
            search.clear.eq(self.clear),
            search.channel.eq(value.channel),
            search.next_channel.eq(Mux(value.last, 0, value.channel + 1)),
            search.value.eq(value.value),
            waiting.eq(value.valid & ~search.searching & ~found & ~ending.any()),
            is_first.eq(value.first & (value.channel == 0)),
            cut.eq(waiting & is_first & in_line),
            search.start.eq(waiting & ~cut & ~self.ring_write.enable),
            accept.eq(search.start & search.ready),
            begins_record.eq(accept & (value.channel == 0)),
            begins_line.eq(accept & is_first),
            self.taken.eq(put),
            self.busy.eq(found | ending.any()),
        ]
        with m.If(search.done):
            m.d.sync += found.eq(1)
        with m.Elif(put):
            m.d.sync += found.eq(0)

        # Lines: of how many before this one all is there, and whether this one's records are made.
        whole, enough = Signal(8), Signal()
        unbroken, collects, collects_line = Signal(), Signal(), Signal()
        count, is_full, overlong = Signal(16), Signal(), Signal()  # records of this line; as many as it has pixels, a cycle late
        m.d.comb += [
            enough.eq(whole >= older_lines),
            uses_lines.eq(begins_line & ~single & same_pixels),
            unbroken.eq(~value.gap & same_pixels & sized),
            collects_line.eq(single | (unbroken & enough & fits)),
            resize.eq(begins_line & ~single & ~(same_pixels & (sized | (sizing != 0)))),
            overlong.eq(begins_record & ~is_first & ~single & is_full),
            self.starts_frame.eq(begins_line & value.frame),
        ]
        m.d.sync += is_full.eq(count == line_pixels)
        with m.If(begins_line):
            m.d.sync += [in_line.eq(1), count.eq(0), collects.eq(collects_line), self.frame.eq(value.origin.frame)]
            with m.If(~unbroken):
                m.d.sync += whole.eq(0)

        # The lines before: a delay line. What a record has of them is written ahead of what is new, which need not be there for that.
        here = Signal(range(LINE_BYTES))  # of the next new byte
        older = Signal(range(LINE_BYTES))  # the next byte of the lines before
        left, row_left = Signal.like(older_bytes), Signal(settings.channels.shape())
        copy_due, copied = Signal(), Signal()
        reads, in_memory, out_of_memory = Signal(), Signal(), Signal()
        full = Signal()
        m.d.comb += [
            reads.eq((left != 0) & ~full),
            lines.read_address.eq(older),
        ]
        m.d.sync += [in_memory.eq(reads), out_of_memory.eq(in_memory), copy_due.eq(0)]
        with m.If(copy_due):
            m.d.sync += [older.eq(here - span), left.eq(older_bytes), row_left.eq(settings.channels)]
        with m.Elif(reads):
            m.d.sync += [left.eq(left - 1), row_left.eq(row_left - 1), older.eq(older + 1)]
            with m.If(row_left == 1):
                m.d.sync += [row_left.eq(settings.channels), older.eq(older + row_step)]
            with m.If(left == 1):
                m.d.sync += copied.eq(1)
        with m.If(begins_line):
            m.d.sync += [copied.eq(single), copy_due.eq(collects_line & ~single)]

        # To the ring.
        pointer = Signal(range(RING_BYTES))
        byte = Signal(8)
        writes = Signal()
        newest, newest_due = Signal(ORIGIN), Signal()  # due: a cycle after it is known, and before a window is whole
        m.d.comb += [
            byte.eq(search.found ^ 0x80),
            put.eq(found & (~collects | (copied & ~in_memory & ~out_of_memory & ~full))),
            writes.eq((put & collects) | out_of_memory),
            self.origin.eq(newest),
        ]
        # A byte is in the lines' memory a cycle after it is found: it is read a line later.
        m.d.sync += [lines.write_enable.eq(put & ~single), lines.write_address.eq(here), lines.write_data.eq(byte)]
        m.d.sync += [self.ring_write.enable.eq(writes), ending.eq(ending << 1), newest_due.eq(0)]
        with m.If(newest_due):
            m.d.sync += newest.eq(value.origin)
        with m.If(writes):
            m.d.sync += [
                self.ring_write.address.eq(pointer),
                self.ring_write.data.eq(Mux(out_of_memory, lines.read_data, byte)),
                pointer.eq(pointer + 1),
            ]
        with m.If(put & ~single):
            m.d.sync += here.eq(here + 1)
        with m.If(put & (value.last | value.ends)):
            m.d.sync += [
                ending.eq(1),
                newest_due.eq(collects),
                ended_record.eq(value.last & collects),
                ends.eq(value.ends),
                ends_whole.eq(value.whole),
                count.eq(count + 1),
            ]
        closes, cuts_off = Signal(), Signal()
        m.d.comb += [closes.eq(ending[2] & ends), cuts_off.eq(closes | cut | overlong | self.clear)]
        with m.If(ending[2] & ~ends & collects & ~single):
            m.d.sync += [copied.eq(0), copy_due.eq(~is_full)]
        with m.If(cuts_off):
            m.d.sync += [in_line.eq(0), collects.eq(0), whole.eq(0), left.eq(0), copy_due.eq(0), in_memory.eq(0), out_of_memory.eq(0)]
        with m.If(closes & ends_whole & in_line & is_full):
            m.d.sync += whole.eq(Mux(whole.all(), whole, whole + 1))
        with m.If(self.clear):
            m.d.sync += [whole.eq(0), found.eq(0), ending.eq(0)]

        # Windows: the one that the engine has, and the next one. ``have``: bytes since the next one's begin, which may be still to come.
        window, window_less = settings.window_bytes, Signal.like(settings.window_bytes)  # and a byte less
        m.d.sync += window_less.eq(window - 1)
        open_ = Signal()  # only while in_line, so that no line begins meanwhile: what cuts it off comes first
        next_base = Signal(range(RING_BYTES))
        have = Signal(signed(15))
        have_now = Signal(signed(15))
        launched, seen, whole_window = Signal(), Signal(), Signal()
        is_whole = Signal()  # arrived == window, while running: a register, since much hangs on it
        since = Signal(14)  # bytes since the begin of the window that the engine has
        ready, begins, due, misses, ends_evaluation = Signal(), Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            have_now.eq(have + self.ring_write.enable),
            ready.eq(open_ & ~self.running & ~self.engine_busy & ~self.hold & ~self.abort & ~have[-1]),
            begins.eq(ready & ~cuts_off),
            due.eq(ending[1] & ended_record & open_ & (have == window)),
            misses.eq(due & ~begins),
            whole_window.eq(self.running & is_whole),
            self.completed.eq(whole_window & ~seen),
            self.age.eq(Mux(ending[2], 2, 1)),
            self.waits.eq(whole_window),
            ends_evaluation.eq(self.running & ((cuts_off & ~whole_window) | self.stop)),
            self.dropped.eq(whole_window & self.stop),
        ]
        m.d.sync += [
            self.begin.eq(begins),
            self.missed.eq(misses),
            self.abort.eq(ends_evaluation),
            # Nothing is written over a window that the engine reads. One that waits for more is not in the way: all that comes belongs to it.
            full.eq(whole_window & (since >= RING_BYTES - MARGIN)),
        ]
        # What stands here needs not know of what cuts it off, which is late: nobody looks at it then, until a line begins.
        with m.If(ready | due):
            m.d.sync += [next_base.eq(next_base + settings.hop_bytes), have.eq(have_now - settings.hop_bytes)]
        with m.Elif(self.ring_write.enable):
            m.d.sync += have.eq(have_now)
        with m.If(begins_line):
            m.d.sync += [open_.eq(collects_line), next_base.eq(pointer), have.eq(0)]
        with m.If(cuts_off):
            m.d.sync += open_.eq(0)
        with m.If(ready):
            m.d.sync += [
                self.running.eq(begins),
                launched.eq(0),
                seen.eq(0),
                self.base.eq(next_base),
                self.arrived.eq(have_now),
                is_whole.eq(Mux(self.ring_write.enable, have == window_less, have == window)),
                since.eq(have_now),
            ]
        with m.Elif(self.running):
            m.d.sync += launched.eq(launched | self.engine_busy)
            with m.If(whole_window):
                m.d.sync += seen.eq(1)
            with m.If(self.ring_write.enable):
                m.d.sync += since.eq(since + 1)
                with m.If(~whole_window):
                    m.d.sync += [self.arrived.eq(self.arrived + 1), is_whole.eq(self.arrived == window_less)]
            with m.If((launched & ~self.engine_busy) | ends_evaluation):
                m.d.sync += self.running.eq(0)
        return m
