"""Random strings, and what parser and checker make of them."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from reflexarc.calibration import Calibration
from reflexarc.programs.canonical import CanonicalError, alphabet, decode, encode
from reflexarc.programs.intervals import Box, Interval
from reflexarc.programs.text import ProgramTextError, parse, print_program
from reflexarc.programs.verify import Assumptions, verify
from reflexarc.safety.limits import Limits
from reflexarc_hw.platforms.timing import COMPRESSED

BATCH = 2000  # strings of one job
MUTATIONS_MAX = 4
AGAIN = 16  # each so manyth program that was accepted is written down and decoded again
FRAME_M = 2e-9  # half width of where the tip stays: it crosses it in 4 ms, and is back in 4
ENDS = 12  # of the alphabet's end, so that blocks do not all last to the line's end
TRIVIAL = "[wait:1us]"

CHARACTERS = "[]:%.|*+-<>=!_/ \t\n\r\0\"'#(),0123456789abcdefghijklmnopqrstuvwxyzAVmsEX\u00b5\u03bc\u0661\u212b\ud800\U0001f52c"
# Pieces of the readable text, with places for numbers, times and names.
PIECES = """
v@ = mean of # samples of current|v@ = least of # samples of z|v@ = current|v@ = 0.5 * v@|v@ = v@ + v@|v@ = clamp(x + # nm, -5 nm, 5 nm)
set bias # V|set bias # mV|set setpoint # pA|set feedback.kp # pm|set bias 10 mV * v@|ramp bias to # V at # V/s
wait # us|wait # samples|mark|wait until # us|wait for scan idle, at most # us|wait for line done, at most # us
v@ = wait for adatom, at most # us|v@ = wait for adatom where v@.score > # pm, at most # us
move to # nm, # nm at # um/s|move to v@.x, v@.y at 1 um/s|move to x, y at # nm/s|return
pulse # V for # us|pulse # V for # us, rise # us, settle # us|expose for # us|blank for # us|trigger for # ns
height # pm at # um/s|emit "a" v@|emit "b" current, z|emit "c"|halt "x"|leave|leave if v@ < 0.6 * v@|start scan|stop scan
hold feedback:|hold feedback, settle # us:|pause scan:|repeat # times:|repeat # times with v@:|repeat:|if v@ < v@:|if current > # pA:|otherwise:
"""
_PIECES = [piece for line in PIECES.strip().splitlines() for piece in line.split("|")]
_SYMBOLS = [*alphabet(), *["[end]"] * ENDS]


@dataclass
class Checked:
    """What became of strings. ``lines``: canonical ones that were accepted and are more than a wait."""

    strings: int = 0
    accepted: Counter[str] = field(default_factory=Counter)  # by the way of drawing
    refused: Counter[str] = field(default_factory=Counter)
    failures: list[dict[str, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    slowest_ms: float = 0.0  # of processor time
    slowest: str = ""

    def add(self, other: Checked) -> None:
        self.strings += other.strings
        self.accepted += other.accepted
        self.refused += other.refused
        self.failures += other.failures
        self.lines += other.lines
        if other.slowest_ms > self.slowest_ms:
            self.slowest_ms, self.slowest = other.slowest_ms, other.slowest


def assumptions(x_m: float = 0.0, y_m: float = 0.0) -> Assumptions:
    """Of the campaign's twin, with its scan at a place."""
    calibration = Calibration(sample_period_s=COMPRESSED.sample_period_ps * 1e-12, cycles_per_sample=COMPRESSED.cycles_per_sample)
    frame = Box(Interval(x_m - FRAME_M, x_m + FRAME_M), Interval(y_m - FRAME_M, y_m + FRAME_M))
    return Assumptions(calibration, Limits(), frame=frame)


def draw_symbols(rng: Random) -> str:
    return "".join(rng.choices(_SYMBOLS, k=min(1 + int(rng.expovariate(1 / 20)), 200)))


def draw_mutated(rng: Random) -> str:
    line = draw_symbols(rng)
    for _ in range(rng.randint(1, MUTATIONS_MAX)):
        line = _mutated(rng, line)
    return line


def _mutated(rng: Random, line: str) -> str:
    """Symbols inserted, left out, swapped or repeated, characters inserted, left out or replaced, numbers greater or less."""
    at = rng.randrange(len(line) + 1)
    match rng.randrange(4):
        case 0:
            return line[:at] + rng.choice(CHARACTERS) + line[at + rng.randint(0, 1) :]
        case 1:
            return line[:at] + line[at + rng.randint(1, 3) :]
        case 2:
            numbers = list(re.finditer(r"\d+(\.\d+)?", line))
            if numbers:
                found = rng.choice(numbers)
                odd = ("0", "00000", "1e9", "1e-9", ".5", "99999999", "-1", f"{float(found[0]) * 10 ** rng.uniform(-2, 2):.3g}")
                return line[: found.start()] + rng.choice((*odd, odd[-1], odd[-1])) + line[found.end() :]
    symbols = line.split("]")
    at, other = rng.randrange(len(symbols)), rng.randrange(len(symbols))
    match rng.randrange(4):
        case 0:
            symbols[at], symbols[other] = symbols[other], symbols[at]
        case 1:
            del symbols[at]
        case 2:
            symbols.insert(at, rng.choice(_SYMBOLS)[:-1])
        case 3:
            symbols[at:at] = symbols[other : other + rng.randint(1, 8)]
    return "]".join(symbols)


def draw_characters(rng: Random) -> str:
    """Most of all brackets and what looks like the inside of a symbol; seldom a very long one."""
    length = rng.choice((3, 10, 30, 100)) if rng.random() < 0.999 else 70_000
    heads = [symbol[1:-1] for symbol in rng.choices(_SYMBOLS, k=4)]
    pieces = rng.choices([*CHARACTERS, *"[][][]::", *heads], k=min(length, 20_000))
    return "".join(pieces)[:length] if length <= 100 else "[" * length


def draw_text(rng: Random) -> str:
    """Statements of the readable text, their blocks mostly indented as they must be."""
    lines, indent = [] if rng.random() < 0.02 else ['program "random"'], 0
    if rng.random() < 0.5:
        lines.append(f"event adatom: class {rng.randrange(9)}, score {rng.choice(('z', 'current', 'number'))}")
    for _ in range(rng.randint(1, 15)):
        piece = rng.choice(_PIECES)
        if piece == "otherwise:":
            indent = max(indent - 1, 0)
        text = "".join(_filled(rng, one) for one in piece)
        lines.append("    " * indent + text)
        indent = indent + 1 if text.endswith(":") else rng.choice((indent, indent, max(indent - 1, 0)))
    text = "\n".join([*lines, ""])
    while rng.random() < 0.2:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(CHARACTERS) + text[at + rng.randint(0, 2) :]
    return text


def _filled(rng: Random, one: str) -> str:
    match one:
        case "@":
            return str(rng.randrange(3))
        case "#":
            return rng.choice(
                ("1", "2", "0.5", "20", "64", "100", "-1", "0", "1e9", "1e-30", str(rng.randint(0, 10**6)), repr(rng.random()))
            )
    return one


DRAWS = {"symbols": (draw_symbols, 2), "mutated": (draw_mutated, 2), "characters": (draw_characters, 1), "text": (draw_text, 1)}


def check_batch(seed: int, number: int, count: int, keep: int) -> Checked:
    """``count`` strings of a batch, a third of them of symbols, a third mutated, the rest characters and text; ``keep`` lines to run."""
    rng = Random(f"programs {seed} {number}")
    ways = [way for way, (_, share) in DRAWS.items() for _ in range(share)]
    given, checked, lines = assumptions(), Checked(), []
    for _ in range(count):
        way = rng.choice(ways)
        string = DRAWS[way][0](rng)
        began = time.process_time()
        try:
            line = check_text(string, given) if way == "text" else check_line(string, given, again=rng.randrange(AGAIN) == 0)
        except Exception as error:  # whatever it is: that is the question here
            checked.failures.append({"way": way, "string": ascii(string[:4000]), "error": f"{type(error).__name__}: {error}"[:1000]})
            line = None
        else:
            (checked.refused if line is None else checked.accepted)[way] += 1
        took_ms = (time.process_time() - began) * 1e3
        if took_ms > checked.slowest_ms:
            checked.slowest_ms, checked.slowest = took_ms, ascii(string[:4000])
        if line is not None and way != "text" and line != TRIVIAL:
            lines.append(line)
    checked.strings = count
    checked.lines = rng.sample(lines, min(keep, len(lines)))
    return checked


def check_line(line: str, given: Assumptions, again: bool = True) -> str | None:
    """Its canonical line, None for one that is refused. ``again``: it must come back from that, and from its text."""
    try:
        tree = decode(line, given)
    except CanonicalError:
        return None
    found = encode(tree)
    if again:
        assert decode(found, given) == tree, f"read back as {encode(decode(found, given))}"
        assert parse(print_program(tree)) == tree, "another one as text"
        assert not verify(tree, given).findings, "not safe"
    return found


def check_text(text: str, given: Assumptions) -> str | None:
    """The text itself, None for one that is refused or of which the verifier finds anything."""
    try:
        tree = parse(text)
    except ProgramTextError:
        return None
    return text if not verify(tree, given).findings else None
