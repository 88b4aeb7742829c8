"""The runner of the proofs on proofs that are known to be right or wrong, and the short set of the real ones.

`make formal` runs all of them; what is proved stands in docs/guide/proofs.md.
"""

import functools
import json
import sys
from pathlib import Path

import pytest
import toy_proof

from reflexarc_hw.formal import __main__, report, suite
from reflexarc_hw.formal.run import Outcome
from reflexarc_hw.formal.suite import Entry, Job

BUILD = Path(__file__).parents[2] / "build" / "formal-short"
TOYS = {proof.name: Entry(proof, "toy_proof", suite.table(toy_proof.__doc__)) for proof in toy_proof.PROOFS}
SHORT = [job for entry in suite.entries() if entry.proof.short for job in suite.jobs(entry, short=True)]

together = pytest.mark.xdist_group("toys")  # in one process, which runs each of them once


@pytest.mark.parametrize("job", SHORT, ids=lambda job: job.name)
def test_short_set(job: Job):
    result = job.run(BUILD)
    assert not job.fault, f"{job.name}: {job.fault}\n{result.log[-4000:]}"


def test_declarations_are_complete():
    assert suite.gaps(suite.entries()) == []


def test_each_block_with_a_guard_has_its_proofs():
    names = {entry.name for entry in suite.entries()}
    assert {"gate", "lifecycle", "fabric", "core_trip"} <= names
    for block in ("interlock", "signals", "envelope", "dose", "gate"):
        assert {f"bank_{block}", f"parity_{block}"} <= names


@functools.cache
def perform(name: str) -> list[Job]:
    jobs = suite.jobs(TOYS[name])
    with pytest.MonkeyPatch.context() as monkeypatch:
        # The converter is a process of its own and must find the toys' module.
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
        for job in jobs:
            job.run(BUILD / "toys")
    return jobs


@together
def test_a_right_proof():
    jobs = perform("right")
    assert [job.fault for job in jobs] == ["", "", ""]
    prove, cover, mutation = (job.result for job in jobs)
    assert prove.outcome is Outcome.PASS
    assert cover.reached == {"reaches_9": 9}
    assert (mutation.outcome, mutation.failed, mutation.step) == (Outcome.FAIL, ["below"], 10)


@together
def test_a_wrong_proof():
    prove, cover, survives, lost, strange = perform("wrong")
    assert prove.fault == "FAIL: below"
    assert cover.fault == "not reached: reaches_12"
    assert survives.fault == "survives"
    assert "occurs 0 times, not once" in lost.fault
    assert "not part of proof 'wrong'" in strange.fault


@together
def test_an_induction_that_does_not_close():
    prove, mutation = perform("not_inductive")
    assert prove.fault == "UNKNOWN: never_20"
    assert not mutation.fault


@together
def test_a_bounded_check_is_called_so():
    jobs = perform("bounded")
    assert not any(job.fault for job in jobs)
    made = report.make([TOYS["bounded"]], jobs, [], 0, part=True)
    assert made["ok"]
    assert made["proofs"][0]["kind"] == "bounded, depth 12"
    assert "0 proved without a bound, 1 up to a depth" in report.text(made)
    assert "bounded, depth 12" in report.markdown(made)


@together
@pytest.mark.parametrize("name, code", [("right", 0), ("wrong", 1), ("not_inductive", 1)])
def test_command(monkeypatch, capsys, tmp_path, name, code):
    performed = perform(name)  # before there is no running any more
    monkeypatch.setattr(__main__, "entries", lambda: [TOYS[name]])
    monkeypatch.setattr(__main__, "gaps", lambda found: [])
    monkeypatch.setattr(__main__, "jobs", lambda entry, short: performed)
    monkeypatch.setattr(Job, "run", lambda job, folder: job.result)
    monkeypatch.setattr(sys, "argv", ["formal", name, "--folder", str(tmp_path / "formal"), "--jobs", "1"])
    assert __main__.main() == code
    printed = capsys.readouterr().out
    made = json.loads((tmp_path / "formal" / "report.json").read_text())
    text = (tmp_path / "formal" / "report.md").read_text()
    assert made["ok"] is (code == 0)
    if name == "right":
        assert "right.below" in printed and "1 of 1: counterexample in step 10" in printed
        assert "the counter has no inputs" in text
    if name == "wrong":
        assert "NOT PROVED" in printed and "SURVIVES" in printed
        assert "FAILED wrong prove: FAIL: below" in printed
        assert "**survives**" in text and "**not reached**" in text


def test_command_refuses_an_unknown_proof(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["formal", "gait"])
    with pytest.raises(SystemExit) as stopped:
        __main__.main()
    assert stopped.value.code == 2
    assert "unknown: gait; there are" in capsys.readouterr().err


def test_gaps_are_named(monkeypatch):
    monkeypatch.setattr(suite, "CLAIMS", {"all is well": ("right.*", "left.*")})
    monkeypatch.setattr(toy_proof.Right, "mutations", ())
    monkeypatch.setattr(toy_proof.Wrong, "assumptions", ("it_rains",))
    found = suite.gaps(list(TOYS.values()))
    assert "right.below: no mutation breaks it" in found
    assert "toy_proof: the table lacks `it_rains`" in found
    assert "ESTOP is not reached as a first cause" in found
    assert "claim 'all is well': nothing is called 'left.*'" in found


def test_rows_of_a_table():
    text = "Words.\n\n| a | b |\n|---|---|\n| `x` | one |\n| y | two, three |\n\n| not | this |\n"
    assert suite.table(text) == [("`x`", "one"), ("y", "two, three")]
    assert suite.table("no table") == []
