"""Limits of the service: sizes, times and accepted clients."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from pydantic import Field
from pydantic.dataclasses import dataclass

from mri_transfer.core.specs import STRICT
from mri_transfer.errors import ConfigurationError

__all__ = ["LOOPBACK_NAMES", "ServiceSpec", "allowed_hosts", "demand_token", "read_token"]

#: Host names of the service on the same machine.
LOOPBACK_NAMES = ("127.0.0.1", "::1", "localhost")
_MIN_TOKEN = 20
_MAX_TOKEN = 1000


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ServiceSpec:
    """Limits of the service."""

    max_megabytes: int = Field(default=200, ge=1, le=10_000)
    """Maximum size of a request, in 10^6 bytes."""
    max_unpacked_megabytes: int = Field(default=400, ge=1, le=10_000)
    """Maximum size of a scan's uncompressed voxels, in 10^6 bytes."""
    timeout_s: int = Field(default=120, ge=1, le=3600)
    """Time limit for an upload, and for processing one scan, in seconds; a worker that takes
    longer is stopped and replaced."""
    places: int = Field(default=8, ge=1, le=1000)
    """Maximum number of requests: one is processed, the others are queued or uploading."""
    connections: int = Field(default=100, ge=1, le=10_000)
    """Maximum number of open connections; further ones are closed immediately."""
    headers_s: float = Field(default=10, gt=0, le=3600)
    """Time limit for the headers of a request, in seconds."""


def read_token(path: Path) -> str:
    """Read the token from a file: one line of at least 20 characters.

    Raises
    ------
    ConfigurationError
        If the file cannot be read, or has no such line.
    """
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not ASCII text"
        raise ConfigurationError(
            "the token cannot be read", where=str(path), found=reason
        ) from error
    if not _MIN_TOKEN <= len(token) <= _MAX_TOKEN or not token.isprintable() or " " in token:
        raise ConfigurationError(
            "not a token",
            where=str(path),
            found=f"{len(token)} characters",
            expected=f"one line of at least {_MIN_TOKEN} characters, without spaces",
            remedy="Generate one: python -c 'import secrets; print(secrets.token_urlsafe())'",
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
        If `host` is not a loopback address and there is no token.
    """
    if token is None and not _is_loopback(host):
        raise ConfigurationError(
            "a service that other machines can reach requires a token",
            where="--host",
            found=host,
            expected="127.0.0.1, or a token file",
            remedy="Give the file with --token-file",
        )


def allowed_hosts(host: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the accepted host names; empty if any is accepted.

    Checking the Host header prevents DNS rebinding: a malicious page could point its own domain at
    this machine, so that a visitor's browser treats the service as part of that page.

    Parameters
    ----------
    host : str
        Address to listen on.
    names : tuple of str
        Host names given by the administrator.
    """
    if names:
        return tuple(dict.fromkeys(name.casefold() for name in (*names, *LOOPBACK_NAMES)))
    if _is_loopback(host):
        return tuple(dict.fromkeys((host.casefold(), *LOOPBACK_NAMES)))
    # The machine's host names are unknown here: the token protects the service.
    return ()
