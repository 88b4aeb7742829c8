"""All proofs of the gateware, what is to be run for each, and whether what is declared is complete."""

import fnmatch
import importlib
import itertools
from dataclasses import dataclass, field
from pathlib import Path

import reflexarc_hw
from reflexarc.contract.blocks.interlock import Cause
from reflexarc_hw.formal.claims import BOUNDS, CLAIMS, VERDICT_TO_PINS
from reflexarc_hw.formal.proof import COVER, PROVE, Mutation, Proof
from reflexarc_hw.formal.run import Outcome, Result, run

PACKAGE = Path(reflexarc_hw.__file__).parent
FIRST_CAUSES = "lifecycle"  # the proof that reaches each cause as the first one of a trip


@dataclass
class Entry:
    """A proof, with the module that it stands in and what the table of that module says of its assumptions."""

    proof: Proof
    module: str
    assumptions: list[tuple[str, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.proof.name


@dataclass
class Job:
    """One run of the solver. ``kind``: prove, cover, mutation, or control: the shorter constants of a mutation without the mutation."""

    entry: Entry
    kind: str
    goal: str | tuple[str, ...]
    number: int = 0
    mutation: Mutation | None = None
    result: Result | None = None

    @property
    def name(self) -> str:
        goal = "" if isinstance(self.goal, str) else " ".join(self.goal)
        return " ".join((self.entry.name, self.kind, *([str(self.number)] if self.mutation else []), *([goal] if goal else [])))

    def run(self, folder: Path) -> Result:
        proof, module = self.entry.proof, self.entry.module
        place = folder / self.entry.name / (f"{self.kind}_{self.number}" if self.mutation else self.kind)
        if self.mutation is None:
            self.result = run(proof, module, self.goal, place)
        elif self.kind == "control":
            self.result = run(proof, module, self.goal, place, changes=self.mutation.shorter, depth=self.mutation.depth)
        else:
            one = self.mutation
            self.result = run(proof, module, self.goal, place, changes=one.changes, depth=one.depth, skip=one.skip)
        return self.result

    @property
    def fault(self) -> str:
        """What is wrong with the outcome; empty if nothing is."""
        found = self.result
        if found is None:
            return "not run"
        if found.outcome in (Outcome.ERROR, Outcome.TIMEOUT):
            return f"{found.outcome.value}: {(found.log.strip().splitlines() or ['no output'])[-1]}"
        if self.kind == "mutation":
            if found.outcome is Outcome.FAIL and found.failed == list(self.goal):
                return ""
            return "survives"
        if self.kind == "cover":
            missing = sorted(set(self.entry.proof.covers) - set(found.reached))
            return f"not reached: {', '.join(missing)}" if missing or found.outcome is not Outcome.PASS else ""
        if found.outcome is Outcome.PASS:
            return ""
        return f"{found.outcome.value}: {', '.join(found.failed) or 'see the log'}"


def table(text: str) -> list[tuple[str, str]]:
    """The rows of the first table in a docstring."""
    rows = itertools.takewhile(
        lambda line: line.startswith("|"), itertools.dropwhile(lambda line: not line.startswith("|"), text.splitlines())
    )
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in rows]
    return [(first, second) for first, second in cells[2:]]


def entries() -> list[Entry]:
    """Every proof in a ``proof.py`` or ``..._proof.py`` of the package."""
    found = []
    for path in sorted([*PACKAGE.rglob("*_proof.py"), *PACKAGE.glob("blocks/*/proof.py")]):
        name = ".".join((PACKAGE.name, *path.relative_to(PACKAGE).with_suffix("").parts))
        module = importlib.import_module(name)
        rows = table(module.__doc__ or "")
        found += [Entry(proof, name, rows) for proof in module.PROOFS]
    return found


def jobs(entry: Entry, *, short: bool = False) -> list[Job]:
    """Everything to run for one proof. The short run takes the first mutation of each property."""
    proof = entry.proof
    found = [Job(entry, "prove", PROVE)]
    if proof.covers:
        found.append(Job(entry, "cover", COVER))
    seen: set[str] = set()
    controls: dict[tuple[tuple[str, str, str], ...], list[Mutation]] = {}
    for number, mutation in enumerate(proof.mutations):
        if short and mutation.breaks in seen:
            continue
        seen.add(mutation.breaks)
        found.append(Job(entry, "mutation", (mutation.breaks,), number, mutation))
        if mutation.shorter:
            controls.setdefault(mutation.shorter, []).append(mutation)
    for number, alike in enumerate(controls.values()):
        longest = max(alike, key=lambda mutation: mutation.depth)
        goal = PROVE if longest.inductive else tuple(sorted({mutation.breaks for mutation in alike}))
        found.append(Job(entry, "control", goal, number, longest))
    return found


def claimed(pattern: str, found: list[Entry]) -> list[tuple[str, str]]:
    """Proof and property of each that a claim's pattern means."""
    names = [(entry.name, name) for entry in found for name in entry.proof.properties]
    return [each for each in names if fnmatch.fnmatchcase(".".join(each), pattern)]


def gaps(found: list[Entry]) -> list[str]:
    """What the declarations lack."""
    lacking = []
    names = [entry.name for entry in found]
    lacking += [f"two proofs are called {name!r}" for name in sorted(set(names)) if names.count(name) > 1]
    for entry in found:
        proof = entry.proof
        broken = {mutation.breaks for mutation in proof.mutations}
        lacking += [f"{entry.name}.{name}: no mutation breaks it" for name in proof.properties if name not in broken]
        lacking += [f"{entry.name}: a mutation breaks {name!r}, which is no property" for name in sorted(broken - set(proof.properties))]
        for file, old, _ in itertools.chain.from_iterable(mutation.changes for mutation in proof.mutations):
            times = (PACKAGE / file).read_text().count(old)
            if times != 1:
                lacking.append(f"{entry.name}: the text to change occurs {times} times, not once, in {file}: {old!r}")
        explained = " ".join(row[0] for row in entry.assumptions)
        lacking += [f"{entry.module}: the table lacks `{name}`" for name in proof.assumptions if f"`{name}`" not in explained]
    firsts = {name for entry in found if entry.name == FIRST_CAUSES for name in entry.proof.covers}
    verdicts = {name for entry in found if entry.name != FIRST_CAUSES for name in entry.proof.covers}
    lacking += [f"{cause.name} is not reached as a first cause" for cause in Cause if cause.name not in firsts]
    lacking += [f"no judge's proof reaches {cause.name}" for cause in Cause if cause.name not in verdicts]
    lacking += [f"{cause.name} has no bound" for cause in Cause if cause not in BOUNDS]
    named = {f"claim {claim!r}": patterns for claim, patterns in CLAIMS.items()}
    named |= {f"bound of {cause.name}": bound.properties for cause, bound in BOUNDS.items()}
    named["way of a verdict to the pins"] = VERDICT_TO_PINS
    for what, patterns in named.items():
        lacking += [f"{what}: nothing is called {pattern!r}" for pattern in patterns if not claimed(pattern, found)]
    return lacking
