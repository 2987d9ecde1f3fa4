# SPDX-License-Identifier: Apache-2.0
"""What pages are made of: sections, facts, tables, plots side by side, as HTML text."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template

_TEMPLATE = Path(__file__).with_name("report.html")


def page(title: str, body: str) -> str:
    """A whole page that needs nothing else, and may load nothing (its content security policy); body: HTML."""
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(title=escape(title), body=body)


def section(title: str, content: str) -> str:
    """A part of a page under a heading; content: HTML."""
    name = title.partition(",")[0].lower().replace(" ", "-")
    return f'<section id="{name}"><h2>{title}</h2>{content}</section>'


def facts(values: Iterable[tuple[str, str]]) -> str:
    """The first numbers of a page: value and what it is."""
    return '<div class="facts">' + "".join(f"<div><b>{escape(v)}</b>{escape(n)}</div>" for v, n in values) + "</div>"


def html_table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    """A table. Cells are HTML already; numbers: columns that are set to the right."""
    right = set(numbers)

    def line(cells: Sequence[str], tag: str) -> str:
        marks = [' class="n"' if number in right else "" for number in range(len(cells))]
        return "<tr>" + "".join(f"<{tag}{m}>{c}</{tag}>" for c, m in zip(cells, marks, strict=True)) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f'<div class="scroll"><table><thead>{line(header, "th")}</thead><tbody>{body}</tbody></table></div>'


def figures(plots: Sequence[tuple[str, str]]) -> str:
    """Plots (HTML) side by side under their captions; plots: caption and plot of each."""
    cells = [f"<figure><figcaption>{caption}</figcaption>{plot}</figure>" for caption, plot in plots]
    return f'<div class="plots">{"".join(cells)}</div>'


def picture_figure(picture: Path, caption: str) -> str:
    """A picture (a JPEG file), held by the page itself, over its caption (text)."""
    data = base64.b64encode(picture.read_bytes()).decode()
    words = escape(caption)
    return f'<figure><img alt="{words}" src="data:image/jpeg;base64,{data}"><figcaption>{words}</figcaption></figure>'
