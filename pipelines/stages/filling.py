"""Fill the cache with what is a function of one scan, wherever the executor says."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

from pipelines.elsewhere import elsewhere
from pipelines.pool import map_scans
from pipelines.stage import Context

__all__ = ["fill_cache"]

Scan: TypeAlias = dict[str, str]
#: Puts what belongs to one scan into the cache, unless it is there already: a batch that was
#: interrupted may have done it. A module-level function, so that other machines can import it.
Fill: TypeAlias = Callable[[Context, Scan], None]


def fill_cache(context: Context, fill: Fill, scans: Sequence[Scan], *, what: str) -> None:
    """Work on scans in threads, here or on other machines.

    Parameters
    ----------
    context : Context
    fill : callable
    scans : sequence of dict
        Those of which the cache lacks something.
    what : str
        What is done, for the reporter.
    """
    done = context.executor().map(partial(_batch, fill, elsewhere(context)), scans)
    for _ in context.reporter.track(done, total=len(scans), what=what):
        pass


def _batch(
    fill: Fill, context: Context, scans: Sequence[Scan], cores: int | None
) -> Iterator[None]:
    return map_scans(partial(fill, context), scans, jobs=cores)
