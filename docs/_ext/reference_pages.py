"""Write the pages on settings, commands and errors from the code that they describe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the pages with Sphinx."""
    app.connect("builder-inited", _write_pages)
    return {"parallel_read_safe": True}


def _write_pages(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "reference"
    for name, lines in (("settings", _settings()), ("commands", _commands())):
        text = "\n".join(lines) + "\n"
        page = folder / f"{name}.md"
        # A page that did not change is not built again.
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def _settings() -> Iterator[str]:
    from pipelines.config_help import described_settings

    yield from (
        "# Settings",
        "",
        "A configuration is a TOML file with these sections. `--config FILE` takes a file, and",
        "`--set section.key=value` one setting. A key that does not exist is refused.",
    )
    title = ""
    for settings in described_settings().values():
        for setting in settings:
            section = setting.name.rpartition(".")[0] or "Top level"
            if section != title:
                title = section
                yield from ("", f"## {title}", "")
                yield from ("| setting | default | takes | meaning |", "|---|---|---|---|")
            head = f" (`heads.kind = {setting.kind}`)" if setting.kind else ""
            default = _code(setting.default) if setting.default else "unset"
            yield (
                f"| `{setting.name}`{head} | {default} | {_cell(setting.values)} "
                f"| {_cell(setting.description)} |"
            )


def _commands() -> Iterator[str]:
    from pipelines.commands import bids
    from pipelines.commands.cli import app

    yield from ("# Commands", "", "`mri-transfer COMMAND --help` shows the same in a terminal.")
    root = typer.main.get_command(app)
    yield from _command("mri-transfer", root, level=1)
    yield from _command("mri-transfer-bids", typer.main.get_command(bids.app), level=2)


def _command(path: str, command: Any, *, level: int) -> Iterator[str]:
    if level > 1:
        yield from ("", f"{'#' * level} {path}", "", _cell(command.help or ""))
        rows = [row for parameter in command.params if (row := _parameter(parameter))]
        if rows:
            yield from ("", "| option | meaning |", "|---|---|", *rows)
    for name, inner in getattr(command, "commands", {}).items():
        yield from _command(f"{path} {name}", inner, level=level + 1)


def _parameter(parameter: Any) -> str | None:
    if "--help" in parameter.opts:
        return None
    if parameter.param_type_name == "argument":
        shown = _code(parameter.metavar or parameter.name.upper())
    else:
        shown = ", ".join(_code(name) for name in (*parameter.opts, *parameter.secondary_opts))
    required = "Required. " if parameter.required else ""
    return f"| {shown} | {required}{_cell(getattr(parameter, 'help', None) or '')} |"


def _cell(text: str) -> str:
    """Return text for a table's cell."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;").strip()


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")
