"""HTML in pieces: text is escaped here and nowhere else."""

import base64
import hashlib
import io
from collections.abc import Callable, Iterable, Mapping
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_VECTOR = 300_000  # bytes of an SVG
RASTER_DPI = 100  # of PNG, and of what is a picture within an SVG
NOTHING = "'none'"  # of a policy: no source at all


def element(tag: str, *parts: str, **attributes: str) -> str:
    """Return an element around parts that are HTML already; attributes are text, ``class_`` is ``class``.

    Examples
    --------
    >>> element("p", text("a < b"), class_="flag", title='"')
    '<p class="flag" title="&quot;">a &lt; b</p>'
    """
    named = "".join(f' {name.rstrip("_")}="{escape(value)}"' for name, value in attributes.items())
    return f"<{tag}{named}>{''.join(parts)}</{tag}>"


def text(words: str) -> str:
    """Return words as they are, whatever they hold."""
    return escape(words)


def section(title: str, *parts: str) -> str:
    """Return a part of a page under its title; nothing if it has no parts."""
    filled = [part for part in parts if part]
    return element("section", element("h2", text(title)), *filled) if filled else ""


def pairs(items: Mapping[str, str]) -> str:
    """Return a list of names and what they stand for."""
    return element("dl", *(element("dt", text(name)) + element("dd", text(value)) for name, value in items.items()))


def image(figure: "Figure", words: str) -> str:
    """Return a matplotlib figure as an image within the page, the same bytes for the same figure.

    It is SVG, or PNG where that has so many marks that SVG would be larger than it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    figure.dpi = RASTER_DPI
    # Dates would differ.
    vector = _written(FigureCanvasSVG(figure).print_svg, {"Date": None, "Creator": None})
    if len(vector) <= MOST_VECTOR:
        return _embedded(vector, "image/svg+xml", words)
    # Laid out it is by now, at the 72 dots per inch of SVG.
    figure.set_layout_engine("none")
    figure.dpi = RASTER_DPI
    return _embedded(_written(FigureCanvasAgg(figure).print_png, {"Software": None}), "image/png", words)


def _written(write: Callable[..., Any], metadata: Mapping[str, None]) -> bytes:
    """Return what a canvas writes: `savefig` would draw all of it twice, to lay out first what drawing lays out."""
    from matplotlib import rc_context

    target = io.BytesIO()
    # Names within the file are random unless they are salted.
    with rc_context({"svg.hashsalt": "biasvar"}):
        write(target, metadata=metadata)
    return target.getvalue()


def _embedded(content: bytes, kind: str, words: str) -> str:
    # An image of its own: names within one SVG cannot meet those of another.
    return f'<img alt="{escape(words)}" src="data:{kind};base64,{base64.b64encode(content).decode()}">'


def page(title: str, body: Iterable[str], *, scripts: Iterable[str] = (), styles: Iterable[str] = ()) -> str:
    """Return a whole page that asks for nothing outside itself: its policy allows none, and no script but its own."""
    codes = [_resource(name) for name in scripts]
    digests = (base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in codes)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    sources = f"img-src data:; style-src 'unsafe-inline'; script-src {allowed or NOTHING}"
    policy = f"default-src {NOTHING}; {sources}; base-uri {NOTHING}; form-action {NOTHING}"
    head = (
        '<meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">'
        '<meta name="viewport" content="width=device-width">'
    )
    style = element("style", *(_resource(name) for name in styles))
    code = "".join(element("script", script) for script in codes)
    main = element("main", *body)
    whole = element("head", head, element("title", text(title)), style) + element("body", main, code)
    return f"<!doctype html>\n{element('html', whole, lang='en')}\n"


def data(name: str, json_text: str) -> str:
    """Return JSON that scripts of the page read by its name."""
    # No end tag can stand in it.
    safe = json_text.replace("<", r"\u003c")
    return f'<script type="application/json" id="{escape(name)}">{safe}</script>'


def _resource(name: str) -> str:
    return (files("biasvar.pages") / name).read_text(encoding="utf-8")
