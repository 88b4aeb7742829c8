"""What a view looks at: means of a pixel, samples, or what a program pushes; a value at a time, in order."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import In, Out

from reflexarc.contract.blocks.signals import CURRENT, MONITOR
from reflexarc.contract.model import CHANNELS, SETTINGS_LAYOUT, ViewFlag, ViewSource
from reflexarc.contract.packets import Channel
from reflexarc_hw.blocks.capture.pixel import PIXEL, SAMPLES_BITS, SUM
from reflexarc_hw.blocks.detector.mean import MEAN, Mean
from reflexarc_hw.blocks.detector.memories import struct_of
from reflexarc_hw.lib.conditions import held
from reflexarc_hw.lib.formats import CODE, MARKER, POSITION, SAMPLES, TIME
from reflexarc_hw.lib.memory import RegisterFile

SETTINGS = struct_of(SETTINGS_LAYOUT)
FRACTION_BITS = 12  # of a value, Q20.12
LINE_BITS = 16  # of a line's number
RUNNING_BITS = MEAN.width + 16  # of the sum of a line's values
HALF = RUNNING_BITS // 2
# Widths of the sums as they are kept: what a channel's samples can come to.
KEPT = {
    Channel.Z: SUM,
    Channel.CURRENT: signed(CODE.width + SAMPLES_BITS),
    Channel.MONITOR: signed(CODE.width + SAMPLES_BITS),
    Channel.COUNTER_0: signed(17 + SAMPLES_BITS),
    Channel.COUNTER_1: signed(17 + SAMPLES_BITS),
}

# Where and when a record was made.
ORIGIN = data.StructLayout(
    {
        "x": POSITION,  # Q20.12, DAC LSB
        "y": POSITION,
        "time": TIME,
        "index": 16,  # of the pixel; this and the two below are of PIXEL alone
        "line": LINE_BITS,  # since the frame's start, those of the chosen direction
        "frame": 1,  # changes with each frame
    }
)
# ``valid`` until it is taken; what stands beside it stands as long, its origin but for the frame from a cycle later on.
VALUE = data.StructLayout(
    {
        "valid": 1,
        "value": MEAN,  # Q20.12
        "channel": (CHANNELS - 1).bit_length(),  # its number in the record
        "last": 1,  # of its record
        "first": 1,  # of a record that begins a line, a pixel or a program's records
        "gap": 1,  # with ``first``: something is missing since the record before
        "frame": 1,  # with ``first``: a frame begins
        "ends": 1,  # no record follows before the next that is ``first``
        "whole": 1,  # with ``ends``: nothing is missing in the line that ends
        "origin": ORIGIN,
    }
)


class State(enum.Enum):
    SELECT = 0  # the channel's sum
    START = 1
    MEAN = 2
    LOW = 3  # the running sum of the line, half by half
    HIGH = 4
    STORE = 5
    LINE_START = 6
    LINE_MEAN = 7
    LINE_HELD = 8  # what the value is above it
    GIVE = 9


class Values(wiring.Component):
    """Takes records in and gives their values, one at a time.

    A record that comes before the one before it is taken in is missing: ``overrun`` strobes, the one before it ``ends`` and nothing is taken in
    until the next that is ``first``.

    ``clear`` drops what is under way. Where ``changes`` is high and a line begins, which is told by ``line_begins`` in the cycle after its first pixel,
    the settings become others in that cycle, with a clear, and the pixel is looked at with them.
    """

    settings: In(SETTINGS)
    active: In(1)
    changes: In(1)
    clear: In(1)
    pixel: In(PIXEL)
    samples: In(SAMPLES)
    z: In(POSITION)  # Q20.12, DAC LSB
    marker: In(MARKER)
    push: In(signed(32))  # Q20.12
    push_strobe: In(1)
    restart: In(1)
    frame_start: In(1)
    time: In(TIME)
    taken: In(1)
    value: Out(VALUE)
    busy: Out(1)
    overrun: Out(1)
    line_begins: Out(1)

    def elaborate(self, platform):
        m = Module()
        m.submodules.mean = mean = Mean()
        m.submodules.line_sums = line_sums = RegisterFile(signed(RUNNING_BITS), CHANNELS, 1)
        settings = self.settings
        is_pixel, is_sample, is_program = Signal(), Signal(), Signal()
        m.d.comb += [
            is_pixel.eq(settings.source == ViewSource.PIXEL),
            is_sample.eq(settings.source == ViewSource.SAMPLE),
            is_program.eq(settings.source == ViewSource.PROGRAM),
        ]

        # A sample is kept here for a cycle: its strobe goes to half of the chip.
        sampled = Signal()
        z, current, monitor = Signal(POSITION), Signal(CODE), Signal(CODE)
        sample_first, sample_last, sample_line, sample_origin = Signal(), Signal(), Signal(), Signal(ORIGIN)
        m.d.sync += sampled.eq(self.samples[CURRENT].valid & self.marker.active & is_sample & self.active)
        with m.If(self.samples[MONITOR].valid):  # the converters finish together; one that is late has its last code
            m.d.sync += monitor.eq(self.samples[MONITOR].code)
        with m.If(self.samples[CURRENT].valid & is_sample & self.active):
            m.d.sync += [
                z.eq(self.z),
                current.eq(self.samples[CURRENT].code),
                sample_first.eq(self.marker.first),
                sample_last.eq(self.marker.last),
                sample_line.eq(self.marker.line_first),
                sample_origin.x.eq(self.marker.x),
                sample_origin.y.eq(self.marker.y),
                sample_origin.time.eq(self.time),
            ]

        # What comes: a pixel, a sample or a push.
        occupied, arrived = Signal(), Signal()  # a record is being taken in; one came in the cycle before and is looked at now
        release, free = Signal(), Signal()
        takes_pixel, takes_push, comes = Signal(), Signal(), Signal()
        backward, looked_for = Signal(), Signal()
        fresh = Signal(init=1)  # the next push begins anew
        m.d.comb += [
            takes_pixel.eq(self.pixel.valid & ((self.active & is_pixel) | self.changes) & ~sampled),
            takes_push.eq(self.push_strobe & self.active & is_program & ~takes_pixel),
            comes.eq(takes_pixel | sampled | takes_push),
            free.eq(~(occupied | arrived)),
            backward.eq((settings.view_flags & ViewFlag.BACKWARD) != 0),
            looked_for.eq(is_pixel & self.active & (self.pixel.direction == backward) & ~self.pixel.second),
        ]
        kind = Signal(ViewSource)
        sums = {channel: Signal(shape, name=f"sum_{channel.name.lower()}") for channel, shape in KEPT.items()}
        number = Signal(SAMPLES_BITS)
        direction, second, first, last, of_line_first = Signal(), Signal(), Signal(), Signal(), Signal()
        origin = Signal(ORIGIN)
        held_back = Signal()  # till the settings are others
        m.d.comb += [
            self.line_begins.eq(arrived & of_line_first),
            held_back.eq(self.line_begins & self.changes),
        ]
        m.d.sync += arrived.eq((comes & free) | held_back)
        # What stands here is looked at where something came alone; so it need not be known in this cycle whether it did, which is late.
        with m.If(free):
            with m.If(sampled):
                m.d.sync += [
                    kind.eq(ViewSource.SAMPLE),
                    sums[Channel.Z].eq(z),
                    sums[Channel.CURRENT].eq(current),
                    sums[Channel.MONITOR].eq(monitor),
                    number.eq(1),
                    first.eq(sample_first),
                    last.eq(sample_last),
                    of_line_first.eq(sample_line),
                    origin.eq(sample_origin),
                ]
            with m.Elif(takes_pixel):
                m.d.sync += [sums[channel].eq(self.pixel.sums[channel]) for channel in Channel]
                m.d.sync += [
                    kind.eq(ViewSource.PIXEL),
                    number.eq(self.pixel.samples),
                    direction.eq(self.pixel.direction),
                    second.eq(self.pixel.second),
                    first.eq(self.pixel.line_first),
                    last.eq(self.pixel.line_last),
                    of_line_first.eq(self.pixel.line_first),
                    origin.x.eq(self.pixel.x),
                    origin.y.eq(self.pixel.y),
                    origin.time.eq(self.time),
                    origin.index.eq(self.pixel.index),
                ]
            with m.Else():
                m.d.sync += [
                    kind.eq(ViewSource.PROGRAM),
                    sums[Channel.Z].eq(self.push),
                    number.eq(1),
                    first.eq(fresh),
                    last.eq(0),
                    of_line_first.eq(0),
                    origin.x.eq(self.marker.x),
                    origin.y.eq(self.marker.y),
                    origin.time.eq(self.time),
                ]

        # Does the view want it? And would it have wanted what came and found no place? ``opened``: there was a first one and no end since.
        opened, broken, gap = Signal(), Signal(), Signal(init=1)
        accept, early, early_first, overrun_first = Signal(), Signal(), Signal(), Signal()
        with m.If(kind == ViewSource.PIXEL):
            m.d.comb += accept.eq(arrived & ~held_back & self.active & is_pixel & (direction == backward) & ~second & (opened | first))
        with m.Else():
            m.d.comb += accept.eq(arrived & ~held_back & self.active & (kind == settings.source) & (opened | first))
        m.d.comb += [
            early_first.eq(Mux(sampled, sample_first, Mux(takes_pixel, self.pixel.line_first, fresh))),
            early.eq((sampled | (takes_pixel & looked_for) | takes_push) & (opened | early_first)),
        ]
        m.d.sync += self.overrun.eq(early & ~free & ~self.clear)
        with m.If(early):
            m.d.sync += overrun_first.eq(early_first)
        with m.If(accept):
            m.d.sync += [occupied.eq(1), opened.eq(~last)]
        with m.If(takes_push):
            m.d.sync += fresh.eq(0)
        with m.If(self.overrun):
            m.d.sync += [broken.eq(1), opened.eq(0)]
        with m.If(release | ~occupied):
            m.d.sync += broken.eq(0)
        with m.If(release):
            m.d.sync += occupied.eq(0)

        # Lines and frames, whether their first pixels find a place or not.
        line, frame, frame_due, new_frame = Signal(LINE_BITS), Signal(), Signal(), Signal()
        line_starts, next_line = Signal(), Signal(LINE_BITS)
        frame_starts = Signal()
        m.d.comb += [
            line_starts.eq(is_pixel & ((accept & first) | (self.overrun & overrun_first))),
            frame_starts.eq(frame_due | line.all()),  # a line's number never comes again in what is taken as a frame
            next_line.eq(Mux(frame_starts, 0, line + 1)),
        ]
        record_first, record_gap, record_frame = Signal(), Signal(), Signal()
        pixels = Signal(16)  # of this line, with the present one
        with m.If(line_starts):
            m.d.sync += [line.eq(next_line), frame.eq(frame ^ frame_starts), frame_due.eq(0), new_frame.eq(new_frame | frame_starts)]
        with m.If(accept):
            m.d.sync += [origin.line.eq(line), origin.frame.eq(frame), pixels.eq(pixels + 1)]
            with m.If(first):
                m.d.sync += [
                    origin.line.eq(next_line),
                    origin.frame.eq(frame ^ frame_starts),
                    pixels.eq(1),
                    record_first.eq(1),
                    record_gap.eq(gap),
                    record_frame.eq(new_frame | frame_starts),
                    gap.eq(0),
                    new_frame.eq(0),
                ]
        with m.If(self.frame_start):
            m.d.sync += frame_due.eq(1)
        with m.If(self.overrun | self.frame_start):
            m.d.sync += gap.eq(1)

        # From one channel to the next: its sum, its mean, and if need be what that is above the line's.
        state = Signal(State)
        channel, next_channel, channel_last = Signal((CHANNELS - 1).bit_length()), Signal((CHANNELS - 1).bit_length()), Signal()
        chosen = Signal(Channel)  # what that channel is
        cleared = Signal()  # in the cycle before, and so it is not known yet
        total = Signal(SUM)
        has_line_mean, of_line = Signal(), Signal()
        own = Signal(MEAN)
        before, low, running = Signal(signed(RUNNING_BITS)), Signal(HALF + 1), Signal(signed(RUNNING_BITS))
        difference = Signal(signed(MEAN.width + 1))
        value, room, gives, origin_due = self.value, Signal(), Signal(), Signal()
        m.d.comb += [
            channel_last.eq(channel + 1 == settings.channels),
            next_channel.eq(Mux(channel_last | cleared, 0, channel + 1)),
            has_line_mean.eq(is_pixel & ((settings.view_flags & ViewFlag.LINE_MEAN) != 0)),
            line_sums.read_address_0.eq(channel),
            line_sums.write_address.eq(channel),
            line_sums.write_data.eq(running),
            mean.total.eq(total),
            mean.number.eq(Mux(of_line, pixels, number)),
            room.eq(~value.valid),
            self.busy.eq(occupied | arrived | value.valid),
        ]
        m.d.sync += cleared.eq(self.clear)
        with m.If(cleared | gives):
            of_settings = Array([settings[f"channel_{index}"] for index in range(CHANNELS)])[next_channel]
            m.d.sync += chosen.eq(Mux(is_program, Channel.Z, of_settings))
        with m.Switch(state):
            with m.Case(State.SELECT):
                # The sum is chosen whether it is wanted or not: that is known late.
                with m.Switch(chosen):
                    for one in Channel:
                        with m.Case(one):
                            fraction = 0 if one is Channel.Z else FRACTION_BITS
                            m.d.sync += total.eq(Cat(Const(0, fraction), sums[one]).as_signed())
                with m.If((accept | occupied) & ~cleared):
                    m.d.sync += [state.eq(State.START), of_line.eq(0)]
                with m.If(accept & first):
                    m.d.sync += channel.eq(0)
            with m.Case(State.START):
                m.d.comb += mean.start.eq(1)
                m.d.sync += state.eq(State.MEAN)
            with m.Case(State.MEAN):
                with m.If(mean.done):
                    with m.If(has_line_mean):
                        m.d.sync += [own.eq(mean.mean), before.eq(Mux(record_first, 0, line_sums.read_data_0)), state.eq(State.LOW)]
                    with m.Else():
                        m.d.comb += gives.eq(room)
                        m.d.sync += state.eq(Mux(room, State.SELECT, State.GIVE))
            with m.Case(State.LOW):
                m.d.sync += [low.eq(before[:HALF] + own[:HALF]), state.eq(State.HIGH)]
            with m.Case(State.HIGH):
                m.d.sync += [
                    running.eq(Cat(low[:HALF], before[HALF:].as_signed() + own[HALF:].as_signed() + low[HALF])),
                    state.eq(State.STORE),
                ]
            with m.Case(State.STORE):
                m.d.comb += line_sums.write_enable.eq(1)
                m.d.sync += [total.eq(running), of_line.eq(1), state.eq(State.LINE_START)]
            with m.Case(State.LINE_START):
                m.d.comb += mean.start.eq(1)
                m.d.sync += state.eq(State.LINE_MEAN)
            with m.Case(State.LINE_MEAN):
                with m.If(mean.done):
                    m.d.sync += [difference.eq(own - mean.mean), state.eq(State.LINE_HELD)]
            with m.Case(State.LINE_HELD):
                m.d.sync += [own.eq(held(difference)), state.eq(State.GIVE)]
            with m.Case(State.GIVE):
                with m.If(room):
                    m.d.comb += gives.eq(1)
                    m.d.sync += state.eq(State.SELECT)
        m.d.comb += release.eq(gives & (channel_last | is_program))
        with m.If(self.taken):
            m.d.sync += value.valid.eq(0)
        # All else that a value comes from is there a cycle later, before it is asked for: it comes from afar and stands in few places.
        m.d.sync += origin_due.eq(gives & ((channel == 0) | is_program))
        with m.If(origin_due):
            m.d.sync += [value.origin[name].eq(origin[name]) for name in ORIGIN.members if name != "frame"]
        with m.If(gives):
            m.d.sync += [
                value.valid.eq(1),
                value.value.eq(Mux(has_line_mean, own, mean.mean)),
                value.channel.eq(channel),
                value.last.eq(channel_last),
                value.first.eq(record_first),
                value.gap.eq(record_gap),
                value.frame.eq(record_frame),
                value.ends.eq((broken | self.overrun | last) & (channel_last | is_program)),
                value.whole.eq(~broken & ~self.overrun & last),
                value.origin.frame.eq(origin.frame),
                channel.eq(next_channel),
            ]
            with m.If(channel_last):
                m.d.sync += record_first.eq(0)
        with m.If(self.clear):
            m.d.sync += [
                occupied.eq(0), broken.eq(0), opened.eq(0), gap.eq(1), state.eq(State.SELECT), channel.eq(0), value.valid.eq(0),
                record_first.eq(0),
            ]  # fmt: skip
        with m.If(self.clear | self.restart):
            m.d.sync += fresh.eq(1)
        return m
