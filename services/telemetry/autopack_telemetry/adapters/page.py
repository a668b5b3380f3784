"""The report as one HTML page, from the template in ``data/``."""

from __future__ import annotations

from functools import cache

import jinja2
from markupsafe import Markup

from autopack_telemetry.core.compare.analysis import Comparison
from autopack_telemetry.core.compare.plots import cumulative_plot, pairs_plot
from autopack_telemetry.core.compare.report import Plot, Table, report_of

__all__ = ["html_page"]

WIDE = 24
"""Letters from which a word, or a cell of a column of numbers, is broken wherever the line ends: a list of ids."""

_PLOTS = {"pairs": pairs_plot, "cumulative": cumulative_plot}


def html_page(result: Comparison, version: str, now: int) -> str:
    """The page: styles and pictures are in it, scripts and anything from elsewhere are not.

    Args:
        version: of the program.
        now: microseconds since 1970.
    """

    def picture(plot: Plot) -> Markup:
        return Markup(_PLOTS[plot.kind](result))  # noqa: S704 (drawn here, every text in it escaped)

    report = report_of(result, version, now)
    return _template().render(report=report, picture=picture)


def _is_wide(cell: str, text: bool) -> bool:
    """Whether a cell may be broken anywhere. Numbers may not, and words need not."""
    return any(len(part) > WIDE for part in (cell.split() if text else [cell]))


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("autopack_telemetry", "data"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["wide"] = _is_wide
    environment.tests["table"] = lambda item: isinstance(item, Table)
    environment.tests["plot"] = lambda item: isinstance(item, Plot)
    return environment.get_template("comparison.html.jinja")
