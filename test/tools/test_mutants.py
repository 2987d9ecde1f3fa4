# SPDX-License-Identifier: Apache-2.0
"""`make mutants`: which faults it knows, that it finds the tests that see them, and that it leaves no trace."""

import sys
from pathlib import Path

import pytest
from needs import needs

needs("coverage", "yaml")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", autouse=True)
def tools():
    sys.path.insert(0, str(ROOT / "tools"))
    yield
    sys.path.remove(str(ROOT / "tools"))


def changes(source):
    from mutation.operators import mutations

    return {m.text for m in mutations(source)}


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("def f(a):\n    return a < 0.5\n", "def f(a):\n    return a >= 0.5\n"),
        ("def f(a):\n    return len(a) < 2\n", "def f(a):\n    return len(a) <= 2\n"),
        ("def f(a, b):\n    return a and b\n", "def f(a, b):\n    return (a)\n"),
        ("def f(a, b):\n    return a and b\n", "def f(a, b):\n    return (b)\n"),
        ("def f(a):\n    if a:\n        g()\n", "def f(a):\n    if not (a):\n        g()\n"),
        ("def f(a):\n    if a:\n        g()\n", "def f(a):\n    if a:\n        pass\n"),
        ("def f(a):\n    g(a, size=3)\n", "def f(a):\n    g(a, )\n"),
        ("def f(a):\n    a.kept = 3\n", "def f(a):\n    pass\n"),
        ("def f(a):\n    del a.kept\n", "def f(a):\n    pass\n"),
        ("def f(a):\n    return -a\n", "def f(a):\n    return (a)\n"),
        ("def f(a, b):\n    return a * (b + 1)\n", "def f(a, b):\n    return a / (b + 1)\n"),
        ("def f(a, b):\n    return min(a, b)\n", "def f(a, b):\n    return max(a, b)\n"),
        ("def f(a):\n    return [x for x in a if x > 1]\n", "def f(a):\n    return [x for x in a if True]\n"),
        ("def f(a):\n    raise ValueError(a)\n", "def f(a):\n    pass\n"),
        ("def f(*, a=True):\n    return a\n", "def f(*, a=False):\n    return a\n"),
        ("FRAME = 'odom'\n", "FRAME = 'odom_x'\n"),
        ("LIMIT = 4\n", "LIMIT = 5\n"),
        ("ü = 'é'; LIMIT = 0.25\n", "ü = 'é'; LIMIT = 0.5\n"),
    ],
)
def test_faults_that_reviews_have_found_alive_are_tried(source, fault):
    assert fault in changes(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""A file."""\n',
        "def f(a: 'int') -> 'str':\n    '''Says so.'''\n    return a\n",
        "def f(a):\n    return f'{a}_suffix'\n",
        "__all__ = ['one']\n",
        "T = TypeVar('T')\n",
        "def f(a):\n    return cast('int', a)\n",
        "def f(a, b):\n    return zip(a, b, strict=True)\n",
        "def f(a, b):\n    del a\n    return b\n",
        "if TYPE_CHECKING:\n    LIMIT = 4\n",
    ],
)
def test_what_people_and_type_checkers_read_is_left_alone(source):
    assert not changes(source)


def test_strings_of_a_log_are_left_alone_and_so_is_the_call():
    assert not changes("def f(log):\n    log.warning('gone')\n")


def test_a_mutant_keeps_its_name_when_lines_are_put_above_it(tmp_path):
    from mutation.results import mutants_in

    (tmp_path / "x.py").write_text("def f(a):\n    return a + 1, a + 1\n")
    before = {m.key for m in mutants_in(Path("x.py"), tmp_path)}
    (tmp_path / "x.py").write_text("# new\n\ndef f(a):\n    return a + 1, a + 1\n")

    assert {m.key for m in mutants_in(Path("x.py"), tmp_path)} == before
    assert len(before) == 4


def test_another_lot_draws_others_and_the_same_one_the_same():
    from mutation.results import mutants_in

    mutants = mutants_in(Path("da3_ros/sync/buffer.py"))

    def first(lot):
        return [m.key for m in sorted(mutants, key=lambda m: m.rank(lot))[:30]]

    assert first(1) == first(1)
    assert len(set(first(1)) & set(first(2))) < 15


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A package of one room, half of which its tests look at."""
    root = tmp_path_factory.mktemp("checkout")
    for folder in ("da3_ros/hall", "test/hall"):
        (root / folder).mkdir(parents=True)
    (root / "da3_ros/__init__.py").write_text("")
    (root / "da3_ros/hall/__init__.py").write_text("")
    (root / "da3_ros/hall/sums.py").write_text(
        "def twice(a):\n    return a * 2\n\n\ndef thrice(a):\n    return a * 3\n\n\ndef never(a):\n    return a * 4\n"
    )
    (root / "test/hall/test_sums.py").write_text(
        "import pytest\n"
        "from da3_ros.hall.sums import thrice, twice\n\n\n"
        "@pytest.fixture(scope='module')\n"
        "def kept():\n    return [thrice(2)]\n\n\n"
        "def test_twice():\n    assert twice(2) == 4\n\n\n"
        "def test_first(kept):\n    assert kept\n\n\n"
        "def test_second(kept):\n    assert kept == [6]\n"
    )
    return root


@pytest.fixture(scope="module")
def worker(checkout, tmp_path_factory):
    """In a copy of its own."""
    from mutation.course import Worker

    made = Worker(tmp_path_factory.mktemp("worker") / "copy", checkout)
    yield made
    made.close()


def test_a_fault_is_put_into_a_copy_and_the_tests_that_run_its_line_say_so(checkout, worker, tmp_path):
    from mutation.course import course, witnesses
    from mutation.results import Book, mutants_in, survivors, table
    from mutation.rooms import Room

    path = Path("da3_ros/hall/sums.py")
    before = (checkout / path).read_text()
    book = Book(tmp_path / "verdicts.jsonl")
    found = {}
    known = witnesses(Room("hall", ("hall",)), worker.copy, tmp_path / "witnesses.json")
    course(
        mutants_in(path, checkout),
        known,
        [worker],
        book,
        until=float("inf"),
        report=lambda mutant, verdict: found.update({mutant.now: (mutant, verdict)}),
    )
    left = (worker.copy.folder / path).read_text()

    outcomes = {now: verdict.outcome for now, (_, verdict) in found.items()}
    assert outcomes == {
        "return a / 2": "failed",
        "return a * 3": "failed",  # twice's own number, which no other test minds
        "return a / 3": "failed",  # seen by the second test that shares what the first one made
        "return a * 4": "failed",
        "return a / 4": "unseen",
        "return a * 5": "unseen",
    }
    assert found["return a / 2"][1].by == "FAILED test/hall/test_sums.py::test_twice"
    assert left == before == (checkout / path).read_text()
    pairs = list(found.values())
    assert survivors(pairs, {}).splitlines()[:3] == [
        "da3_ros/hall/sums.py:10 (no test runs it)",
        "  - return a * 4",
        "  + return a / 4",
    ]
    assert table(pairs, {}).splitlines()[-1].split() == ["all", "6", "4", "0", "2", "67", "%"]
    excused = {(str(path), "return a * 4", "return a / 4"): "nobody calls it"}
    assert table(pairs, excused).splitlines()[-1].split() == ["all", "6", "4", "1", "1", "80", "%"]
    assert Book(book.path).verdicts == book.verdicts


def test_a_mutant_that_hangs_is_late_and_one_that_cannot_be_imported_has_failed(worker):
    from mutation.course import Witnesses
    from mutation.operators import Mutation
    from mutation.results import Mutant

    path = "da3_ros/hall/sums.py"
    test = "test/hall/test_sums.py::test_twice"
    # By what it took when nothing was wrong: 55 s are waited, and 3 s.
    patient, hasty = (Witnesses({test: seconds}, {path: {2: (test,)}}) for seconds in (10.0, -3.0))

    def mutant(text):
        return Mutant(path, Mutation(2, 4, "made", "", "", text, "twice"), "", "", text)

    late = worker.judge(mutant("import time\n\n\ndef twice(a):\n    time.sleep(600)\n\n\nthrice = twice\n"), hasty)
    broken = worker.judge(mutant("raise ImportError('gone')\n"), patient)
    sound = worker.judge(mutant("def twice(a):\n    return a * 2\n\n\nthrice = twice\n"), patient)

    assert (late.outcome, broken.outcome, sound.outcome) == ("late", "failed", "passed")


def test_equivalent_mutants_exist_and_say_why(monkeypatch):
    """A line that was changed or mended drops out of the list with it."""
    from mutation import operators, results

    listed = results.equivalents()
    is_python = operators._is_python
    # Those that are listed are compiled, not all thousands of their files.
    monkeypatch.setattr(operators, "_is_python", lambda text: True)
    results._mutants_of.cache_clear()
    try:
        mutants = [m for path in {key[0] for key in listed} for m in results.mutants_in(Path(path))]
    finally:
        results._mutants_of.cache_clear()
    named = [m for m in mutants if (m.path, m.was, m.now) in listed]
    assert set(listed) <= {(m.path, m.was, m.now) for m in named if is_python(m.mutation.text)}
    assert all(len(why) > 15 for why in listed.values())


def test_every_room_has_tests_and_files():
    from mutation.rooms import ROOMS, room

    for place in ROOMS:
        assert place.files
        assert all((ROOT / "test" / tests).exists() for tests in place.tests), place
    assert room("da3_ros/sync/").name == "sync"
    with pytest.raises(ValueError, match=r"No room 'attic' is mutated; there are stream, node"):
        room("attic")
