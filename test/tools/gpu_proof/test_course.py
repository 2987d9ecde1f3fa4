# SPDX-License-Identifier: Apache-2.0
"""Parts of a course: what one does wrong, or how long it takes, is its own."""

import time

import pytest
from gpu_proof.checks import Failure, GaveUp, Journal, Missing, demand
from gpu_proof.course import PARTS, Part, run_course, run_part
from gpu_proof.options import Options

HEAD = "import os, signal, subprocess, sys, time\n\ndef plan(options):\n    return ['first', 'second']\n\n"
HEAD += "def prove(options, journal):\n"
FIRST = "    with journal.check('first') as found:\n        found['x'] = 1\n"
BODIES = {
    "good": f"{FIRST}    journal.missing(['second'], 'no such thing')\n",
    "raises": f"{FIRST}    raise ValueError('on purpose')\n",
    "crashes": "    os.kill(os.getpid(), signal.SIGSEGV)\n",
    "hangs": f"{FIRST}    time.sleep(600)\n",
    "silent": FIRST,
    "talks": "    print('{\"name\": \"no check\"}')\n    journal.missing(['first', 'second'], 'nothing here')\n",
    "wrong": f"{FIRST}        assert 1 == 2, 'they differ'\n    journal.missing(['second'], '')\n",
    "children": (
        "    child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "    journal.missing(['first'], str(child.pid))\n    child.wait()\n"
    ),
}


@pytest.fixture
def part(tmp_path, monkeypatch):
    """Function that makes a part of a body."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def make(body, **options):
        (tmp_path / f"part_{body}.py").write_text(HEAD + BODIES[body])
        return Part(body, f"part_{body}", 1, **options)

    return make


def run(part, limit_s=30.0):
    return run_part(part, Options(device="cpu"), limit_s, lambda line: None)


def test_a_good_part(part):
    told = []
    result = run_part(part("good"), Options(), 30, told.append)
    assert (result.state, result.message, result.not_reached) == ("passed", "", [])
    assert [(c.name, c.state, c.message) for c in result.checks] == [
        ("first", "passed", ""),
        ("second", "missing", "no such thing"),
    ]
    assert result.checks[0].values["x"] == 1
    assert "   passed  first" in told
    assert result.as_dict()["checks"][1] == {
        "name": "second",
        "state": "missing",
        "message": "no such thing",
        "values": {},
    }


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raises", "its process ended with code 1; its last words: "),
        ("raises", "ValueError: on purpose; not reached: second"),
        ("crashes", "its process was ended by signal SIGSEGV; not reached: first; second"),
        ("silent", "not reached: second"),
        ("wrong", ""),
    ],
)
def test_a_part_that_ends_badly_has_failed(part, body, words):
    result = run(part(body))
    assert result.state == "failed"
    assert words in result.message


def test_what_a_part_prints_is_not_taken_for_a_check(part):
    result = run(part("talks"))
    assert (result.state, len(result.checks)) == ("missing", 2)


def test_a_late_part_is_ended_and_keeps_what_it_has(part):
    begin = time.monotonic()
    result = run(part("hangs"), limit_s=2.0)
    assert time.monotonic() - begin < 60
    assert [check.name for check in result.checks] == ["first"]
    assert result.state == "failed"
    assert result.message == "it ran into its limit of 2 s; not reached: second"


def test_what_a_late_part_has_started_ends_with_it(part):
    result = run(part("children"), limit_s=3.0)
    child = int(result.checks[0].message)
    for _ in range(50):
        try:
            with open(f"/proc/{child}/stat") as file:
                if file.read().split()[2] == "Z":
                    return
        except FileNotFoundError:
            return
        time.sleep(0.1)
    pytest.fail(f"process {child} is still there")


def test_nobody_depends_on_an_optional_part(part):
    assert run(part("hangs", optional=True), limit_s=2.0).state == "gave up"
    assert run(part("crashes", optional=True)).state == "gave up"
    assert run(part("wrong", optional=True)).state == "failed", "what it gets wrong is wrong all the same"
    assert run(part("raises", optional=True)).state == "failed"


def test_others_go_on_and_the_whole_has_its_limit(part):
    begin = time.monotonic()
    results = run_course([part("raises"), part("hangs"), part("good")], Options(), 12.0, lambda line: None)
    assert time.monotonic() - begin < 60
    assert [result.state for result in results] == ["failed", "failed", "passed"]
    first, second, third = (result.limit_s for result in results)
    assert first == pytest.approx(4, abs=0.5)
    assert second > first, "what the first left is shared on"
    assert third == pytest.approx(second, abs=0.5)


def test_outcomes_of_checks():
    said = []
    journal = Journal(said.append)
    for error in (Missing("no torch"), GaveUp("no compiler"), Failure("wrong"), KeyError("odd"), None):
        with journal.check(type(error).__name__) as found:
            found["says"] = "well"
            if error:
                raise error
    assert [(c.state, c.message) for c in said] == [
        ("missing", "no torch"),
        ("gave up", "no compiler"),
        ("failed", "wrong"),
        ("failed", "KeyError: 'odd'"),
        ("passed", "well"),
    ]
    assert all("says" not in c.values and c.values["seconds"] >= 0 for c in said)
    with pytest.raises(Failure, match="2 is not 3"):
        demand(2 == 3, "2 is not 3")  # noqa: PLR0133


def test_parts_are_named_once_and_something_is_proved():
    assert len({part.name for part in PARTS}) == len(PARTS)
    assert {part.name for part in PARTS if not part.proves} == {"machine"}
    assert {part.name for part in PARTS if part.optional} == {"compiled"}
