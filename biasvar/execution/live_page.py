"""The page ``/biasvar`` in Dask's dashboard: estimates, standard errors as they fall, and how much is done.

It is added to a scheduler that runs already, by a plug-in from the client: no preload, on any cluster.
"""

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from distributed.diagnostics.plugin import SchedulerPlugin

from biasvar.execution.live import TOPIC, Snapshot
from biasvar.notation import with_error

if TYPE_CHECKING:
    from bokeh.document import Document
    from distributed import Scheduler

TROUBLE, PATH = "biasvar-page", "/biasvar"
REFRESH_MS = 2000  # what a browser costs the scheduler: ten to twenty milliseconds each time
DIGITS = ("#00204d", "#31446b", "#666970", "#958f78", "#cbba69", "#ffea46")  # cividis: the brighter, the more are known
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


class LivePage(SchedulerPlugin):
    """Adds the page to a scheduler, once however often it is registered."""

    name, idempotent = "biasvar-page", True

    async def start(self, scheduler: "Scheduler") -> None:
        """Add the page; why it cannot be, if it cannot, becomes an event."""
        try:
            _install(scheduler)
        # No bokeh, or another version of distributed: a page that does not come must never end a run.
        except Exception as error:
            scheduler.log_event(TROUBLE, {"error": f"{type(error).__name__}: {error}"})


def _install(scheduler: "Scheduler") -> None:
    import distributed.dashboard.scheduler as dashboard
    from distributed.dashboard.core import BokehApplication
    from tornado.ioloop import IOLoop

    routes = scheduler.http_application
    if any(PATH in getattr(app, "app_paths", ()) for app in routes.applications):
        return
    # These words are those of every page's navigation bar: the list is made once, and shared.
    words = dashboard.template_variables(scheduler)
    if PATH.strip("/") not in words["pages"]:
        words["pages"].insert(1, PATH.strip("/"))
    app = BokehApplication({PATH: _page}, scheduler, prefix="", template_variables=words)
    routes.add_application(app)
    app.initialize(IOLoop.current())
    app.start()


def _page(scheduler: "Scheduler", extra: Mapping[str, str], doc: "Document") -> None:
    """Lay the page out, once per browser tab."""
    from distributed.dashboard.components import add_periodic_callback
    from distributed.dashboard.components.scheduler import BOKEH_THEME, env

    shown = Page(scheduler)
    shown.update()
    add_periodic_callback(doc, shown, REFRESH_MS)
    doc.add_root(shown.root)
    doc.title = "Dask: biasvar"
    doc.theme = BOKEH_THEME
    doc.template = env.get_template("simple.html")
    doc.template_variables.update(extra)


class Page:
    """What one browser tab shows: a head, a table of estimates, the standard errors, bars of what is done."""

    def __init__(self, scheduler: "Scheduler") -> None:
        from bokeh.layouts import column, row
        from bokeh.models.widgets import Div

        self._scheduler = scheduler
        self._seen: float | None = None
        self._head = Div(
            sizing_mode="stretch_width",
            styles={"font-size": "15px", "font-family": "sans-serif"},
            stylesheets=[".bk-clearfix { width: 100% }"],
        )
        self._estimates, self._errors, self._done = Estimates(), Errors(), Done()
        self.root = column(
            self._head,
            row(self._estimates.figure, self._errors.figure, sizing_mode="stretch_width"),
            self._done.figure,
            sizing_mode="stretch_width",
            styles={"padding": "8px 16px", "background": "white"},
        )

    def update(self) -> None:
        """Show the last snapshot, if it is new."""
        events = list(self._scheduler.get_events(TOPIC))
        if not events:
            self._head.text = "No study has run on this scheduler yet."
            return
        stamp, now = events[-1]
        if stamp == self._seen:
            return
        self._seen = stamp
        history = [event for _, event in events if (event["study"], event["store"]) == (now["study"], now["store"])]
        self._head.text = head(now, len(self._scheduler.workers))
        self._estimates.show(now)
        self._errors.show(now, history)
        self._errors.figure.height = self._estimates.figure.height
        self._done.show(now)


def head(now: Snapshot, workers: int) -> str:
    """Return the first line of the page and the bar below it, as HTML."""
    share = now["done"] / max(now["total"], 1)
    left = "" if now["left"] is None or now["stage"] == "done" else f", about {now['left']:.0f} s left"
    parts = [
        f"{now['done']} of {now['total']} chunks ({share:.0%})",
        f"{escape(now['stage'])} for {now['seconds']:.0f} s{left}" if now["stage"] != "done" else "done",
        f"{workers} workers" if workers != 1 else "1 worker",
        escape(now["least_known"]),
    ]
    spans = "".join(f"<span>{part}</span>" for part in parts)
    return (
        "<div style='display:flex;gap:28px;align-items:baseline;flex-wrap:wrap'>"
        f"<b style='font-size:20px'>{escape(now['study'])}</b>{spans}"
        f"<span style='color:#555'>{escape(now['store'])}</span></div>"
        "<div style='background:#e6e6e6;height:8px;border-radius:4px;margin:6px 0 2px'>"
        f"<div style='background:#0072B2;height:8px;border-radius:4px;width:{share:.1%}'></div></div>"
    )


class Estimates:
    """A table of the estimates so far, coloured by how many digits are known."""

    def __init__(self) -> None:
        from bokeh.models import ColumnDataSource, HoverTool

        self._cells = ColumnDataSource({name: [] for name in ("x", "y", "text", "fill", "ink", "tip")})
        self.figure = figure = _figure(x_range=[], y_range=[], tools="", toolbar_location=None, x_axis_location="above")
        figure.rect("x", "y", 0.98, 0.94, fill_color="fill", line_color=None, source=self._cells)
        centred = {"text_align": "center", "text_baseline": "middle", "text_font_size": "12px"}
        figure.text("x", "y", "text", text_color="ink", source=self._cells, **centred)
        figure.add_tools(HoverTool(tooltips="@tip"))
        figure.grid.visible = False
        figure.axis.major_tick_line_color = figure.axis.axis_line_color = figure.outline_line_color = None

    def show(self, now: Snapshot) -> None:
        """Show a snapshot."""
        problems = [problem for problem, _, _ in now["blocks"]]
        rows = sorted({cell for _, cell, *_ in now["cells"]}, key=_natural)[::-1]
        self.figure.title.text = f"So far: {now['headline']}; brighter: better known"
        if (self.figure.x_range.factors, self.figure.y_range.factors) != (problems, rows):
            self.figure.x_range.factors, self.figure.y_range.factors = problems, rows
            self.figure.height = max(260, 60 + 34 * len(rows))
        known = [known_digits(mean, error) for *_, mean, error in now["cells"]]
        self._cells.data = {
            "x": [cell[0] for cell in now["cells"]],
            "y": [cell[1] for cell in now["cells"]],
            "text": [written(mean, error) for *_, mean, error in now["cells"]],
            "fill": [DIGITS[digits] for digits in known],
            "ink": ["white" if digits < 3 else "black" for digits in known],
            "tip": [f"{problem} {cell}: after {blocks} blocks" for problem, cell, blocks, *_ in now["cells"]],
        }


class Errors:
    """Standard errors against what was drawn, a line for each cell."""

    def __init__(self) -> None:
        from bokeh.models import ColumnDataSource, HoverTool, LogTicker, PrintfTickFormatter

        self._lines = ColumnDataSource({name: [] for name in ("xs", "ys", "color", "cell", "now")})
        self._ends = ColumnDataSource({name: [] for name in ("x", "y", "color", "cell", "now")})
        self._rate, self._goal = ColumnDataSource({"x": [], "y": []}), ColumnDataSource({"x": [], "y": []})
        self.figure = figure = _figure(
            title="Standard errors, a line per cell; dashed: 1/√n, dotted: the goal",
            x_axis_type="log",
            y_axis_type="log",
            tools="reset,save",
            x_axis_label="replicates drawn",
            y_axis_label="standard error",
        )
        # Within a decade Bokeh would label every tenth of it.
        figure.axis.ticker = LogTicker(mantissas=[1, 2, 5], desired_num_ticks=5)
        figure.yaxis.formatter = PrintfTickFormatter(format="%g")
        lines = figure.multi_line("xs", "ys", color="color", line_width=2, alpha=0.85, source=self._lines)
        ends = figure.scatter("x", "y", color="color", size=7, source=self._ends)
        figure.add_tools(HoverTool(renderers=[lines, ends], tooltips=[("cell", "@cell"), ("now", "@now")]))
        figure.line("x", "y", color="#444444", line_dash="dashed", line_width=1.5, source=self._rate)
        figure.line("x", "y", color="#444444", line_dash="dotted", line_width=1.5, source=self._goal)

    def show(self, now: Snapshot, history: Sequence[Snapshot]) -> None:
        """Show how the errors came down to those of a snapshot."""
        paths = falling(history)
        problems = [problem for problem, _, _ in now["blocks"]]
        texts = {(problem, cell): written(mean, error) for problem, cell, _, mean, error in now["cells"]}
        named = {
            "color": [LINES[problems.index(problem) % len(LINES)] for problem, _ in paths],
            "cell": [" ".join(path) for path in paths],
            "now": [texts.get(path, "") for path in paths],
        }
        xs, ys = [x for x, _ in paths.values()], [y for _, y in paths.values()]
        self._lines.data = {"xs": xs, "ys": ys, **named}
        self._ends.data = {"x": [x[-1] for x in xs], "y": [y[-1] for y in ys], **named}
        if not paths:
            return
        first, last = min(x[0] for x in xs), max(x[-1] for x in xs)
        last, top = max(last, 2 * first), max(y[0] for y in ys)
        self._rate.data = {"x": [first, last], "y": [top, top * math.sqrt(first / last)]}
        self._goal.data = {"x": [first, last], "y": [now["goal"]] * 2} if now["goal"] else {"x": [], "y": []}


class Done:
    """A bar for each problem, in the colour of its lines."""

    def __init__(self) -> None:
        from bokeh.models import ColumnDataSource

        self._bars = ColumnDataSource({name: [] for name in ("y", "right", "text", "color")})
        title = "Done; these colours are also those of the lines"
        self.figure = figure = _figure(title=title, y_range=[], x_range=(0, 1.25), tools="", toolbar_location=None)
        figure.hbar("y", 0.75, right=1, fill_color="#e6e6e6", line_color=None, source=self._bars)
        figure.hbar("y", 0.75, right="right", fill_color="color", line_color=None, source=self._bars)
        beside = {"x_offset": 8, "text_align": "left", "text_baseline": "middle", "text_font_size": "12px"}
        figure.text(x=1.0, y="y", text="text", source=self._bars, **beside)
        figure.xaxis.visible = figure.grid.visible = False
        figure.yaxis.major_tick_line_color = None

    def show(self, now: Snapshot) -> None:
        """Show a snapshot."""
        problems = [problem for problem, _, _ in now["blocks"]]
        if self.figure.y_range.factors != problems[::-1]:
            self.figure.y_range.factors = problems[::-1]
            self.figure.height = 44 + 26 * len(problems)
        self._bars.data = {
            "y": problems,
            "right": [min(1, done / planned) for _, done, planned in now["blocks"]],
            "color": [LINES[i % len(LINES)] for i in range(len(problems))],
            "text": [f"{done * now['unit']:,} of {planned * now['unit']:,}" for _, done, planned in now["blocks"]],
        }


def falling(history: Sequence[Snapshot]) -> dict[tuple[str, str], tuple[list[int], list[float]]]:
    """Return, for each cell, replicates drawn and the standard errors that were known then."""
    paths: dict[tuple[str, str], tuple[list[int], list[float]]] = {}
    for event in history:
        for problem, cell, blocks, _, error in event["cells"]:
            if error:
                drawn, errors = paths.setdefault((problem, cell), ([], []))
                if not drawn or drawn[-1] != blocks * event["unit"]:
                    drawn.append(blocks * event["unit"])
                    errors.append(error)
    return paths


def known_digits(mean: float | None, error: float | None) -> int:
    """Return how many digits of a number are known, from 0 to 5.

    Examples
    --------
    >>> known_digits(0.25, 0.01), known_digits(0.25, 1e-9), known_digits(0.25, None)
    (1, 5, 0)
    """
    if mean is None or error is None or mean == 0:
        return 0
    return 5 if error == 0 else max(0, min(5, int(-math.log10(error / abs(mean)))))


def written(mean: float | None, error: float | None) -> str:
    """Write an estimate as tables do, or a dash while there is none."""
    return "-" if mean is None else with_error(mean, math.nan if error is None else error)


def _natural(text: str) -> list[tuple[bool, int, str]]:
    """Order labels as people do, H2 before H10."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", text)]


def _figure(**settings: Any) -> Any:
    from bokeh.plotting import figure

    found: Any = figure(height=380, sizing_mode="stretch_width", **{"title": ""} | settings)
    found.title.text_font_size = "14px"
    found.axis.major_label_text_font_size = found.axis.axis_label_text_font_size = "12px"
    found.axis.axis_label_text_font_style = "normal"
    return found
