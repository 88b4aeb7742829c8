"""View and head out of options and metadata: what is understood, and what is refused in one line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc.calibration import Calibration, Preamp, PreampKind
from reflexarc.compiler.canonical import Format
from reflexarc.compiler.network import Shape
from reflexarc.compiler.wishes import HeadWish, ViewWish, head_of, parse_channel, parse_view, view_of
from reflexarc.contract.model import ViewSource
from reflexarc.contract.packets import Channel
from reflexarc.errors import BadInput

PIXEL, SAMPLE, PROGRAM = ViewSource.PIXEL, ViewSource.SAMPLE, ViewSource.PROGRAM


@pytest.mark.parametrize(
    ("text", "dimensions", "source", "shape", "hop"),
    [
        ("window:32x16", (1, 1, 32, 16), PIXEL, (1, 32, 16), 1),
        ("window", (1, 1, 5, 7), PIXEL, (1, 5, 7), 1),
        ("window:2x8", (1, 16), PIXEL, (1, 2, 8), 1),
        ("line", (1, 1, 128), PIXEL, (1, 1, 128), 128),
        ("line", (1, 64), PIXEL, (1, 1, 64), 64),
        ("lines:2", (1, 1, 2, 128), PIXEL, (1, 2, 128), 128),
        ("lines : 2", (1, 256), PIXEL, (1, 2, 128), 128),
        ("burst:64", (1, 64), SAMPLE, (1, 1, 64), 64),
        ("burst", (1, 1, 1, 48), SAMPLE, (1, 1, 48), 48),
        ("program:16", (1, 1, 16), PROGRAM, (1, 1, 16), 16),
    ],
)
def test_views_and_the_inputs_that_they_are_for(
    text: str, dimensions: tuple[int, ...], source: ViewSource, shape: tuple[int, int, int], hop: int
) -> None:
    wish = parse_view(text).resolved(dimensions)
    assert (wish.source, wish.shape, wish.hop) == (source, Shape(*shape), hop)
    assert str(wish)


@pytest.mark.parametrize(
    "text", ["", "windows:3x3", "window:3", "window:3x3x3", "line:3", "lines", "lines:0", "burst:-1", "burst:99999", "pixel", "window:x"]
)
def test_what_is_no_view_is_refused_with_those_that_are(text: str) -> None:
    with pytest.raises(BadInput, match="accepted: (window|1 to)") as caught:
        parse_view(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "dimensions"),
    [("window:3x3", (1, 1, 3, 4)), ("line", (1, 2, 64)), ("lines:3", (1, 64)), ("burst:32", (1, 64)), ("window", (1, 2, 3, 4))],
)
def test_a_view_that_is_not_the_input_is_refused(text: str, dimensions: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match=r"the model's input is .*, the view gives"):
        parse_view(text).resolved(dimensions)


def test_channels_and_their_units() -> None:
    assert parse_channel("z:100pm") == (Channel.Z, 100e-12)
    assert parse_channel("Current: 2 nA") == (Channel.CURRENT, 2e-9)
    assert parse_channel("counter_0:10") == (Channel.COUNTER_0, 10.0)
    assert parse_channel("monitor") == (Channel.MONITOR, 1.0)
    for text in ("phase", "z:100pA", "z:", "z:0 m", "z:-1nm", "counter-0:x"):
        with pytest.raises(BadInput, match="--channel"):
            parse_channel(text)


def test_an_lsb_in_the_models_units() -> None:
    calibration = Calibration()
    wish = ViewWish(channels=(Channel.Z, Channel.CURRENT, Channel.COUNTER_0), units=(1e-10, 1e-12, 2.0))
    z, current, counter = wish.lsb_units(calibration)
    assert z == pytest.approx(calibration.z_m_per_code / 4096 / 1e-10)
    assert current == pytest.approx(calibration.code_to_current_A(1) / 4096 / 1e-12)
    assert counter == pytest.approx(1 / 8192)
    logarithmic = Calibration(preamp=Preamp(PreampKind.LOGARITHMIC))
    with pytest.raises(BadInput, match="logarithmic"):
        wish.lsb_units(logarithmic)


def test_metadata_says_all_and_comes_back_the_same() -> None:
    said = {
        "source": "pixel", "channels": ["z", "counter_1"], "units": [1e-10, 2], "rows": 3, "records": 5, "hop": 2, "line_mean": True, "backward": True,
        "center": [2, 1],
    }  # fmt: skip
    wish = view_of({"view": json.dumps(said)})
    assert wish is not None
    assert wish == ViewWish(PIXEL, 3, 5, 2, (Channel.Z, Channel.COUNTER_1), (1e-10, 2.0), True, True, (2, 1))
    assert view_of({"view": json.dumps(wish.plain())}) == wish
    assert view_of({}) is None and view_of({"view": "{}"}) == ViewWish()
    head = {"members": 3, "eventful": ["b"], "least_margin": 0.5, "disagreement": True, "radius": 4}
    assert head_of({"head": json.dumps(head)}) == HeadWish(3, ("b",), 0.5, True, 4)
    assert head_of({}) == HeadWish()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("view", "window"), ("view", []), ("view", {"source": "line"}), ("view", {"source": []}), ("view", {"channels": []}),
        ("view", {"channels": ["x"]}), ("view", {"channels": "z"}), ("view", {"channels": ["z"] * 5}), ("view", {"units": [0]}),
        ("view", {"units": [1, 1]}), ("view", {"units": [float("nan")]}), ("view", {"units": [float("inf")]}), ("view", {"rows": 0}),
        ("view", {"rows": 1.5}), ("view", {"rows": True}), ("view", {"records": 1 << 20}), ("view", {"hop": "1"}), ("view", {"center": [1]}),
        ("view", {"center": [-1, 0]}), ("view", {"line_mean": 1}), ("view", {"more": 1}), ("head", {"members": 6}), ("head", {"members": 0}),
        ("head", {"radius": 64}), ("head", {"eventful": [1]}), ("head", {"eventful": "a"}), ("head", {"least_margin": -1}),
        ("head", {"least_margin": float("nan")}), ("head", {"disagreement": "yes"}), ("head", {"classes": 3}), ("head", None),
    ],
)  # fmt: skip
def test_metadata_that_can_not_be_is_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(BadInput, match=f"metadata '{key}'") as caught:
        view_of({key: json.dumps(value)}) if key == "view" else head_of({key: json.dumps(value)})
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@given(st.text(max_size=60))
def test_any_text_is_understood_or_refused(text: str) -> None:
    for read in (lambda: parse_view(text), lambda: parse_channel(text), lambda: view_of({"view": text}), lambda: head_of({"head": text})):
        try:
            read()
        except BadInput as error:
            assert str(error)


def test_text_without_end_is_refused() -> None:
    for text in ("[" * 100_000, '{"a":' * 50_000, '{"source": "' + "x" * 100_000 + '"}'):
        with pytest.raises(BadInput, match="is no JSON object"):
            view_of({"view": text})


def test_heads() -> None:
    labels = ("clean", "adatom", "step")
    head = HeadWish(eventful=("adatom", "2"), least_margin=0.5, disagreement=True).head(3, labels, Format(0.125, 0, True))
    assert (head.classes, head.members, head.least_margin, head.eventful, head.disagreement_class) == (3, 1, 4, {1, 2}, 3)
    assert HeadWish().head(4, (), None).eventful == {1, 2, 3}
    assert HeadWish(members=2, eventful=()).head(6, labels, None).eventful == frozenset()
    assert HeadWish(least_margin=0.3).head(3, labels, Format(0.1, 0, True)).least_margin == 3  # not 4, as 0.3 / 0.1 in floats would be
    for wish, outputs, named, says in (
        (HeadWish(members=2), 3, labels, "can't be those of 2 members"),
        (HeadWish(), 4, labels, "3 labels for 4 classes"),
        (HeadWish(eventful=("adatoms",)), 3, labels, "accepted: clean, adatom, step"),
        (HeadWish(eventful=(3,)), 3, (), "accepted: 0 to 2"),
        (HeadWish(least_margin=1e300), 3, labels, "least margin"),
    ):
        with pytest.raises(BadInput, match=says):
            wish.head(outputs, named, Format(0.125, 0, True))
