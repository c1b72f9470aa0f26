"""HTML and SVG as text, with everything escaped that is not markup already."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

EMPTY_ELEMENTS = frozenset({"meta", "rect", "line", "circle", "path", "polygon"})


class Markup(str):
    """Text that is markup and is not escaped again."""

    __slots__ = ()


Content = str | int | Iterable["Content"]


def element(name: str, /, *content: Content, **attributes: str | float) -> Markup:
    """One element; ``class_`` becomes class and ``text_anchor`` text-anchor. Strings inside are escaped."""
    words = [name]
    for key, value in attributes.items():
        shown = f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
        words.append(f'{key.rstrip("_").replace("_", "-")}="{escape(shown)}"')
    opening = " ".join(words)
    if name in EMPTY_ELEMENTS:
        return Markup(f"<{opening}/>")
    return Markup(f"<{opening}>{_inside(content)}</{name}>")


def _inside(content: Content) -> str:
    if isinstance(content, Markup):
        return content
    if isinstance(content, str | int):
        return escape(str(content), quote=False)
    return "".join(map(_inside, content))
