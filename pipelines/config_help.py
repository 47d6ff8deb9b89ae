"""What each setting of a run means, which values it takes and what it is by default."""

from __future__ import annotations

import dataclasses
import textwrap
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

from mri_transfer.core.specs import suggestion
from mri_transfer.errors import ConfigurationError
from mri_transfer.models.heads import HEAD_KINDS, HEADS
from pipelines.config import RunConfig

__all__ = ["described_settings", "explain_setting"]

#: Signs of the bounds in pydantic's metadata.
_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
_WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
_WIDTH = 96


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting of the configuration.

    Attributes
    ----------
    name : str
        `section.key`, as for `--set`.
    values : str
        The values that it takes, in words.
    default : str
        As in a TOML file; empty if it is unset.
    description : str
    kind : str
        The kind of head that has it; empty for settings of every run.
    """

    name: str
    values: str
    default: str
    description: str
    kind: str = ""

    def lines(self) -> list[str]:
        """Return the setting with its explanation, as lines of text."""
        where = f", with heads.kind = {self.kind}" if self.kind else ""
        return [
            f"{self.name} = {self.default or '(unset)'}",
            f"    takes {self.values}{where}",
            *textwrap.wrap(
                " ".join(self.description.split()),
                width=_WIDTH,
                initial_indent="    ",
                subsequent_indent="    ",
            ),
        ]


def described_settings() -> dict[str, tuple[Setting, ...]]:
    """Return every setting by its name, in the order of the configuration.

    Settings of several kinds of head share a name; each kind has an own entry.
    """
    found: dict[str, list[Setting]] = {}
    for setting in _settings():
        found.setdefault(setting.name, []).append(setting)
    return {name: tuple(settings) for name, settings in found.items()}


def explain_setting(name: str) -> list[str]:
    """Return lines that explain a setting, or all settings of a section.

    Raises
    ------
    ConfigurationError
        If there is no such setting or section.
    """
    known = described_settings()
    wanted = [name] if name in known else [key for key in known if key.startswith(f"{name}.")]
    if not wanted:
        leaves = [key for key in known if key.rpartition(".")[2] == name]
        near = f"Did you mean {' or '.join(leaves)}?" if leaves else suggestion(name, known).strip()
        raise ConfigurationError(
            "no such setting",
            where="--explain",
            found=name,
            remedy=near or "`mri-transfer config --list` shows all settings",
        )
    return [line for key in wanted for setting in known[key] for line in setting.lines()]


def _settings() -> Iterator[Setting]:
    default = RunConfig()
    for field in dataclasses.fields(RunConfig):
        value = getattr(default, field.name)
        if field.name == "heads":
            yield from _of_heads()
        elif dataclasses.is_dataclass(value):
            yield from _of_spec(field.name, value)
        else:
            yield _setting(field.name, default, field.name)


def _of_spec(section: str, spec: Any) -> Iterator[Setting]:
    for field in dataclasses.fields(spec):
        yield _setting(f"{section}.{field.name}", spec, field.name)


def _of_heads() -> Iterator[Setting]:
    yield Setting(
        name="heads.kind",
        values=_values(Literal[HEAD_KINDS]),
        default=_toml(RunConfig().heads.kind),
        description="; ".join(f"`{kind}`: {entry.title}" for kind, entry in HEADS.items()),
    )
    for kind, entry in HEADS.items():
        spec = entry.spec()
        for field in dataclasses.fields(spec):
            if field.name != "kind":
                yield _setting(f"heads.{field.name}", spec, field.name, kind=kind)


def _setting(name: str, spec: Any, key: str, *, kind: str = "") -> Setting:
    field = type(spec).__pydantic_fields__[key]
    bounds = [
        f"{sign} {getattr(one, bound):g}"
        for one in field.metadata
        for bound, sign in _BOUNDS.items()
        if getattr(one, bound, None) is not None
    ]
    return Setting(
        name=name,
        values=" ".join([_values(field.annotation), " and ".join(bounds)]).strip(),
        default=_toml(getattr(spec, key)),
        description=field.description or "",
        kind=kind,
    )


def _values(annotation: Any) -> str:
    """Return the values of a type, in words."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation in _WORDS:
        return _WORDS[annotation]
    if origin is Literal:
        return ", ".join(map(str, inner[:-1])) + (" or " if inner[1:] else "") + str(inner[-1])
    if origin in (Union, types.UnionType):
        return ", or ".join("unset" if one is types.NoneType else _values(one) for one in inner)
    if origin is tuple:
        kinds = [one for one in inner if one is not Ellipsis]
        count = "" if Ellipsis in inner else f" of {len(kinds)}"
        return f"a list{count}, each {_values(kinds[0])}"
    if origin is dict:
        return "a table"
    return getattr(annotation, "__name__", str(annotation))


def _toml(value: Any) -> str:
    import tomlkit

    if value is None:
        return ""
    return str(tomlkit.item(list(value) if isinstance(value, tuple) else value).as_string())
