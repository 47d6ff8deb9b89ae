"""Write the pages on settings, commands and errors from the code that they describe."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit
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
    from mri_transfer.models.heads import HEADS
    from pipelines.config import RunConfig

    config = RunConfig()
    yield from (
        "# Settings",
        "",
        "A configuration is a TOML file with these sections. `--config FILE` takes a file, and",
        "`--set section.key=value` one setting. A key that does not exist is refused.",
    )
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    plain = [name for name, value in values.items() if not dataclasses.is_dataclass(value)]
    yield from _section("Top level", config, plain, prefix="")
    for name, value in values.items():
        if name == "heads":
            for kind in HEADS:
                spec = HEADS[kind].spec()
                yield from _section(f"heads: {kind}", spec, _names(spec), prefix="heads.")
        elif dataclasses.is_dataclass(value):
            yield from _section(name, value, _names(value), prefix=f"{name}.")


def _names(spec: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(spec)]


def _section(title: str, spec: Any, names: list[str], *, prefix: str) -> Iterator[str]:
    yield from ("", f"## {title}", "", _first_sentence(type(spec).__doc__), "")
    yield from ("| setting | default | meaning |", "|---|---|---|")
    hints = typing.get_type_hints(type(spec))
    for name in names:
        value = getattr(spec, name)
        shown = "not set" if value is None else _code(tomlkit.item(_listed(value)).as_string())
        meaning = type(spec).__pydantic_fields__[name].description or ""
        choices = _choices(hints[name])
        if choices:
            meaning = f"One of {', '.join(_code(str(choice)) for choice in choices)}. {meaning}"
        yield f"| `{prefix}{name}` | {shown} | {_cell(meaning)} |"


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _choices(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) is typing.Literal:
        return typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return tuple(one for part in typing.get_args(hint) for one in _choices(part))
    return ()


def _commands() -> Iterator[str]:
    from pipelines.commands.cli import app

    yield from ("# Commands", "", "`mri-transfer COMMAND --help` shows the same in a terminal.")
    root = typer.main.get_command(app)
    yield from _command("mri-transfer", root, level=1)


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


def _first_sentence(text: str | None) -> str:
    return _cell((text or "").strip().split("\n\n")[0])


def _cell(text: str) -> str:
    """Return text for a table's cell."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;").strip()


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|")
