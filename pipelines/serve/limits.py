"""Limits: what the service takes, how long it works on it, and whom it answers."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT
from mri_transfer.errors import ConfigurationError

__all__ = ["LOOPBACK_NAMES", "ServiceSpec", "allowed_hosts", "demand_token", "read_token"]

#: What a browser on the same machine calls the service.
LOOPBACK_NAMES = ("127.0.0.1", "::1", "localhost")
_MIN_TOKEN = 20
_MAX_TOKEN = 1000


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ServiceSpec:
    """Limits of the service."""

    max_megabytes: int = Field(default=200, ge=1, le=10_000)
    """Largest request, in 10^6 bytes."""
    max_unpacked_megabytes: int = Field(default=400, ge=1, le=10_000)
    """Largest size of a scan's voxels after unpacking, in 10^6 bytes."""
    timeout_s: int = Field(default=120, ge=1, le=3600)
    """Longest time for an upload, and for the work on one scan; a worker that takes longer is
    stopped and replaced."""
    places: int = Field(default=8, ge=1, le=1000)
    """Requests in the house at a time: one is worked on, the others wait or arrive."""
    connections: int = Field(default=100, ge=1, le=10_000)
    """Connections at a time; further ones are closed at once."""
    headers_s: float = Field(default=10, gt=0, le=3600)
    """Longest time for a request to begin and for its headers to arrive."""


def read_token(path: Path) -> str:
    """Return the token that a file holds: one line of 20 characters or more.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, or holds no such line.
    """
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it holds something else than plain letters"
        raise ConfigurationError(
            "the token cannot be read", where=str(path), found=reason
        ) from error
    if not _MIN_TOKEN <= len(token) <= _MAX_TOKEN or not token.isprintable() or " " in token:
        raise ConfigurationError(
            "not a token",
            where=str(path),
            found=f"{len(token)} characters",
            expected=f"one line of {_MIN_TOKEN} characters or more, without blanks",
            remedy="Make one with: python -c 'import secrets; print(secrets.token_urlsafe())'",
        )
    return token


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.casefold() == "localhost"


def demand_token(host: str, token: str | None) -> None:
    """Refuse to serve other machines without a token.

    Raises
    ------
    ConfigurationError
        If `host` is more than this machine and there is no token.
    """
    if token is None and not _is_loopback(host):
        raise ConfigurationError(
            "a token is needed where other machines can reach the service",
            where="--host",
            found=host,
            expected="127.0.0.1, or a file with a token",
            remedy="Name the file with --token-file",
        )


def allowed_hosts(host: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names under which the service answers; none if it answers under any.

    A page elsewhere can make a name of its own point at this machine and so have a visitor's
    browser talk to the service as if it belonged to that page. The Host header shows that.

    Parameters
    ----------
    host : str
        Address that is listened on.
    names : tuple of str
        Names the operator gave.
    """
    if names:
        return tuple(dict.fromkeys(name.casefold() for name in (*names, *LOOPBACK_NAMES)))
    if _is_loopback(host):
        return tuple(dict.fromkeys((host.casefold(), *LOOPBACK_NAMES)))
    # All addresses of the machine, whose names are not known here: the token protects it.
    return ()
