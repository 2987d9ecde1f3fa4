# SPDX-License-Identifier: Apache-2.0
"""The documentation: links, pages, and what they say of the repository."""

import ast
import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site_pages():
    pytest.importorskip("markdown")
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "tools" / "site_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Loader(yaml.SafeLoader):
    """Reads mkdocs.yml without mkdocs: what its tags make is left out."""


Loader.add_multi_constructor("", lambda loader, tag, node: None)


@pytest.fixture(scope="module")
def settings():
    return yaml.load((ROOT / "mkdocs.yml").read_text(), Loader)


def leaves(nav):
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from leaves(entry)


FILES = ("index.md", "bags.md", "parameters.md", "contributing.md", "da3-nano.md", "four_cameras.png", "api/sync.md")


@pytest.mark.parametrize(
    ("page", "link", "wanted"),
    [
        ("index.md", "docs/bags.md", "bags.md"),
        ("index.md", "docs/bags.md#speed", "bags.md#speed"),
        ("index.md", "docs/four_cameras.png", "four_cameras.png"),
        ("index.md", "CONTRIBUTING.md", "contributing.md"),
        ("index.md", "models/da3-nano/README.md", "da3-nano.md"),
        ("bags.md", "../README.md#metres", "index.md#metres"),
        ("bags.md", "parameters.md", "parameters.md"),
        ("da3-nano.md", "../../docs/four_cameras.png", "four_cameras.png"),
        ("da3-nano.md", "#recipe", "#recipe"),
        ("index.md", "https://docs.ray.io", "https://docs.ray.io"),
        ("index.md", "mailto:somebody@example.org", "mailto:somebody@example.org"),
        # Sources: plain text, since it is not known where they are shown.
        ("index.md", "config/multi_cam.yaml", None),
        ("parameters.md", "../config/multi_cam.yaml", None),
        ("index.md", "launch", None),
        # What is not there stays, and fails a strict build.
        ("index.md", "docs/gone.md", "docs/gone.md"),
        ("bags.md", "../config/gone.yaml", "../config/gone.yaml"),
        ("bags.md", "../../elsewhere", "../../elsewhere"),
    ],
)
def test_links_hold_in_the_site(site_pages, page, link, wanted):
    assert site_pages.rewrite(link, page, FILES) == wanted


def test_links_to_sources_lead_to_their_host(site_pages):
    found = site_pages.rewrite("../config/multi_cam.yaml", "parameters.md", FILES, "https://example.org/da3_ros/")
    assert found == "https://example.org/da3_ros/blob/HEAD/config/multi_cam.yaml"


def test_pages_in_folders_reach_the_others(site_pages):
    assert site_pages.rewrite("../bags.md", "api/sync.md", FILES) == "../bags.md"


def test_code_is_never_rewritten(site_pages):
    from markdown import Markdown

    text = "[a](x.md) `[b](x.md)`\n\n    [c](x.md)\n\n[d](source.py)\n"
    links = site_pages.Links(lambda link: None if link.endswith(".py") else f"new/{link}")
    html = Markdown(extensions=[links]).convert(text)
    assert '<a href="new/x.md">a</a>' in html
    assert "<code>[b](x.md)</code>" in html
    assert "[c](x.md)" in html
    assert "<span>d</span>" in html


def test_the_changelog_becomes_markdown(site_pages):
    text = "^^^^^^^\nChanges\n^^^^^^^\n\nForthcoming\n-----------\n* ``one``, which\n  goes on.\n"
    assert site_pages.markdown_of_rst(text) == "# Changes\n\n## Forthcoming\n* ``one``, which\n  goes on.\n"
    whole = site_pages.markdown_of_rst((ROOT / "CHANGELOG.rst").read_text())
    assert not re.search(r":\w+:`|`_|^\.\. ", whole, re.MULTILINE), "site_pages.markdown_of_rst knows no such markup"


def test_every_page_is_in_the_navigation(site_pages, settings):
    listed = list(leaves(settings["nav"]))
    assert len(listed) == len(set(listed))
    written = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    made = {*site_pages.OUTSIDE, *(f"api/{package}.md" for package in site_pages.API)}
    assert set(listed) == written | made


def test_pages_from_elsewhere_exist(site_pages):
    assert [file for file in site_pages.OUTSIDE.values() if not (ROOT / file).is_file()] == []
    for package, modules in site_pages.API.items():
        assert (ROOT / "da3_ros" / package / "__init__.py").is_file()
        assert [m for m in modules if not (ROOT / "da3_ros" / package / f"{m}.py").is_file()] == []


def test_the_site_fetches_nothing(settings):
    assert settings["theme"]["font"] is False
    assert settings["plugins"][1]["mkdocstrings"]["handlers"]["python"]["inventories"] == []
    # The theme asks hosts it knows for stars and releases where this is set.
    assert "repo_url" not in settings


def paths_in(text):
    """What stands in backticks and looks like a path: with a slash, or with a suffix of ours."""
    code = re.findall(r"`([^`\n]+)`", text)
    return [
        word for word in code if re.fullmatch(r"[\w./-]+", word) and ("/" in word or word.endswith((".py", ".yml")))
    ]


def test_every_path_of_the_architecture_exists():
    found = paths_in((DOCS / "architecture.md").read_text())
    assert len(found) > 100
    # Tables of one package leave its folder out.
    assert [p for p in found if not any((ROOT / base / p).exists() for base in ("", "da3_ros"))] == []


def test_names_of_the_architecture_exist():
    """`file.py` (`name`): the file has the name."""
    text = (DOCS / "architecture.md").read_text()
    found = re.findall(r"`([\w./-]+\.py)` \(`(\w+)`\)", text)
    assert len(found) > 8
    for path, name in found:
        file = next(f for f in (ROOT / path, ROOT / "da3_ros" / path) if f.exists())
        assert re.search(rf"\b{name}\b", file.read_text()), f"{path} has no {name}"


REFINED = (DOCS / "refinement.md").read_text()


def said_when_refused(case):
    """What the code itself says of a view that it does not refine."""
    from da3_ros.estimation import RefinementConfig
    from da3_ros.estimation.refinement import Subject, refine
    from da3_ros.estimation.refinement.check import judge
    from da3_ros.estimation.refinement.views import _told
    from da3_ros.geometry import CameraModel
    from da3_ros.stream.refinements import in_words

    if case == "few":
        ones, grey = np.ones((28, 28), np.float32), np.full((28, 28, 3), 128, np.uint8)
        camera = CameraModel.pinhole(28, 28, 28, 28, 13.5, 13.5)
        points = np.array([[x / 10, 0, 1] for x in range(-2, 3)], np.float32)
        subject = Subject(ones, ones, grey, grey, camera, None, measured=(points, camera))
        return refine([subject], RefinementConfig(source="measured"))[0].report.message
    if case == "no better":
        return judge(np.full(9, 0.079), np.full(9, 0.081), 1.0, sensor=False).message
    if case == "corners":
        return judge(np.full(9, 0.2), np.full(9, 0.119), 1.0, sensor=False, corners=True).message
    if case == "order":
        return judge(np.full(9, 0.2), np.full(9, 0.1), 0.55, sensor=False).message
    if case == "poses":
        return _told({(0, 1), (1, 0), (1, 2), (2, 1)})
    return in_words({}, metric=case == "off", milliseconds=0)[0]


@pytest.mark.parametrize("case", ["few", "no better", "corners", "order", "poses", "off", "no unit"])
def test_the_page_on_refined_depth_has_the_words_of_the_code(case):
    assert f"`{said_when_refused(case)}`" in REFINED


def test_the_page_on_refined_depth_has_every_parameter():
    from da3_ros.stream.specs import SPECS

    names = [spec.name for spec in SPECS if spec.name.startswith("refinement.")]
    assert re.findall(r"^\| `(refinement\.\w+)` \|", REFINED, re.MULTILINE) == names


def test_the_page_on_refined_depth_has_the_numbers_of_the_code():
    from da3_ros.estimation.refinement import RefinementConfig, check, fusion, measured, pairs, subjects, told

    (angle, place), (turn, way) = subjects.CALIBRATED, subjects.ODOMETRY
    for words in (
        f"what is less sure than {100 * told.LARGEST_SIGMA:g} % is left out",
        f"{np.degrees(angle):g} degrees and {1000 * place:g} mm off",
        f"odometry {np.degrees(turn):g} degrees and {100 * way:g} cm",
        f"{100 * measured.RANGE_NOISE:g} % of the distance and {100 * measured.LEAST_NOISE:g} cm off",
        f"a factor of {np.exp(RefinementConfig().reach):.2f} either way",
        f"of {check.FEW} pieces and more",
    ):
        assert words in " ".join(REFINED.split())
    assert (pairs.OVERLAP, pairs.PARTNERS, pairs.OF_MANY) == (1 / 20, 4, 2)
    assert 24 <= fusion.IN_REACH[1] <= 60, "some dozens of pixels"


@pytest.fixture(scope="module")
def houses():
    """The floors that test_imports.py holds the code to, from the ground up."""
    tree = ast.parse((ROOT / "test" / "test_imports.py").read_text())
    value = next(node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "HOUSES")
    return ast.literal_eval(value)


def test_the_picture_shows_the_floors(houses):
    svg = "{http://www.w3.org/2000/svg}"
    groups = list(ElementTree.parse(DOCS / "floors.svg").getroot().iter(f"{svg}g"))
    drawn = {g.get("id"): [text.text for text in g.iter(f"{svg}text") if text.get("class") == "name"] for g in groups}
    rooms = {name: int(floor.removeprefix("floor-")) for floor, names in drawn.items() for name in names}
    assert rooms.pop("training") == max(rooms.values())
    floors = houses["da3_ros"]
    assert sorted(name for names in drawn.values() for name in names) == sorted({"training"}.union(*floors))
    order = [{rooms[name] for name in floor} for floor in floors]
    assert all(len(heights) == 1 for heights in order), "packages of one floor stand side by side"
    assert [min(heights) for heights in order] == sorted(min(heights) for heights in order)


@pytest.mark.parametrize(
    ("house", "folder"), [("da3_ros.bag", "da3_ros/bag"), ("da3_training", "training/da3_training")]
)
def test_the_tables_of_wings_are_the_floors(houses, house, folder):
    text = (DOCS / "architecture.md").read_text()
    rows = re.findall(rf"^\| ((?:`{folder}/\w+(?:\.py)?`(?:, )?)+) \|", text, re.MULTILINE)
    told = [{Path(path).stem for path in re.findall("`(.*?)`", row)} for row in rows]
    assert told == [floor for floor in reversed(houses[house]) if floor != {"__main__"}]


def mkdocs(folder, *options):
    """A strict build of the site whose mkdocs.yml lies in `folder`."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", *options]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


CONFIG = """
site_name: test
theme: {{name: mkdocs, highlightjs: false}}
hooks: [hook.py]
plugins: []
validation: {validation}
"""
HOOK = f"""
import sys
sys.path.insert(0, {str(ROOT / "tools")!r})
import site_pages
site_pages.OUTSIDE, site_pages.API = {{}}, {{}}
from site_pages import on_config, on_files, on_page_markdown
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[fine](bags.md#speed) and [sources](../config/multi_cam.yaml)", ()),
        (
            "[gone](gone.md)\n\n[gone](../config/gone.yaml)\n\n[gone](bags.md#no-such-part)\n\n![gone](gone.png)",
            ("'gone.md'", "'../config/gone.yaml'", "#no-such-part", "'gone.png'"),
        ),
    ],
)
def test_every_broken_link_fails_the_build(settings, tmp_path, text, said):
    pytest.importorskip("mkdocs", reason="make env EXTRAS=docs")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(f"# Page\n\n{text}\n")
    for name in ("bags.md", "report_3d.png"):  # a page, and what it shows
        (tmp_path / "docs" / name).write_bytes((DOCS / name).read_bytes())
    (tmp_path / "hook.py").write_text(HOOK)
    (tmp_path / "mkdocs.yml").write_text(CONFIG.format(validation=settings["validation"]))
    done = mkdocs(tmp_path)
    assert (done.returncode == 0) == (not said), done.stderr
    assert all(words in done.stderr for words in said)
    # Each of them counts, and would have been enough.
    assert (f"Aborted with {len(said)} warnings in strict mode" in done.stdout) == bool(said), done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for module in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(module, reason="make env EXTRAS=docs")
    folder = tmp_path_factory.mktemp("site")
    done = mkdocs(ROOT, "--site-dir", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


def test_pages_load_nothing_from_elsewhere(site):
    elements = r"<(?:script|link|img|iframe|source)\b[^>]*(?:src|href)=\"?(?:https?:)?//[^>]*>"
    pattern = elements + r"|url\([\"']?(?:https?:)?//[^)]*\)"
    pages = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert len(pages) > 20
    assert {path.name: found for path in pages if (found := re.findall(pattern, path.read_text()))} == {}


def test_the_api_shows_everything_that_packages_export(site, site_pages):
    for package in site_pages.API:
        exported = importlib.import_module(f"da3_ros.{package}").__all__
        page = (site / "api" / f"{package}.html").read_text()
        assert [name for name in exported if f'id="da3_ros.{package}.{name}"' not in page] == []
        assert "__post_init__" not in page


def test_the_search_finds_all_kinds_of_pages(site):
    found = {entry["location"] for entry in json.loads((site / "search" / "search_index.json").read_text())["docs"]}
    for place in ("index.html#metres", "bags.html#speed", "changelog.html#forthcoming", "architecture.html#floors"):
        assert place in found
    assert "api/estimation.html#da3_ros.estimation.Estimator.prepare" in found
