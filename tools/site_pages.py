# SPDX-License-Identifier: Apache-2.0
"""Hook of mkdocs: pages of the site that do not lie in `docs/`, and links that hold on a git host and in the site.

Nothing is copied: README.md and its like are read where they lie, the changelog is turned from reStructuredText, and a
page of the Python API is a list of modules whose docstrings mkdocstrings fills in. Links of every page are those of its
file in the repository. One to a file that is a page, or a picture in `docs/`, leads there; one to any other file that
exists leads to the sources (`sources_url` in mkdocs.yml), or becomes plain text where that is not set. What does not
exist is left as it is, so that a strict build fails.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor

ROOT = Path(__file__).resolve().parent.parent
DOCS = "docs"

OUTSIDE = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "third-party.md": "THIRD_PARTY.md",
    "da3-nano.md": "models/da3-nano/README.md",
    "training-package.md": "training/README.md",
    "examples.md": "examples/README.md",
    "scene-assets.md": "training/da3_training/scenes/ASSETS.md",
    "changelog.md": "CHANGELOG.rst",
}
"""Page -> file in the repository."""

API = {
    "estimation": ("clouds",),
    "geometry": ("poses", "metrics", "gaussians", "harmonics"),
    "messages": (),
    "sync": (),
    "network": (),
    "engines": (),
}
"""Package of da3_ros -> modules that are shown beside the names it exports itself."""


def source_of(page: str) -> str:
    """File in the repository that a page is made of; the pages of the API have none that exists."""
    return OUTSIDE.get(page, f"{DOCS}/{page}")


def page_of(source: str) -> str:
    """Page or picture of the site that a file in the repository becomes; empty for none."""
    for page, file in OUTSIDE.items():
        if file == source:
            return page
    return source.removeprefix(f"{DOCS}/") if source.startswith(f"{DOCS}/") else ""


def rewrite(link: str, page: str, files: Collection[str], sources_url: str = "", root: Path = ROOT) -> str | None:
    """Link of a page's source -> link in the site; None where plain text has to do.

    page: the page that holds it; files: pages and pictures of the site; root: the repository.
    """
    path, mark, anchor = link.partition("#")
    if not path or re.match(r"[a-z][a-z+.-]*:|/", path, re.IGNORECASE):
        return link
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source_of(page)), path))
    found = page_of(target)
    if found in files:
        return posixpath.relpath(found, posixpath.dirname(page) or ".") + mark + anchor
    if target.startswith("..") or not (root / target).exists():
        return link
    return f"{sources_url.rstrip('/')}/blob/HEAD/{target}{mark}{anchor}" if sources_url else None


def markdown_of_rst(text: str) -> str:
    """The little reStructuredText that a ROS changelog has: titles with lines below (and above), lists, literals."""
    lines, out = text.splitlines(), list[str]()
    for above, line, below in zip(["", *lines], lines, [*lines[1:], ""], strict=False):
        if _is_rule(line):
            continue
        if _is_rule(below) and line.strip():
            out.append(f"{'#' if _is_rule(above) else '##'} {line.strip()}")
        else:
            out.append(line)
    return "\n".join(out) + "\n"


def _is_rule(line: str) -> bool:
    return len(line) > 3 and len(set(line)) == 1 and line[0] in "^-=~"


def api_page(package: str) -> str:
    """Markdown of the page of a package of da3_ros."""
    modules = [f"da3_ros.{package}", *(f"da3_ros.{package}.{module}" for module in API[package])]
    head, *rest = [f"::: {module}\n" for module in modules]
    parts = [f"# `{modules[0]}`\n", head]
    for module, body in zip(modules[1:], rest, strict=True):
        parts += [f"## `{module}`\n", f"{body}    options:\n      heading_level: 3\n"]
    return "\n".join(parts)


class Links(Extension):
    """Rewrites the links of pages once their Markdown is parsed, so that code is never touched."""

    def __init__(self, change: Callable[[str], str | None]) -> None:
        """change: link -> the one in the site, or None for plain text."""
        super().__init__()
        self._change = change

    def extendMarkdown(self, md: Markdown) -> None:
        """Work after the inline patterns (20), before mkdocs's own look at links (0)."""
        md.treeprocessors.register(_Rewriter(md, self._change), "da3_links", 10)


class _Rewriter(Treeprocessor):
    def __init__(self, md: Markdown, change: Callable[[str], str | None]) -> None:
        super().__init__(md)
        self._change = change

    def run(self, root: Element) -> None:
        for element in root.iter():
            attribute = {"a": "href", "img": "src"}.get(element.tag, "")
            if attribute not in element.attrib:
                continue
            link = self._change(element.attrib[attribute])
            if link is not None:
                element.set(attribute, link)
            elif element.tag == "a":
                element.tag = "span"
                element.attrib.clear()


class _Site:
    """What the hook remembers between the calls of mkdocs."""

    page = ""
    sources_url = ""
    files: frozenset[str] = frozenset()

    @classmethod
    def change(cls, link: str) -> str | None:
        """See `rewrite`."""
        return rewrite(link, cls.page, cls.files, cls.sources_url)


def on_config(config: Any) -> None:
    """mkdocs: the configuration is read."""
    _Site.sources_url = config.extra.get("sources_url") or ""
    config.markdown_extensions.append(Links(_Site.change))


def on_files(files: Any, config: Any) -> None:
    """mkdocs: the files of `docs/` are known; add those from elsewhere."""
    from mkdocs.structure.files import File

    for page, source in OUTSIDE.items():
        path = ROOT / source
        if path.suffix == ".rst":
            files.append(File.generated(config, page, content=markdown_of_rst(path.read_text(encoding="utf-8"))))
        else:
            files.append(File.generated(config, page, abs_src_path=str(path)))
    for package in API:
        files.append(File.generated(config, f"api/{package}.md", content=api_page(package)))
    _Site.files = frozenset(files.src_uris)


def on_page_markdown(markdown: str, page: Any, **_: Any) -> None:
    """mkdocs: a page is about to be parsed."""
    del markdown
    _Site.page = page.file.src_uri
