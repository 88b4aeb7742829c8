"""The model image: what the detector's memories hold, and how it travels.

An image is a sequence of little-endian 32-bit words: a header, segments, and the CRC-32 (IEEE 802.3) of all words before it. A segment is a head
word and the words that go to a memory of the bank that is loaded. The gateware takes the words in order, checks header, bounds and CRC, and only
then can the bank be activated.

A model is a list of layers, all of one kind: a weighted sum of int8 values, the greatest of several such sums, a bias, the multiplication of
onnxruntime, a clamp, and if need be a table of 256 values. Convolution, depthwise or not, matrix product, pooling, addition and activation are
this with other weights; the compiler in ``reflexarc.compiler`` makes them so.

Values are stored signed: an unsigned tensor's value less 128. A tensor lies in memory as [column][row][channel], the column being the fast scan
axis or the time: what comes last lies last.
"""

from __future__ import annotations

import enum

from reflexarc.contract.words import Field, Layout

MAGIC = 0x314D4152  # "RAM1" in a little-endian dump
VERSION = 1
BANKS = 2
OUTPUTS = 16  # columns of the array: outputs that are summed at once
QUAD = 4  # requantizers: outputs that leave at once
ACCUMULATOR_BITS = 25  # signed; with its bias a sum is below 2**24 in magnitude, which the compiler proves
MANTISSA_BITS = 24
LANES = (4, 8, 16)  # values that enter at once: 64, 128, 256 products a cycle

WEIGHT_BYTES = 65536  # of a bank, at any number of lanes
ACTIVATION_BYTES = 16384  # between layers; shared by the banks, nothing lives there from one evaluation to the next
RING_BYTES = 8192  # of the view's records, newest last; a power of two, addresses wrap
LINE_BYTES = 16384  # of the view's former lines
RUNS = 512  # of a bank
LAYERS = 32
PARAMETERS = 1024  # outputs with their bias and multiplier
TABLES = 4
TABLE_SIZE = 256
CHANNELS = 4  # of a view
THRESHOLDS = 255  # of a channel
OUTPUTS_MAX = 64  # of the last layer


class Memory(enum.IntEnum):
    """Where a segment goes. Its start and its length count words of 32 bits."""

    WEIGHTS = 0  # a row is OUTPUTS * lanes bytes, [output][lane]
    PARAMETERS = 1  # two words an output, PARAMETER_LAYOUT
    RUNS = 2  # two words a run, RUN_LAYOUT
    LAYERS = 3  # eight words a layer, LAYER_LAYOUT
    TABLES = 4  # four signed bytes a word, by value + 128
    THRESHOLDS = 5  # 256 words a channel: 255 thresholds, ascending, and one that is not used
    SETTINGS = 6  # SETTINGS_LAYOUT


MEMORY_WORDS = {
    Memory.WEIGHTS: WEIGHT_BYTES // 4,
    Memory.PARAMETERS: 2 * PARAMETERS,
    Memory.RUNS: 2 * RUNS,
    Memory.LAYERS: 8 * LAYERS,
    Memory.TABLES: TABLES * TABLE_SIZE // 4,
    Memory.THRESHOLDS: CHANNELS * 256,
    Memory.SETTINGS: 16,
}

HEADER_LAYOUT = Layout(
    "model_header",
    3,
    (
        Field("magic", 0),
        Field("version", 1, 0, 8),
        Field("lanes", 1, 8, 8),
        Field("model_id", 1, 16, 16),  # not 0; goes into each event
        Field("words", 2),  # of the whole image, CRC included
    ),
)
SEGMENT_LAYOUT = Layout("model_segment", 1, (Field("count", 0, 0, 14), Field("start", 0, 14, 14), Field("memory", 0, 28, 4)))


class RunFlag(enum.IntFlag):
    """What a run begins and ends. A run with none of the first four goes on with the sum of the one before."""

    FIRST = 1  # its first step begins a sum
    LAST = 2  # its last step ends a sum, which then is the result or, where it is greater, takes the result's place
    POOL_FIRST = 4  # with LAST: the sum is the result, whatever was there
    DRAIN = 8  # after its last step the results go to the requantizers
    IDLE = 16  # takes its cycles and multiplies nothing
    FOLD = 32  # with IDLE: each of the first eight results becomes the greater of itself and the one eight further on


# A run reads ``count`` vectors of as many values as there are lanes, one behind the other, and a row of weights for each.
RUN_LAYOUT = Layout(
    "model_run",
    2,
    (
        Field("offset", 0, 0, 15, signed=True),  # bytes, from the tile's place to the first vector
        Field("count", 0, 15, 9),  # vectors, and cycles; from 1 up
        Field("flags", 0, 24, 8),  # RunFlag
        Field(
            "row", 1, 0, 14, signed=True
        ),  # bytes within a column, from the tile's; what is beyond the column's bytes reads as the pad value
        Field("column", 1, 14, 8, signed=True),  # columns, from the tile's; likewise
        Field("weight", 1, 22, 10),  # row of weights of the first vector, from the group's first
    ),
)


class LayerFlag(enum.IntFlag):
    RING = 1  # reads the view's records instead of the activations, and waits for what has not come
    FINAL = 2  # the last layer: its outputs go to the head, not to memory
    TABLE = 4  # values go through a table


# A layer is done column by column, in each row tile by row tile, in each group by group; its bytes are written in that order without a gap.
LAYER_LAYOUT = Layout(
    "model_layer",
    8,
    (
        Field("in_base", 0, 0, 14),  # bytes
        Field("columns", 0, 14, 10),  # of what is read
        Field("flags", 0, 24, 8),  # LayerFlag
        Field("column_bytes", 1, 0, 14),
        Field("row_step", 1, 14, 14),  # bytes, from a row tile to the next
        Field("column_step_bytes", 2, 0, 14),  # bytes, from an output column to the next
        Field("column_step", 2, 14, 10),  # columns
        Field("out_base", 3, 0, 14),
        Field("output_columns", 3, 14, 10),
        Field("pad", 3, 24, 8, signed=True),  # value that stands where there is none
        Field("row_tiles", 4, 0, 12),  # in an output column
        Field("groups", 4, 12, 8),  # of up to OUTPUTS outputs
        Field("bytes_last_group", 4, 20, 5),  # outputs of the last group; the others have OUTPUTS
        Field("bytes_last_row", 4, 25, 5),  # the same in the last row tile of a column
        Field("run_start", 5, 0, 9),
        Field("run_count", 5, 9, 9),  # runs of a tile; each group has the same
        Field("weight_base", 5, 18, 12),  # row of weights
        Field("group_weights", 6, 0, 12),  # rows of weights of a group
        Field("parameter_base", 6, 12, 10),  # output; a multiple of OUTPUTS. Each group has OUTPUTS of them
        Field("table", 6, 22, 2),
        Field("zero_point", 7, 0, 8, signed=True),  # of what is written
        Field("low", 7, 8, 8, signed=True),
        Field("high", 7, 16, 8, signed=True),
    ),
)

# value = zero_point +- round(|sum + bias| * mantissa / 2**shift), as onnxruntime rounds: the product to 24 bits first, both times half to even.
PARAMETER_LAYOUT = Layout(
    "model_parameter",
    2,
    (
        Field("bias", 0, 0, 25, signed=True),
        Field("shift", 0, 25, 7),
        Field("mantissa", 1, 0, 24),  # from 2**23 up
    ),
)


class ViewSource(enum.IntEnum):
    """What makes a record, and when the records begin anew."""

    PIXEL = 0  # the means of a pixel; anew at each line of the chosen direction
    SAMPLE = 1  # one sample of each channel; anew at each pixel
    PROGRAM = 2  # what is written to ``detector.push``, a channel each time; anew at ``detector.restart``


class ViewFlag(enum.IntFlag):
    BACKWARD = 1  # of PIXEL: the lines of the way back instead of those of the way there
    LINE_MEAN = 2  # of PIXEL: each value less the mean of its line up to and with it


# Of one model, taken over when its bank is activated. A record is a column: of each of ``rows`` lines, oldest first, the value of each channel.
SETTINGS_LAYOUT = Layout(
    "model_settings",
    16,
    (
        Field("model_id", 0, 0, 16),
        Field("source", 0, 16, 2),  # ViewSource
        Field("view_flags", 0, 18, 4),  # ViewFlag
        Field("channels", 0, 22, 3),  # 1 to CHANNELS
        Field("layers", 0, 25, 6),
        Field("rows", 1, 0, 8),  # lines, 1 unless the source is PIXEL
        Field("records", 1, 8, 14),  # of an evaluation
        Field("record_bytes", 2, 0, 12),  # rows * channels
        Field("window_bytes", 2, 12, 14),  # records * record_bytes
        Field("hop", 3, 0, 14),  # records from an evaluation to the next
        Field("hop_bytes", 3, 14, 14),
        Field("channel_0", 4, 0, 3),  # packets.Channel
        Field("channel_1", 4, 3, 3),
        Field("channel_2", 4, 6, 3),
        Field("channel_3", 4, 9, 3),
        # The head: of each of ``members`` groups of ``classes`` outputs the greatest, the first of equals. Its margin is what it is above the
        # second greatest and above ``floor``.
        Field("classes", 5, 0, 6),
        Field("members", 5, 6, 3),  # 1 to 5; what counts is the first one's class, the least margin, and whether all agree
        Field("floor", 5, 9, 8, signed=True),
        Field("least_margin", 5, 17, 9),  # below it there is no event
        Field("class_base", 6, 0, 8),  # the event's class is this plus the greatest one's number
        Field("disagreement", 6, 8, 1),  # 1: members that do not agree make an event, of this class:
        Field("disagreement_class", 6, 9, 8),
        Field("eventful", 7),  # a bit a class: those that make an event
        Field("eventful_high", 8),  # classes 32 to 63
    ),
)
