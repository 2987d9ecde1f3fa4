# SPDX-License-Identifier: Apache-2.0
"""The workflows in `.github`: what can be known of them without running them."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
sys.path.insert(0, str(ROOT / "tools"))  # programs, not a package

import plain_env
import setup_env
from environment.machine import PYTHON_VERSIONS

WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in FILES}
JOBS = {f"{name}: {job}": body for name, workflow in WORKFLOWS.items() for job, body in workflow["jobs"].items()}
STEPS = [(job, step) for job, body in JOBS.items() for step in body["steps"]]


def commands():
    """Every command line of the workflows, as its words."""
    lines = [line for _, step in STEPS for line in step.get("run", "").splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def versions(first, last):
    """Python versions from (3, n) to (3, m), as workflows write them."""
    return [f"{first[0]}.{minor}" for minor in range(first[1], last[1] + 1)]


def test_what_is_there():
    assert set(WORKFLOWS) == {"docs", "lint", "ros", "test"}
    assert {workflow["name"] for workflow in WORKFLOWS.values()} == set(WORKFLOWS)
    targets = [words[1] for words in commands() if words[0] == "make"]
    assert sorted(targets) == ["docs", "env", "lint", "plain", "test"]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflows_may_only_read_and_give_way_to_newer_runs(name):
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is True
    assert "github.ref" in workflow["concurrency"]["group"]
    triggers = workflow[True]  # YAML 1.1 reads the key `on` as a truth value
    assert {"push", "pull_request", "workflow_dispatch"} <= set(triggers)


@pytest.mark.parametrize("job", JOBS)
def test_jobs_end(job):
    assert 0 < JOBS[job]["timeout-minutes"] <= 120
    assert "permissions" not in JOBS[job]


def test_actions_are_pinned_to_commits():
    used = [step["uses"] for _, step in STEPS if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action)] == []


def test_pythons_of_the_matrix_are_those_of_the_environment():
    jobs = WORKFLOWS["test"]["jobs"]
    low, high = PYTHON_VERSIONS
    assert jobs["test"]["strategy"]["matrix"] == {"python": versions(low, high)}
    assert jobs["plain"]["strategy"]["matrix"] == {"python": versions(low, plain_env.NEWEST_PYTHON)}
    assert f'python_requires=">={low[0]}.{low[1]}"' in (ROOT / "setup.py").read_text()
    asked = [step["with"]["python-version"] for _, step in STEPS if "python-version" in step.get("with", {})]
    assert set(asked) - {"${{ matrix.python }}"} <= set(versions(low, high))


def test_targets_of_make_and_their_extras_exist():
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for words in commands():
        if words[0] == "make":
            assert words[1] in targets
            for word in words[2:]:
                name, _, value = word.partition("=")
                assert name == "EXTRAS"
                assert set(value.split()) <= set(setup_env.EXTRAS)


def test_files_and_programs_exist():
    named = [step["with"]["cache-dependency-path"] for _, step in STEPS if "cache" in step.get("with", {})]
    assert len(named) == len([step for _, step in STEPS if "setup-python" in step.get("uses", "")])
    assert all((ROOT / name).is_file() for name in named)
    assert {words[0] for words in commands()} == {"make", "sudo"}
    (kept,) = [step["with"]["path"] for _, step in STEPS if "upload-artifact" in step.get("uses", "")]
    assert f"site_dir: {kept}\n" in (ROOT / "mkdocs.yml").read_text()


def test_libraries_of_the_renderer_are_those_of_its_instructions():
    (words,) = [words for words in commands() if "libegl1" in words]
    packages = [word for word in words[words.index("install") + 1 :] if not word.startswith("-")]
    assert f"apt-get install {' '.join(packages)}\n" in (ROOT / "training" / "README.md").read_text()


def test_distributions_and_what_pip_brings_there():
    rows = JOBS["ros: ros"]["strategy"]["matrix"]["include"]
    assert [row["distro"] for row in rows] == ["humble", "jazzy", "kilted", "lyrical", "rolling"]
    declared = re.search(r"install_requires=\[(.*?)\]", (ROOT / "setup.py").read_text(), re.DOTALL).group(1)
    keys = {"numpy": "numpy", "opencv-python-headless": "opencv", "pyyaml": "yaml", "scipy": "scipy"}
    manifest = (ROOT / "package.xml").read_text()
    from_rosdep = {name for name, key in keys.items() if f"<exec_depend>python3-{key}</exec_depend>" in manifest}
    assert set(keys) == from_rosdep
    wanted = set(re.findall(r'"([\w-]+)', declared)) - from_rosdep
    for row in rows:
        packages = shlex.split(row["pip"])
        assert {re.match(r"[\w-]+", package).group() for package in packages} - from_rosdep == wanted
        assert ("numpy<2" in packages) == (row["distro"] == "humble")


def test_actionlint_has_nothing_to_say():
    beside = Path(sys.executable).parent
    program = shutil.which("actionlint", path=os.pathsep.join([str(beside), os.environ.get("PATH", "")]))
    if program is None:
        pytest.skip("no actionlint: `make env EXTRAS=workflows` installs one")
    command = [program, "-no-color", "-oneline", *map(str, FILES)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
