"""The server: a bounded number of connections, with a time limit for idle ones."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections.abc import Callable

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipelines.serve.limits import ServiceSpec

__all__ = ["make_server"]

#: Time limit for running requests when the service stops.
_FAREWELL_S = 10
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\n"
    b"connection: close\r\ncontent-length: 0\r\n\r\n"
)


def make_server(
    app: object,
    spec: ServiceSpec,
    *,
    host: str,
    port: int,
    listening: Callable[[str], None] = lambda _url: None,
) -> uvicorn.Server:
    """Return the server of an application, not yet started.

    Parameters
    ----------
    app : ASGI application
    spec : ServiceSpec
    host : str
    port : int
        0: any free port.
    listening : callable
        Called once with the URL, when the service answers.
    """
    return _Server(
        listening,
        uvicorn.Config(
            app,  # type: ignore[arg-type]
            host=host,
            port=port,
            http=functools.partial(_Connection, spec),  # type: ignore[arg-type]
            access_log=False,
            log_level="warning",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_FAREWELL_S,
            ws="none",
        ),
    )


class _Server(uvicorn.Server):
    """A server that says where it can be reached as soon as it can."""

    def __init__(self, listening: Callable[[str], None], config: uvicorn.Config) -> None:
        super().__init__(config)
        self._listening = listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            bound = self.servers[0].sockets[0].getsockname()
            self._listening(f"http://{_in_url(self.config.host)}:{bound[1]}/")


def _in_url(host: str) -> str:
    """Return a host as part of a URL that a browser on this machine can open."""
    if host in ("0.0.0.0", "::", ""):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


class _Connection(H11Protocol):
    """A connection that is closed if there are too many, or if no request arrives in time.

    Uvicorn itself waits forever for the first byte and for the end of the headers.
    """

    def __init__(self, spec: ServiceSpec, /, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self._spec = spec
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._spec.connections:
            transport.write(_FULL)
            transport.close()
        else:
            self._expect_request()

    def on_response_complete(self) -> None:
        self._expect_request()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def _expect_request(self) -> None:
        """Start the time limit for a request's headers; its body has a separate limit."""
        self._stop_timer()
        self._timer = self.loop.call_later(self._spec.headers_s, self._end_if_idle)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _end_if_idle(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()
