# SPDX-License-Identifier: Apache-2.0
"""Files, tables and exit codes."""

import json

import pytest
from gpu_proof.checks import Check
from gpu_proof.course import PARTS, Result
from gpu_proof.figures import FIGURES
from gpu_proof.options import Options
from gpu_proof.report import Verdict, as_dict, markdown, write

REAL, REHEARSAL = Options(), Options(device="cpu")
MACHINE, DRIVER, NETWORK = PARTS[:3]
TIMED = {
    "preset": "da3-small", "weights": "seeded", "views": 2, "arithmetic": "bfloat16", "size": "280x504",
    "posed": False, "reference": "first", "beside": "float32 on the CPU", "ms": 4.5, "images_per_s": 444.4,
    "peak_mb": 812.3, "largest": 0.021, "mean": 0.004, "runs": 30,
}  # fmt: skip


def result(part, *checks, state="passed", message="", plan=()):
    return Result(part, 10.0, 1.0, state, message, list(plan), list(checks))


def verdict(results, options=REAL, no_gpu="", left_out=()):
    return Verdict.of(results, options, no_gpu, left_out, 12.3)


GOOD = result(DRIVER, Check("a graph", "passed"))
LACKING = result(NETWORK, Check("x", "missing", "no torch"), state="missing")


@pytest.mark.parametrize(
    ("results", "options", "code", "words"),
    [
        ([GOOD], REAL, 0, "1 checks passed on this GPU (exit code 0, 12 s)"),
        ([GOOD, LACKING], REAL, 0, "1 checks passed on this GPU; 1 lack something, see above"),
        ([GOOD, result(NETWORK, state="failed", message="late")], REAL, 1, "FAILED: network"),
        ([GOOD, result(NETWORK, state="gave up")], REAL, 0, "1 checks passed"),
        ([LACKING], REAL, 2, "nothing was proved: all that could have been lacks something"),
        ([LACKING], REHEARSAL, 2, "nothing was proved: all that could have been lacks something"),
        ([result(MACHINE, Check("computer", "passed"))], REAL, 2, "nothing was proved"),
        ([GOOD], REHEARSAL, 2, "the rehearsal went well; it was no GPU, so nothing was proved"),
        ([GOOD], Options(driver="/else/libcuda.so"), 2, "the rehearsal went well"),
        ([GOOD, result(NETWORK, state="failed")], REHEARSAL, 1, "FAILED: network"),
    ],
)
def test_the_verdict(results, options, code, words):
    found = verdict(results, options)
    assert found.code == code
    assert words in found.words


def test_what_was_not_asked_for_is_named():
    assert "not asked for: network, compiled" in verdict([GOOD], left_out=("network", "compiled")).words
    found = verdict([], no_gpu="no NVIDIA driver: libcuda.so.1 is not found")
    assert found.code == 2
    assert found.words.startswith("no GPU: nothing was proved (no NVIDIA driver: libcuda.so.1 is not found)")


def test_the_page_has_a_row_for_every_check():
    wrong = Check(
        "da3-small, 2 views", "failed", "depth is off | badly\nand more", {**TIMED, "weights": "da3-nano's own"}
    )
    results = [
        result(
            NETWORK, Check("da3-small, 1 view", "passed", "", TIMED), wrong, state="failed", message="late", plan=["y"]
        ),
        LACKING,
        result(PARTS[4], Check("torch.compile", "gave up", "no compiler"), state="gave up"),
    ]
    page = markdown(results, REAL, verdict(results))
    assert "**FAILED: network; 1 lack something, see above (exit code 1, 12 s)**" in page
    assert "| da3-small | 2 | 280x504 | bfloat16 | 4.50 | 444.4 | 812 | 2.1e-02 | 4.0e-03 |  |" in page
    assert "weights da3-nano's own; **FAILED**: depth is off \\| badly and more |" in page
    assert "\n## Network: failed\n\nlate\n" in page
    assert "| x | missing | no torch |" in page
    assert "| torch.compile | **GAVE UP** | no compiler |" in page
    for figure in FIGURES:
        assert f"| {figure.what} | {figure.hardware} | {figure.value} | {figure.source} |" in page
    assert "rehearsal" not in page
    assert "A rehearsal: device `cpu`" in markdown(results, REHEARSAL, verdict(results))


def test_the_file_holds_everything(tmp_path):
    values = {"ms": 1.5, "errors": {"depth": {"largest": float("nan")}}}
    results = [
        result(NETWORK, Check("case", "failed", "nan", values), state="failed", message="late", plan=["case", "other"])
    ]
    write(tmp_path / "new", results, REAL, verdict(results))
    content = json.loads((tmp_path / "new" / "gpu_check.json").read_text())
    (part,) = content["parts"]
    assert part["part"] == "network"
    assert part["not_reached"] == ["other"]
    assert part["checks"][0]["values"] == {"ms": 1.5, "errors": {"depth": {"largest": None}}}
    assert content["verdict"]["code"] == 1
    assert content["tolerances"]["bfloat16"] == {"largest": 0.12, "mean": 0.04}
    assert content["options"]["rehearsal"] is False
    assert content["beside"] == as_dict(results, REAL, verdict(results))["beside"]
    assert (tmp_path / "new" / "gpu_check.md").read_text() == markdown(results, REAL, verdict(results))


def test_figures_of_others_have_their_sources():
    paper = [figure for figure in FIGURES if "2511.10647" in figure.source]
    assert {figure.value for figure in paper} >= {"160.5 images/s", "126.5 images/s"}
    assert all(figure.source and figure.hardware and figure.value for figure in FIGURES)
