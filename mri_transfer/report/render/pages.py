"""How every page is made: from a template beside the others, with its style inlined."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["environment", "png_source", "render_page"]

_TEMPLATES = Path(__file__).with_name("templates")


def render_page(
    template: str,
    *,
    styles: Sequence[str] = ("style.css",),
    script: str | None = None,
    **values: Any,
) -> str:
    """Return a page that carries its style and asks nothing of a network.

    Parameters
    ----------
    template : str
        Its file name.
    styles : sequence of str
        File names of the style sheets, in order.
    script : str, optional
        File name of the one script; the page's policy lets no other run.
    **values
        What the template shows. Text is escaped.

    Returns
    -------
    str
        HTML, the same for the same values.
    """
    style = "\n".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in styles)
    code = "" if script is None else (_TEMPLATES / script).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(code.encode("utf-8")).digest()).decode("ascii")
    return (
        environment()
        .get_template(template)
        .render(style=style, script=code, script_digest=digest, **values)
    )


@functools.cache
def environment(*, finalize: Callable[[Any], Any] | None = None) -> Environment:
    """Return what renders the templates.

    Parameters
    ----------
    finalize : callable, optional
        Escapes each value that is printed; without one values are escaped as HTML.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(_TEMPLATES, encoding="utf-8"),
        autoescape=finalize is None,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def png_source(png: bytes) -> str:
    """Return a PNG file as the address of a picture inside the page."""
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"
