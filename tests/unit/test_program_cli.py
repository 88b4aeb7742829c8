"""`reflexarc program` without a board: check, show, explain, on good programs and bad files."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from reflexarc.calibration import Calibration
from reflexarc.cli.main import main
from reflexarc.contract.program import BANK_ROWS
from reflexarc.experiments.program import Emission
from reflexarc.experiments.program_job import EmissionFiles
from reflexarc.programs.compile import compile_program
from reflexarc.programs.names import walk
from reflexarc.programs.source import SIZE_MAX, read_source
from reflexarc.programs.text import statement_line
from reflexarc.report.program import STEPS_MAX

USER_ERROR = 2
COMMANDS = ("check", "show", "explain", "run")
PULSES = """\
# What is not a statement does not count,
program "pulse adatoms"   # also behind one.

event adatom: class 7, score z

hit = wait for adatom where hit.score > 50 pm, at most 2 s
otherwise:

    halt "nothing seen"
  # nor does its indentation
hold feedback, settle 50 us:
    i0 = mean of 64 samples of current
    repeat 20 times:
        pulse 2.2 V for 10 us, rise 2 us, settle 20 us
        i1 = mean of 64 samples of current
        leave if i1 < 0.6 * i0
emit "pulsed" hit.x, hit.y, i1
"""
EVERYTHING = """\
program "a bit of everything"
event edge: class 3, score current
event blob: class 4, score number
start scan
wait for line done, at most 5 s
otherwise:
    halt "no scan"
mark
pause scan:
    wait 30 s
    blank for 20 us
    expose for 1 ms
    trigger for 10 us
    wait 8 samples
mark
wait until 3 ms
there = wait for edge where there.score > 10 pA and there.class == 3, at most 1 s
x1 = clamp(there.x + 2 nm, -50 nm, 50 nm)
x1 = x1 - 1 nm
move to x1, 10 nm at 1 um/s
i0 = greatest of 128 samples of current
if i0 > 300 pA:
    emit "high" i0
otherwise:
    hold feedback:
        height 200 pm at 100 nm/s
        z0 = mean of 32 samples of z
        height 0 m at 100 nm/s
    emit "low" i0, z0, clock
return
set setpoint 200 pA
set feedback.mode 1
ramp bias to 1 V at 100 V/s
repeat:
    m = least of 4 samples of monitor
    leave if m == 0 V
    leave if events >= 4
repeat 3 times with n:
    set bias 10 mV * n + 600 mV
    v = 0.25 * bias
    wait 10 us
    if line != 3:
        leave
stop scan
wait for scan idle, at most 1 s
halt "over"
"""


def program(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["program", *map(str, arguments)])


def succeeds(*arguments: str | Path) -> str:
    result = program(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def refused(*arguments: str | Path) -> str:
    """The one line."""
    result = program(*arguments)
    assert result.exit_code == USER_ERROR, result.output
    (line,) = result.output.splitlines()
    assert line.startswith("reflexarc: ")
    return line.removeprefix("reflexarc: ")


def written(folder: Path, *lines: str) -> Path:
    path = folder / "p.arc"
    path.write_text("\n".join(('program "p"', *lines, "")), encoding="utf-8")
    return path


@pytest.fixture
def pulses(tmp_path: Path) -> Path:
    path = tmp_path / "pulses.arc"
    path.write_text(PULSES, encoding="utf-8")
    return path


@pytest.fixture
def everything(tmp_path: Path) -> Path:
    path = tmp_path / "everything.arc"
    path.write_text(EVERYTHING, encoding="utf-8")
    return path


# Files


def test_statements_are_found_in_their_lines(pulses: Path, everything: Path) -> None:
    """With comments, empty lines and otherwise between them, and with Windows' ends of lines."""
    for path in (pulses, everything):
        for ends in ("\n", "\r\n"):
            path.write_bytes(path.read_text(encoding="utf-8").replace("\n", ends).encode())
            source = read_source(path)
            lines = path.read_text(encoding="utf-8").splitlines()
            assert len(source.lines) == len(list(walk(source.tree)))
            for place, statement in walk(source.tree):
                said = lines[source.lines[place] - 1].partition("#")[0].strip()
                assert said == statement_line(statement, source.tree)


@pytest.mark.parametrize("command", COMMANDS)
def test_files_that_can_not_be_read(tmp_path: Path, command: str) -> None:
    (tmp_path / "latin.arc").write_bytes('program "x"\n# tête-à-tête'.encode("latin-1"))
    (tmp_path / "long.arc").write_bytes(b"#" * (SIZE_MAX + 1))
    (tmp_path / "empty.arc").write_bytes(b"")
    (tmp_path / "wrong.arc").write_text('program "x"\nwait 5\n', encoding="utf-8")
    os.mkfifo(tmp_path / "pipe")
    for name, says in (
        ("missing.arc", "missing.arc: No such file or directory"),
        ("", f"program {tmp_path}: Is a directory"),
        ("latin.arc", "latin.arc, line 2: not UTF-8"),
        ("long.arc", f"longer than {SIZE_MAX} bytes, so it is no program"),
        ("empty.arc", "line 1: expected a first line such as"),
        ("wrong.arc", 'wrong.arc, line 2: expected a time, 0 or more, such as "0.5 s", found "5"'),
        ("pipe", "is a pipe; accepted: an ordinary text file"),
    ):
        out = ["--out", str(tmp_path / "out")] if command in ("show", "run") else []
        assert says in refused(command, tmp_path / name, *out)
        assert not (tmp_path / "out").exists()


def test_a_byte_order_mark_is_no_fault(pulses: Path) -> None:
    pulses.write_bytes(b"\xef\xbb\xbf" + pulses.read_bytes())
    assert "no faults" in succeeds("check", pulses)


# check


def test_a_good_program_and_its_bounds(pulses: Path) -> None:
    said = succeeds("check", pulses)
    first, *bounds = said.splitlines()
    assert first == f"{pulses}: no faults; at worst:"
    found = dict(re.fullmatch(r"  (.{18}) (.+)", line).groups() for line in bounds)  # type: ignore[union-attr,misc]
    found = {name.strip(): value for name, value in found.items()}
    assert found["rows"].endswith(" of 512") and found["pulses"] == "up to 20" and found["exposure"] == "none"
    assert found["time"] == "up to 2 s" and found["between two waits"].startswith("up to ")
    assert found["tip"] == "x -500 nm to 500 nm, y -500 nm to 500 nm" and found["bias"] == "500 mV to 2.2 V"
    assert found["current"] == "up to 100 pA, in pulses up to 440 pA" and found["nearer than held"] == "never"


def test_a_fault_refuses_with_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, "", "mark", "hold feedback:", "    # much", "    pulse 9 V for 3 ms, settle 20 us", "wait until 1 us")
    result = program("check", path, "--setpoint", "1e-9")
    assert result.exit_code == USER_ERROR
    *faults, last = result.output.splitlines()
    assert last == f"reflexarc: {path}: {len(faults)} faults"
    assert [fault.split(": ")[:2] for fault in faults] == [["line 6", "pulse 9 V for 3 ms, settle 20 us"]] * 2 + [
        ["line 7", "wait until 1 us"]
    ]
    assert "the current may reach 18 nA" in result.output and "the limits of a pulse count for 2 ms" in result.output


def test_what_does_not_compile_has_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, "wait 1 s", "repeat 3 times:", "    set bias 1 nm")
    for command in ("show", "explain"):
        assert refused(command, path) == f"{path}, line 4: set bias 1 nm: bias is in V, not in m"
    result = program("check", path)
    assert result.exit_code == USER_ERROR
    assert result.output.splitlines() == ["line 4: set bias 1 nm: bias is in V, not in m", f"reflexarc: {path}: 1 fault"]


def test_a_risk_is_a_note(tmp_path: Path) -> None:
    said = succeeds("check", written(tmp_path, "set feedback.kp 1 pm")).splitlines()
    assert said[0].startswith("note: line 2: set feedback.kp 1 pm: ")
    assert said[1].endswith("p.arc: no faults, 1 note; at worst:")


def test_faults_come_before_notes(tmp_path: Path) -> None:
    said = program("check", written(tmp_path, "set feedback.kp 1 pm", "set bias 1 mV")).output.splitlines()
    assert [line.partition(" ")[0] for line in said] == ["line", "note:", "reflexarc:"]
    assert said[-1].endswith("p.arc: 1 fault, 1 note")


def test_limits_and_settings_count(pulses: Path, tmp_path: Path) -> None:
    limits = tmp_path / "lab.toml"
    limits.write_text('[tip]\npulses = "5 pulses"\n', encoding="utf-8")
    assert "the limit of this tip is 5" in program("check", pulses, "--limits", limits).output
    assert program("check", pulses, "--setpoint", "1e-9").exit_code == USER_ERROR
    assert "up to 220 pA" in succeeds("check", pulses, "--bias", "1")
    assert "setpoint_A = nan is not possible" in refused("check", pulses, "--setpoint", "nan")
    assert "limits file" in refused("check", pulses, "--limits", tmp_path / "none.toml")


def test_a_beam_has_no_tip(tmp_path: Path) -> None:
    """Nothing is asked or said of a feedback, and what is given of it counts for nothing."""
    path = written(tmp_path, "move to 0 nm, 0 nm at 1 mm/s", "expose for 1 ms")
    result = program("check", path)
    assert result.exit_code == USER_ERROR and "1 mm/s is faster than the feedback follows" in result.output
    first, *bounds = succeeds("check", path, "--beam", "--bandwidth", "0").splitlines()
    assert first == f"{path}: no faults; at worst:"
    assert [line[2:20].strip() for line in bounds] == ["rows", "time", "between two waits", "pulses", "exposure", "beam"]
    found = json.loads(succeeds("check", path, "--beam", "--json"))
    assert found["assumed"] == {"tip": False} and found["bounds"]["exposed_s"] == pytest.approx(1e-3, rel=0.1)
    assert {name for name, value in found["bounds"].items() if value is None} == {"nearest_m", "bias_V", "current_A", "pulse_current_A"}


def test_what_is_said_of_the_whole_program_has_no_line(tmp_path: Path) -> None:
    """Nine repeats within each other, which compile; rows of which only the last one, the program's end, is too many."""
    path = written(tmp_path, *("    " * depth + "repeat 2 times:" for depth in range(9)), "    " * 9 + "wait 1 ms")
    result = program("check", path)
    assert result.exit_code == USER_ERROR
    assert result.output.splitlines() == [
        f"{path}: the program is too involved to be shown safe: more than 8 repeats within each other",
        f"reflexarc: {path}: 1 fault",
    ]
    (fault,) = json.loads(program("check", path, "--json").output.partition("reflexarc: ")[0])["faults"]
    assert fault["line"] is None and fault["statement"] is None
    path = written(tmp_path, *["mark"] * BANK_ROWS)
    assert refused("explain", path).startswith(f"{path}: ")
    assert program("check", path).output.startswith(f"{path}: ")


def test_json_has_all_of_it(pulses: Path, tmp_path: Path) -> None:
    found = json.loads(succeeds("check", pulses, "--json"))
    assert found["file"] == str(pulses) and found["program"] == "pulse adatoms"
    assert found["faults"] == found["notes"] == []
    assert found["bounds"]["pulses"] == 20 and found["bounds"]["bias_V"] == [0.5, 2.2]
    assert found["assumed"] == {"setpoint_A": 100e-12, "bias_V": 0.5, "bandwidth_Hz": 4e3}
    endless = json.loads(succeeds("check", written(tmp_path, "repeat:", "    wait 1 s"), "--json"))
    assert endless["bounds"]["time_s"] is None
    result = program("check", written(tmp_path, "set bias 1 mV", "set feedback.kp 1 pm"), "--json")
    assert result.exit_code == USER_ERROR
    text, _, last = result.output.rpartition("reflexarc: ")
    assert last.endswith("1 fault, 1 note\n")
    found = json.loads(text)
    assert found["bounds"] is None
    assert [(fault["line"], fault["statement"]) for fault in found["faults"]] == [(2, "set bias 1 mV")]
    assert [(note["line"], note["statement"]) for note in found["notes"]] == [(3, "set feedback.kp 1 pm")]


# show


def size_of(picture: Path) -> tuple[int, int]:
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG")
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def test_a_picture_beside_the_program(pulses: Path) -> None:
    picture = pulses.with_suffix(".png")
    assert succeeds("show", pulses) == f"written  {picture}\n"
    first = picture.read_bytes()
    width, height = size_of(picture)
    assert width == 1600 and 500 < height < 1200
    succeeds("show", pulses)
    assert picture.read_bytes() == first


def test_a_longer_program_takes_more_rows(everything: Path, tmp_path: Path) -> None:
    succeeds("show", everything, "--out", tmp_path / "x.png")
    assert size_of(tmp_path / "x.png")[1] > 1500


def test_letters_that_the_font_lacks_and_long_texts(tmp_path: Path) -> None:
    path = tmp_path / "p.arc"
    path.write_text(
        f'program "吸着原子 $x_1$ {"long " * 10}"\nemit "吸着原子 {"long " * 12}"  # 吸着原子\t{"long " * 1000}\n'
        f"repeat 3 times with {'n' * 40}:\n    mark\nx1 = {' + '.join(['x'] * 12)}\n",
        encoding="utf-8",
    )
    succeeds("show", path)


def test_pictures_that_can_not_be(pulses: Path, tmp_path: Path) -> None:
    assert "is the program itself" in refused("show", pulses, "--out", pulses)
    assert pulses.read_text(encoding="utf-8") == PULSES
    assert refused("show", pulses, "--out", tmp_path / "no" / "x.png").endswith("cannot be written (No such file or directory)")
    long = written(tmp_path, *["wait 0 s"] * (STEPS_MAX + 1))
    assert refused("show", long) == f"{long}: {STEPS_MAX + 1} steps are too many for a picture; it has room for {STEPS_MAX}"


# explain


def test_each_row_is_explained_once(pulses: Path, everything: Path) -> None:
    for path in (pulses, everything):
        source = read_source(path)
        rows = compile_program(source.tree, Calibration()).rows
        said = succeeds("explain", path)
        numbers = [int(found[1]) for found in re.finditer(r"^ +(\d+)  [A-Z_]+ ", said, re.MULTILINE)]
        assert sorted(numbers) == list(range(len(rows)))
        for place, statement in walk(source.tree):
            assert f"line {source.lines[place]}: {statement_line(statement, source.tree)}" in said.splitlines()
        assert said.splitlines()[-2].strip() == "end of the program" and "HALT" in said.splitlines()[-1]


def rows_of(folder: Path, *lines: str) -> list[list[str]]:
    """Operation, what it does, constant and cycles of each row, in the order of the program's text."""
    said = succeeds("explain", written(folder, *lines))
    found = [re.fullmatch(r" +\d+  (\w+) +(.+?)(?:   +(-?\d+))?   *(\S.*)", line) for line in said.splitlines()]
    return [[group or "" for group in match.groups()] for match in found if match is not None]


def test_what_rows_do_in_words(tmp_path: Path) -> None:
    assert rows_of(tmp_path, "i0 = mean of 64 samples of current", "i1 = 0.6 * i0 + 1 nA", "leave_ = i1", 'emit "i" i1, i0')[:5] == [
        ["SAMPLE", "i0 = mean of the current, 64 samples", "64", "to the last sample, 40"],
        ["SCALE", "i1 = i0 * 0.6", "39322", "38"],
        ["ADD", "i1 = i1 + 1 nA", "429496730", "2"],
        ["ADD", "leave_ = i1", "", "2"],
        ["EMIT", 'record "i", part 0: i1, i0', "0", "4"],
    ]
    assert rows_of(tmp_path, "set bias 100 mV", "set setpoint 100 pA", "start scan", "trigger for 10 us")[:6] == [
        ["WRITE", "gate.bias = 100 mV", "5243", "19"],
        ["WRITE", "feedback.setpoint = 100 pA", "54707", "19"],
        ["WRITE", "scan.command = START", "1", "19"],
        ["RAISE", "asks for trigger", "16", "1"],
        ["WAIT_CYCLES", "9.99 µs", "999", "999"],
        ["LOWER", "no longer asks for trigger", "16", "1"],
    ]


def test_sentences(everything: Path) -> None:
    said = succeeds("explain", everything)
    for sentence in (
        "Waits for the first edge with there.score > 10 pA and there.class == 3, which is then there. After 1 s the program ends",
        "Waits for the end of a line of the scan. After 5 s what stands under otherwise is done.",
        "Does what stands below 3 times; n counts the turns from 0.",
        "Does what stands below again and again until it is left.",
        "Leaves the innermost repeat if m == 0 V.",
        'Ends the program with the reason "over".',
    ):
        assert sentence in said


def test_names_belong_to_registers_only_while_they_hold_them(tmp_path: Path) -> None:
    """The register of i0 is free for the ramp behind its block."""
    rows = rows_of(tmp_path, "repeat 2 times:", "    i0 = mean of 8 samples of current", '    emit "i" i0', "ramp bias to 1 V at 100 V/s")
    (ramp,) = (does for operation, does, *_ in rows if operation == "RAMP")
    assert "i0" not in ramp and ramp.startswith("gate.bias from r")


# The files of run


def files_of(folder: Path, emissions: list[tuple[str, tuple[float, ...]]], *lines: str) -> dict[str, list[str]]:
    """Content of each file, by its name."""
    compiled = compile_program(read_source(written(folder, *lines)).tree, Calibration())
    out = folder / "out"
    out.mkdir()
    with EmissionFiles(out, compiled) as files:
        for tag, values in emissions:
            files.add(Emission(tag, values, 0.25))
    assert sorted(files.names) == sorted(path.name for path in out.iterdir())
    return {path.name: path.read_text(encoding="utf-8").splitlines() for path in out.iterdir()}


def test_one_file_for_tags_with_the_same_columns(tmp_path: Path) -> None:
    lines = ("i0 = mean of 8 samples of current", 'emit "near" bias, i0', 'emit "far" bias, i0')
    assert files_of(tmp_path, [("near", (0.5, 1e-10)), ("far", (0.5, 2e-11))], *lines) == {
        "emissions.csv": ["time_s,tag,bias_V,i0_A", "0.250000000,near,0.5,1e-10", "0.250000000,far,0.5,2e-11"]
    }


def test_tags_of_the_same_kinds_share_the_names_of_kinds(tmp_path: Path) -> None:
    lines = ("i0 = mean of 8 samples of current", "i1 = mean of 8 samples of current", 'emit "near" i0, x', 'emit "far" i1, x')
    assert files_of(tmp_path, [("far", (2e-11, 1e-9))], *lines)["emissions.csv"][0] == "time_s,tag,current_A,x_m"


def test_a_file_for_each_tag_where_columns_differ(tmp_path: Path) -> None:
    lines = ('emit "a/b" clock, clock', 'emit "A b"', 'emit "n" events, line', "t = 2 * clock", 'emit "a b" t, x, 2 * x, y')
    emissions = [("a/b", (1.0, 2.0)), ("A b", ()), ("a b", (1.0, 1e-9, 2e-9, 0.0))]
    assert files_of(tmp_path, emissions, *lines) == {
        "emissions-a_b.csv": ["time_s,tag,clock_s,clock_s_2", "0.250000000,a/b,1,2"],
        "emissions-A_b-2.csv": ["time_s,tag", "0.250000000,A b"],
        "emissions-a_b-3.csv": ["time_s,tag,t_s,x_m,x_m_2,y_m", "0.250000000,a b,1,1e-09,2e-09,0"],
    }


def test_no_file_without_a_record(tmp_path: Path) -> None:
    assert files_of(tmp_path, [], 'emit "i" current') == {}


# The guide


def test_the_guide_says_what_is(tmp_path: Path) -> None:
    """Its example is one program in both forms, and `check` says of the wrong one what stands there."""
    guide = (Path(__file__).parents[2] / "docs/guide/programs.md").read_text(encoding="utf-8")
    text = guide.partition("```\nprogram ")[2].partition("```")[0]
    python = guide.partition("```python\nfrom reflexarc.programs.build")[2].partition("```")[0]
    path = tmp_path / "pulse.arc"
    path.write_text(f"program {text}", encoding="utf-8")
    found: dict[str, Any] = {}
    exec(f"from reflexarc.programs.build{python}", found)
    assert found["p"].tree == read_source(path).tree
    assert program("check", path).exit_code == 0
    path.write_text(path.read_text(encoding="utf-8").replace("for 10 us", "for 3 ms"), encoding="utf-8")
    for line in program("check", path).output.replace(str(path), "pulse.arc").splitlines():
        assert f"  {line}\n" in guide
