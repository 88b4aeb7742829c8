"""A limits file: what it says, and each fault with its line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reflexarc.calibration import Calibration
from reflexarc.contract.blocks.interlock import Cause, ReadyLine, Strap
from reflexarc.errors import BadInput
from reflexarc.safety import BoardFacts, Limits, LimitsRefused, Rectangle
from reflexarc.safety.limits import ENTRIES, SWITCHED
from reflexarc.safety.limits_file import Lines, default_text, known_keys, load_limits, parse_limits

CALIBRATION = Calibration()
ALL = (1 << 32) - 1


def limits(text: str) -> Limits:
    return parse_limits(text, "lab.toml", CALIBRATION).limits


def faults(text: str, board: BoardFacts | None = None) -> list[str]:
    """The faults of a text, with their lines."""
    with pytest.raises(LimitsRefused) as error:
        parse_limits(text, "lab.toml", CALIBRATION, board)
    heading, *lines = str(error.value).split("\n")
    assert re.fullmatch(r"lab\.toml: (1 fault|\d+ faults), nothing was written", heading)
    assert all(line.startswith("  lab.toml:") for line in lines) and len(lines) == len(error.value.faults)
    numbers = [int(line.split(":")[1]) for line in lines]
    assert numbers == sorted(numbers)
    return [line.removeprefix("  lab.toml:") for line in lines]


def test_the_default_file_says_the_defaults() -> None:
    found = parse_limits(default_text(), "default", CALIBRATION)
    assert found.limits == Limits() and found.omitted == ()


def test_the_default_file_shows_each_key() -> None:
    """Also those that are commented out; and with them on, it still parses."""
    text = default_text()
    for section, keys in known_keys().items():
        assert re.search(rf"^(# )?\[+{section}\]+", text, re.M), section
        for key in keys:
            assert section == "position" and key == "z_high" or re.search(rf"^(# )?{key} = ", text, re.M), f"{section}.{key}"
    on = re.sub(r"^# (?=[a-z_]+ = |\[)", "", text, flags=re.M)
    found = parse_limits(on, "all", CALIBRATION).limits
    assert all(getattr(found, entry.name) is not None for entry in ENTRIES if entry.name != "z_high_m")
    assert found.keep_outs == (Rectangle(100e-9, 150e-9, -20e-9, 20e-9),) and found.preamp_V_per_A == 1e9 and found.gain_lines == 0
    assert found.pixel_dose_e == pytest.approx(100 / 1e-20 * 4e-18) and found.frame_dose_e == 1e9
    assert found.region_dose_e == pytest.approx(50 / 1e-20 * 1e-14)


def test_an_empty_file_says_the_defaults() -> None:
    found = parse_limits("", "empty", CALIBRATION)
    assert found.limits == Limits()
    assert "current.high" in found.omitted and "tip.pulses" not in found.omitted, "what limits nothing by default is not worth a word"


def test_values() -> None:
    found = limits(
        """
current.high = "1.5 nA"
[lines]
ready = ["VACUUM"]
[tip]
pulses = 5
[reactions]
trigger = "all"
bias_ramp = ["ESTOP", "HOST"]
[conditions]
STUCK = false
READBACK = true
[[keep_out]]
x_low = "1 nm"
x_high = "2 nm"
y_low = "-1 nm"
y_high = "1 nm"
"""
    )
    assert found.current_high_A == 1.5e-9 and found.ready_lines is ReadyLine.VACUUM and found.pulses == 5
    assert found.reactions.trigger == frozenset(Cause) and found.reactions.bias_ramp == {Cause.ESTOP, Cause.HOST}
    assert Cause.STUCK not in found.conditions and Cause.READBACK in found.conditions
    assert Cause.READBACK not in found.conditions_where_present and Cause.MONITOR_HIGH in found.conditions_where_present
    assert found.keep_outs == (Rectangle(1e-9, 2e-9, -1e-9, 1e-9),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[curent]\nhigh = "2 nA"', ['1: curent: unknown section; is "current" meant?']),
        ('stuck = "64 samples"', ["1: stuck: unknown key; known are "]),
        ('# hello\n[current]\n\nhihg = "2 nA"', ['4: current.hihg: unknown key; is "high" meant?']),
        ("[current]\nhigh = 2e-9", ["2: current.high: 2e-09 has no unit; expected a quantity such as"]),
        ('[current]\nhigh = "2"', ['2: current.high: "2" has no unit']),
        ('[current]\nhigh = "2 V"', ['2: current.high: "2 V" is in V']),
        ('[current]\nhigh = ["2 nA"]', ["2: current.high: ['2 nA'] is no quantity"]),
        ('[current]\nhigh = "6 nA"', ["2: current.high: 6 nA is outside of what the board can hold, -5 nA to 4.99999 nA"]),
        ('[current]\nlow = "1 nA"\nhigh = "-1 nA"', ["2: current.low: 1 nA does not lie below current.high = -1 nA"]),
        ('[current]\nhigh = "-3 nA"', ["2: current.low: -2 nA does not lie below current.high = -3 nA"]),
        ('[position]\nz_low = "-200 nm"', ["2: position.z_low: -200 nm is outside"]),
        ('[converter]\nstuck = "1.5 samples"', ["2: converter.stuck: '1.5 samples' is no whole number"]),
        ("current = 3", ["1: current: is a section: write [current]"]),
        ("[[current]]", ["1: current: is a section: write [current]"]),
        ('[keep_out]\nx_low = "1 nm"', ["1: keep_out: is a list of rectangles: write [[keep_out]]"]),
        ('[[keep_out]]\nx_low = "1 nm"\nx_hihg = "2 nm"', ["1: keep_out.0: x_high, y_low, y_high are missing", "3: keep_out.0.x_hihg: unknown key"]),
        ("[conditions]\nESTOP = false", ["2: conditions.ESTOP: ESTOP always counts"]),
        ("[conditions]\nPULSES = true", ["2: conditions.PULSES: PULSES counts as soon as its limit is given"]),
        ("[conditions]\nSTUK = true", ['2: conditions.STUK: unknown key; is "STUCK" meant?']),
        ("[conditions]\nSTUCK = 1", ["2: conditions.STUCK: 1 is no switch"]),
        ('[conditions]\nSTUCK = "yes"', ["2: conditions.STUCK: 'yes' is no switch; write true, false or \"where present\""]),
        ('[reactions]\ntrigger = ["ESTPO"]', ['2: reactions.trigger: "ESTPO" is not known; is "ESTOP" meant?']),
        ('[reactions]\ntrigger = "ESTOP"', ["2: reactions.trigger: 'ESTOP' is no list of names"]),
        ('[reactions]\nblank = "all"', ["2: reactions.blank: unknown key; known are retract,"]),
        ('[lines]\nready = ["POWER"]', ['2: lines.ready: "POWER" is not known']),
        ("[lines]\nready = []", ["2: lines.ready: no ready line is asked for"]),
        ('[dose]\nbeam = "1 nA"\npixel = "1 e/Å^2"', ["3: dose.pixel: a dose per area needs the area: give dose.pixel_area"]),
        ('[dose]\nbeam = "1 nA"\nregion = "1 e/Å^2"', ["3: dose.region: a dose per area needs the area: give [region]"]),
        ('[dose]\nbeam = "1 nA"\npixel = "1 e/Å^2"\npixel_area = "0 nm^2"', ["4: dose.pixel_area: an area is above 0"]),
        ('[dose]\npixel = "100 e"', ["2: dose.pixel: a dose without a beam current is never used up"]),
        ('[bias]\nleast = "0 V"', ["2: bias.least: a least bias of 0 can't fire"]),
        ('[preamp]\ngain = "100 MV/A"', ["2: preamp.gain: these limits are made for 100 MV/A, the calibration has 1 GV/A"]),
        ('[current\nhigh = "2 nA"', ["1: not TOML: "]),
        ('[current]\nhigh = "2 nA"\nhigh = "1 nA"', ["3: not TOML: Cannot overwrite a value"]),
        ('[current]\nhigh = "2 nA', ["2: not TOML: "]),
    ],
)  # fmt: skip
def test_each_fault_with_its_line(text: str, says: list[str]) -> None:
    found = faults(text)
    assert len(found) == len(says)
    for line, start in zip(found, says, strict=True):
        assert line.startswith(start)


def test_all_faults_are_told() -> None:
    text = '[current]\nhigh = "6 nA"\nlow = 3\n[positon]\n[conditions]\nHOST = true\n[bias]\nleast = "0 V"\n'
    assert [line.split(":")[0] for line in faults(text)] == ["2", "3", "4", "6", "8"]


def test_faults_that_need_the_board() -> None:
    text = (
        '[[keep_out]]\nx_low = "1 nm"\nx_high = "2 nm"\ny_low = "1 nm"\ny_high = "2 nm"\n\n'
        '[[keep_out]]\nx_low = "-5 nm"\nx_high = "5 nm"\ny_low = "-5 nm"\ny_high = "5 nm"\n[conditions]\nREADBACK = true\n'
    )
    assert limits(text)
    board = BoardFacts(ALL & ~(1 << Cause.READBACK), Strap.TIP, 3e-9, 3e-9)
    first, second = faults(text, board)
    assert first == "7: keep_out.1: this keep-out covers the present position (3 nm, 3 nm)"
    assert second == "13: conditions.READBACK: this board has no means for READBACK"


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    for path, says in ((tmp_path / "none.toml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(BadInput, match=f"limits file .*{says}"):
            load_limits(path, CALIBRATION)
    (tmp_path / "latin").write_bytes(b'[current]\nhigh = "2 nA"\n[safe] # 50 \xb5m/s\n')
    with pytest.raises(LimitsRefused, match="latin:3: not UTF-8"):
        load_limits(tmp_path / "latin", CALIBRATION)
    (tmp_path / "long").write_bytes(b"#" * (2 << 20))
    with pytest.raises(BadInput, match="no limits file"):
        load_limits(tmp_path / "long", CALIBRATION)
    (tmp_path / "bom").write_bytes(b'\xef\xbb\xbf[current]\r\nhigh = "1 nA"\r\n')
    assert load_limits(tmp_path / "bom", CALIBRATION).limits.current_high_A == 1e-9


def test_lines_of_keys() -> None:
    lines = Lines(
        '# c\ntop = 1\n[ "a" . b ] # c\nkey = [\n  1,\n]\n"quoted" = 2\nx.y = 3\n[[keep_out]]\nx = 1\n[[keep_out]]\nx = 2\n[last]\ninline = { z = 1 }\n'
    )
    assert [lines.of((path,)) for path in ("top", "a.b.key", "a.b.quoted", "a.b.x.y", "a", "keep_out.0.x", "keep_out.1.x")] == [
        2,
        4,
        7,
        8,
        3,
        10,
        12,
    ]
    assert lines.of(("last.inline.z",)) == 14 and lines.of(("none", "last")) == 13 and lines.of(("none",)) == 15
    assert lines.of(("keep_out.1.nothing",)) == 11


@given(text=st.text(alphabet='[]#="\n .abcdehighlowcurent0159-nA{}', max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_limits(text, "x", CALIBRATION)
    except LimitsRefused as error:
        assert error.faults and all(line.startswith("  x:") for line in str(error).split("\n")[1:])


def test_each_switch_has_its_key() -> None:
    assert set(known_keys()["conditions"]) == {cause.name for cause in SWITCHED}
