"""Our page in the dashboard of the scheduler that runs a study: how it gets there, and where people find it."""

from typing import TYPE_CHECKING

from biasvar.execution.settings import is_on

if TYPE_CHECKING:
    from distributed import Client


def add_page(client: "Client") -> str:
    """Add the page to a scheduler's dashboard, and say where people should look.

    Returns
    -------
    str
        The address of the page; of Dask's own where ours is switched off or cannot be; a line about bokeh where there
        is no dashboard at all.
    """
    from biasvar.execution.live_page import PATH, TROUBLE, LivePage

    link = str(client.dashboard_link)
    if not is_on("dashboard-page"):
        return link
    try:
        client.register_plugin(LivePage())
        trouble = client.get_events(TROUBLE) or ()
    # A scheduler that has no biasvar, or another version: Dask's own page is there all the same.
    except Exception:
        return link
    if not trouble:
        return link.replace("/status", PATH)
    why = trouble[-1][1]["error"]
    return f"{link} (needs bokeh on the scheduler: pip install 'biasvar[cluster]')" if "bokeh" in why else link
