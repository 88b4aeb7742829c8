"""Networks as images: the naive interpreter of images finds what the layers' definition says, however a layer is cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_engine import drains_too_close, layer_steps, parse_image, run_image
from random_networks import plain_view, random_network, random_values

from reflexarc.compiler import lower, reference
from reflexarc.compiler.compile import Compiled, compile_network, describe
from reflexarc.compiler.cycles import BEGIN_CYCLES, FINAL_CYCLES, LAYER_CYCLES
from reflexarc.compiler.network import Head, Layer, Network, Shape, View, Window
from reflexarc.contract.model import ACTIVATION_BYTES, LANES, LayerFlag, RunFlag, ViewSource
from reflexarc.contract.packets import Channel
from reflexarc.errors import BadInput

EXAMPLES = 40


def view_of(shape: Shape, hop: int = 1) -> View:
    return plain_view(shape, ViewSource.SAMPLE if shape.rows == 1 else ViewSource.PIXEL, hop)


def compiled(network: Network, lanes: int = 8) -> Compiled:
    return compile_network(network, view_of(network.shapes[network.input]), Head(network.shapes[network.output].size), lanes, model_id=7)


def check(network: Network, lanes: int, rng: np.random.Generator) -> Compiled:
    """Outputs of the image and of the layers' definition; and what the engine relies on."""
    found = compiled(network, lanes)
    image = parse_image(found.words, lanes)
    values = random_values(rng, network.shapes[network.input])
    window = values[0].transpose(2, 1, 0)
    memory = rng.integers(-128, 128, ACTIVATION_BYTES).tolist()
    outputs = run_image(image, window.tobytes(), memory)
    tensors = reference.run_all(network, values)
    assert outputs.final == tensors[network.output][0].transpose(2, 1, 0).ravel().tolist()
    assert not drains_too_close(image)
    for layer, spent in zip(image.layers, found.cycles.layers, strict=True):
        steps = list(layer_steps(image, layer))
        drained = [number for number, step in enumerate(steps) if step.last and step.run["flags"] & RunFlag.DRAIN]
        assert spent.steps == drained[-1] + 1
    first = image.layers[0]
    assert first["flags"] & LayerFlag.RING
    needed = max(step.offset + lanes for step in layer_steps(image, first) if not step.run["flags"] & RunFlag.IDLE)
    assert needed >= image.settings["window_bytes"], "a verdict could come before the last record"
    return found


seeds = st.integers(0, 2**32 - 1)
lanes_of = st.sampled_from(LANES)


@settings(max_examples=EXAMPLES, deadline=None)
@given(seeds, lanes_of)
def test_random_networks(seed: int, lanes: int) -> None:
    rng = np.random.default_rng(seed)
    check(random_network(rng, 300), lanes, rng)


@settings(max_examples=EXAMPLES, deadline=None)
@given(seeds, lanes_of)
def test_however_layers_are_cut(seed: int, lanes: int) -> None:
    """Not only the cheapest way, but any that there is."""
    rng = np.random.default_rng(seed)
    network = random_network(rng, 300)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lower, "_cost", lambda plan, last_bytes, aim: (int(rng.integers(1 << 30)),))
        check(network, lanes, rng)


def make(shape: tuple[int, int, int], *layers: dict, seed: int = 1) -> Network:
    """Layers one behind the other; what is not given is random."""
    rng = np.random.default_rng(seed)
    shapes, at = {"input": Shape(*shape)}, "input"
    made = []
    for number, given_fields in enumerate(layers):
        fields = dict(given_fields)
        sources = fields.pop("sources", (at,))
        before = shapes[sources[0]]
        outputs, groups = fields.pop("outputs", before.channels), fields.pop("groups", 1)
        window = fields.pop("window", Window((before.rows, before.columns)))
        weights = fields.pop("weights", None)
        if weights is None:
            size = (outputs, len(sources) * before.channels // groups, *window.kernel)
            limit = min(127, 2**16 // int(np.prod(size[1:])))  # no sum leaves the accumulator
            weights = rng.integers(-limit, limit + 1, size).astype(np.int16)
        layer = Layer(
            f"layer {number}",
            sources,
            f"t{number}",
            weights=weights,
            bias=rng.integers(-3000, 3000, outputs),
            multiplier=(rng.uniform(0.3, 1, outputs) / (60 * np.sqrt((weights[0].astype(np.int64) ** 2).sum() + 1))).astype(np.float32),
            zero_point=int(rng.integers(-50, 50)),
            low=-128,
            high=127,
            window=window,
            groups=groups,
            pad_value=int(rng.integers(-128, 128)),
        )
        layer = replace(layer, **fields)
        made.append(layer)
        at = layer.target
        rows, columns = window.output(before.rows, before.columns)
        shapes[at] = Shape(outputs, *(layer.pool.output(rows, columns) if layer.pool else (rows, columns)))
    return Network("input", at, shapes, tuple(made))


def conv(outputs: int, kernel: tuple[int, int], stride: int = 1, pad: int = 0, pool: int = 0, **fields: object) -> dict:
    """Along rows and columns alike, of as much as there is of each."""
    strides = tuple(stride if size > 1 else 1 for size in kernel)
    pads = tuple(pad if size > 1 else 0 for size in kernel) * 2
    window = Window(kernel, strides, pads)  # type: ignore[arg-type]
    pools = tuple(pool if size > 1 else 1 for size in kernel)
    return {"outputs": outputs, "window": window, "pool": Window(pools, pools) if pool else None} | fields  # type: ignore[arg-type]


def dense(outputs: int) -> dict:
    return {"outputs": outputs}


MLP = make((1, 1, 64), dense(32), dense(16), dense(3))
LINE = make((1, 1, 128), conv(8, (1, 7), 2, 3, 2), conv(16, (1, 5), 1, 2, 4), dense(4))
IMAGE = make((1, 32, 32), conv(8, (3, 3), 2, 1, 4), dense(32), dense(4))
LARGE = make((1, 32, 32), conv(8, (3, 3), 2, 1, 2), conv(16, (3, 3), 1, 1, 2), dense(128), dense(8))


@pytest.mark.parametrize(
    ("network", "lanes", "products", "total", "after"),
    [
        (MLP, 8, 2_608, 84, 75),
        (MLP, 4, 2_608, 106, 89),
        (LINE, 8, 24_576, 300, 236),
        (LINE, 4, 24_576, 510, 416),
        (IMAGE, 8, 22_656, 496, 96),
        (IMAGE, 4, 22_656, 788, 132),
        (IMAGE, 16, 22_656, 464, 79),
        (LARGE, 8, 125_952, 1_316, 931),
    ],
    ids=["mlp-8", "mlp-4", "line-8", "line-4", "image-8", "image-4", "image-16", "large-8"],
)
def test_cycles_of_networks_as_they_are_used(network: Network, lanes: int, products: int, total: int, after: int) -> None:
    found = check(network, lanes, np.random.default_rng(1))
    assert sum(layer.products for layer in found.layers) == products
    assert (found.cycles.total, found.cycles.after) == (total, after)


def test_an_mlp_step_by_step() -> None:
    """64 values in 8 vectors for 2 groups, 32 in 4 for one, 16 in 2."""
    cycles = compiled(MLP).cycles
    assert [layer.steps for layer in cycles.layers] == [16, 4, 2]
    assert [layer.after for layer in cycles.layers] == [9, 4, 2]  # the last vector of the first group, and the second group
    assert [layer.quads for layer in cycles.layers] == [4, 4, 1]
    assert cycles.total == BEGIN_CYCLES + 22 + 9 + 2 * LAYER_CYCLES + FINAL_CYCLES
    assert sum(map(cycles.of_layer, range(3))) == cycles.total


def test_a_table_takes_its_time() -> None:
    plain = make((1, 1, 16), dense(8), dense(2))
    with_table = make((1, 1, 16), dense(8) | {"table": np.arange(-128, 128, dtype=np.int8)[::-1].copy()}, dense(2))
    assert check(with_table, 8, np.random.default_rng(1)).cycles.total == compiled(plain).cycles.total + 2


IDENTITY = {"weights": np.ones((4, 1, 1, 1), np.int16), "groups": 4, "window": Window(), "outputs": 4}
SPECIAL = {
    "a kernel beyond the rows that there are": make((1, 1, 9), conv(3, (3, 3), 1, 1), dense(2)),
    "two lines and a kernel of three": make((1, 2, 40), conv(8, (3, 5), 1, 1), conv(4, (3, 3), 1, 1, 2), dense(2)),
    "pads of a pool": make((2, 7, 7), conv(5, (3, 3), 1, 1) | {"pool": Window((3, 3), (2, 2), (1, 1, 1, 1))}, dense(2)),
    "pads of a pool before a table that falls": make(
        (2, 7, 7),
        conv(5, (3, 3)) | {"pool": Window((2, 2), (2, 2), (0, 0, 1, 1)), "table": np.arange(127, -129, -1).astype(np.int8)},
        dense(2),
    ),
    "a pool alone, with pads": make((4, 6, 6), IDENTITY | {"pool": Window((3, 3), (2, 2), (1, 1, 1, 1))}, dense(2)),
    "a pool of one value that strides": make((4, 6, 6), IDENTITY | {"pool": Window((1, 1), (2, 3))}, dense(2)),
    "a residual": make((2, 4, 6), conv(3, (3, 3), 1, 1), conv(3, (3, 3), 1, 1), {"sources": ("t0", "t1"), "window": Window()}, dense(2)),
    "a sum with the input": make((2, 4, 6), conv(2, (3, 3), 1, 1), {"sources": ("input", "t0"), "window": Window()}, dense(2)),
    "the input twice": make((2, 4, 6), {"sources": ("input", "input"), "window": Window()}, dense(2)),
    "the mean of many channels": make(
        (1, 4, 4),
        conv(48, (3, 3), 1, 1),
        {"groups": 48, "weights": np.full((48, 1, 4, 4), 3, np.int16), "outputs": 48, "bias": np.full(48, 9), "multiplier": np.full(48, 0.02, np.float32)},
        dense(2),
    ),
    "weights that are no int8": make((1, 5, 5), conv(3, (3, 3)) | {"weights": np.full((3, 1, 3, 3), 255, np.int16)}, dense(2)),
    "weights of 0": make((1, 5, 5), conv(3, (3, 3)) | {"weights": np.zeros((3, 1, 3, 3), np.int16)}, dense(2)),
    "columns that no one reads": make((3, 5, 9), conv(3, (3, 2), 3), dense(2)),
    "one value": make((1, 1, 1), dense(1)),
    "groups": make((4, 5, 5), conv(20, (3, 3), 1, 1, groups=4), conv(40, (3, 3), 1, 0, groups=20), dense(2)),
    "the last rows of a column": make((1, 7, 3), conv(5, (3, 3), 1, 1), dense(2)),
}  # fmt: skip


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("name", SPECIAL)
def test_special(name: str, lanes: int) -> None:
    check(SPECIAL[name], lanes, np.random.default_rng(3))


def test_layers_that_nobody_needs_are_left_out() -> None:
    network = make((1, 1, 8), dense(5), dense(3), dense(2))
    short = Network("input", "t1", network.shapes, network.layers)
    assert [layer.name for layer in check(short, 8, np.random.default_rng(1)).layers] == ["layer 0", "layer 1"]


def test_a_pool_is_a_layer_of_its_own_where_that_is_faster() -> None:
    """Windows that overlap sum up everything several times otherwise."""
    network = make((4, 16, 16), conv(16, (5, 5), 1, 2) | {"pool": Window((3, 3), (1, 1))}, dense(2))
    assert [layer.name for layer in check(network, 8, np.random.default_rng(1)).layers] == ["layer 0", "layer 0.pool", "layer 1"]
    network = make((4, 16, 16), conv(16, (3, 3), 1, 1, 2), dense(2))
    assert [layer.name for layer in compiled(network).layers] == ["layer 0", "layer 1"]


REFUSED = {
    "layer 'layer 0' has 262,144 weights, 196,608 more than the 65,536 bytes for all layers; 64 outputs instead of 256 or 25 % of its inputs "
    "would fit, alone": make((1, 32, 32), dense(256), dense(2)),
    "the model does not fit: weights 75,008 of 65,536 bytes, 9,472 too many \\(layer 'layer 0' has 65,536, and would fit with 48 outputs "
    "instead of 64\\)": make((1, 32, 32), dense(64), dense(64), dense(48), dense(48)),
    "the model does not fit: layers 33 of 32 layers, 1 too many \\(32 would fit\\)": make((1, 1, 8), *[dense(4)] * 33),
    "the model does not fit: parameters 1,040 of 1,024 outputs, 16 too many \\(layer 'layer 0' has 1024, in groups of 16\\)": make(
        (1, 1, 8), dense(1024), dense(4)
    ),
    "layer 'layer 0' has 1,025 outputs; accepted: 1,024 in all layers together": make((1, 1, 8), dense(1025), dense(4)),
    "the model does not fit: activations 17,408 of 16,384 bytes, 1,024 too many \\(around layer 'layer 1' 17,408 bytes are needed at a time": make(
        (1, 32, 32), conv(9, (3, 3), 1, 1), conv(8, (3, 3), 1, 1), conv(2, (3, 3), 2, 1, 16)
    ),
    "layer 'layer 0': a sum may reach 17,.*, which the accumulator does not hold; accepted: up to 16,777,215": make(
        (1, 32, 33), dense(2) | {"weights": np.full((2, 1, 32, 33), 127, np.int16)}
    ),
    "layer 'layer 0': a pool of 2,500 values takes more than the 512 runs; use two pools one behind the other": make(
        (1, 1, 2500), conv(1, (1, 1)) | {"pool": Window((1, 2500))}
    ),
    "the model does not fit: ring 8,200 of 8,184 bytes, 16 too many \\(a window of 204 records would fit\\)": make((1, 40, 205), dense(2)),
    "the model's output is a tensor of 2x3x3; end with a value for each class": make((1, 5, 5), conv(2, (3, 3))),
    "the model has 65 outputs; accepted: 1 to 64": make((1, 1, 8), dense(65)),
    "the network has no layer between its input and its output": Network("input", "input", {"input": Shape(1, 1, 8)}, ()),
}  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    with pytest.raises(BadInput, match=text) as caught:
        compiled(REFUSED[text])
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 500


def test_more_tables_than_there_are() -> None:
    tables = [{"table": np.roll(np.arange(-128, 128), number).astype(np.int8)} for number in range(5)]
    same = [dense(4) | tables[0] for _ in range(6)]
    assert next(str(use) for use in compiled(make((1, 1, 8), *same)).uses if use.name == "tables") == "tables 1 of 4 tables"
    with pytest.raises(BadInput, match="tables 5 of 4 tables, 1 too many"):
        compiled(make((1, 1, 8), *[dense(4) | table for table in tables]))


def test_what_does_not_fit_one_way_is_cut_another_way() -> None:
    """Neighbours in one tile cost weights: here more than there are."""
    network = make((4, 15, 15), *[conv(12, (7, 7), 1, 3)] * 6, conv(8, (7, 7), 7), dense(3))
    few, fast = lower.lower(network, 8, 4, lower.Aim.WEIGHTS), lower.lower(network, 8, 4, lower.Aim.CYCLES)
    assert sum(layer.weight_rows for layer in few.layers) < 512 < sum(layer.weight_rows for layer in fast.layers)
    assert sum(layer.plan.steps for layer in few.layers) > sum(layer.plan.steps for layer in fast.layers)
    assert sum(layer.weight_bytes for layer in compiled(network).layers) == 128 * sum(layer.weight_rows for layer in few.layers)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"hop": 0}, "the view has hop 0; accepted: 1 to 5461"),
        ({"records": 63}, "the view gives 3 channels of 1 lines and 63 records; the model's input has 3, 1 and 64"),
        ({"thresholds": np.zeros((2, 255), np.int32)}, "the view has thresholds of shape \\(2, 255\\); accepted: \\(3, 255\\)"),
        ({"thresholds": np.tile(-np.arange(255, dtype=np.int32), (3, 1))}, "the view's thresholds fall"),
    ],
)
def test_views_that_can_not_be(change: dict, text: str) -> None:
    network = make((3, 1, 64), dense(2))
    with pytest.raises(BadInput, match=text):
        compile_network(network, replace(view_of(network.shapes["input"]), **change), Head(2), 8, 1)


@pytest.mark.parametrize(
    ("head", "text"),
    [
        (Head(3), "1 members of 3 classes are not the model's 6 outputs"),
        (Head(1, members=6), "the head has members 6; accepted: 1 to 5"),
        (Head(6, floor=-129), "the head has floor -129; accepted: -128 to 127"),
        (Head(6, least_margin=512), "the head has least margin 512; accepted: 0 to 511"),
        (Head(6, class_base=251), "the head has first class 251; accepted: 0 to 250"),
        (Head(6, eventful=frozenset({6})), "the head has eventful classes up to 6; accepted: 0 to 5"),
        (Head(6, disagreement_class=256), "the head has class of disagreement 256; accepted: 0 to 255"),
    ],
)
def test_heads_that_can_not_be(head: Head, text: str) -> None:
    network = make((1, 1, 8), dense(6))
    with pytest.raises(BadInput, match=text):
        compile_network(network, view_of(network.shapes["input"]), head, 8, 1)


def test_lanes_that_no_engine_has() -> None:
    with pytest.raises(BadInput, match="no engine has 5 lanes; accepted: 4, 8, 16"):
        compile_network(MLP, view_of(MLP.shapes["input"]), Head(3), 5, 1)


def test_settings() -> None:
    network = make((2, 3, 8), dense(6))
    view = replace(view_of(network.shapes["input"], hop=5), channels=(Channel.CURRENT, Channel.Z), backward=True, line_mean=True)
    head = Head(2, 3, -7, 9, 100, frozenset({1}), 55)
    found = parse_image(compile_network(network, view, head, 8, 1234).words).settings
    assert found == {
        "model_id": 1234, "source": ViewSource.PIXEL, "view_flags": 3, "channels": 2, "layers": 1, "rows": 3, "records": 8, "record_bytes": 6,
        "window_bytes": 48, "hop": 5, "hop_bytes": 30, "channel_0": 1, "channel_1": 0, "channel_2": 0, "channel_3": 0, "classes": 2, "members": 3,
        "floor": -7, "least_margin": 9, "class_base": 100, "disagreement": 1, "disagreement_class": 55, "eventful": 2, "eventful_high": 0,
    }  # fmt: skip


def test_described_for_people() -> None:
    lines = list(describe(compiled(IMAGE)))
    assert lines[0].split() == ["layer", "cycles", "steps", "products", "used", "weights", "output", "tile"]
    assert lines[1].split(maxsplit=2)[0] == "layer"
    assert "496 cycles with all inputs there, 96 after the last record, at 8 lanes" in lines
    assert "weights 4,992 of 65,536 bytes" in lines
    assert lines[-1] == "lines of up to 528 pixels"
    assert max(map(len, lines)) < 120
