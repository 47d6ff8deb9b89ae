"""Guard: checks of a request before it is read."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.serve.faults import Refusal, refuse

__all__ = ["Guard"]

#: Paths that need no token: health and the page, which contain no patient data.
OPEN_PATHS = frozenset({"/", "/page.css", "/page.js", "/health"})
#: Time for which the rest of a refused request is read and discarded, so that the client gets the
#: response.
_DRAIN_S = 10.0

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Guard:
    """Middleware: checks host, origin, token and size of a request; adds response headers.

    Parameters
    ----------
    app : ASGI application
    token : str or None
        The token that clients must send as ``Authorization: Bearer``.
    hosts : tuple of str
        Accepted host names; empty: any.
    max_bytes : int
        Maximum size of a request.
    """

    def __init__(
        self, app: ASGIApp, *, token: str | None, hosts: tuple[str, ...], max_bytes: int
    ) -> None:
        self._app, self._token, self._hosts, self._max = app, token, hosts, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body = _Body(receive, self._max)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                await body.drain()
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope["path"], Headers(scope=scope))
        if refusal is not None:
            await refuse(refusal)(scope, body.receive, answer)
            return
        await self._app(scope, body.receive, answer)

    def _refusal(self, path: str, headers: Headers) -> Refusal | None:
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._is_known(host):
            return Refusal(
                status=400,
                what="unknown host name",
                where="Host",
                remedy="The administrator can add the name with --allow-host",
            )
        origin = headers.get("origin")
        if origin is not None and _host_of(origin) != host.casefold():
            return Refusal(
                status=403,
                what="cross-origin requests are not allowed",
                where="Origin",
            )
        if path not in OPEN_PATHS and not self._is_allowed(headers.get("authorization", "")):
            return Refusal(
                status=401,
                what="a token is required",
                where="Authorization",
                expected="Bearer, a space and the token",
                remedy="Ask the administrator of the service for it",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return self._too_large(headers.get("content-length"))

    def _is_known(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        return name is not None and (not self._hosts or name.casefold() in self._hosts)

    def _is_allowed(self, authorization: str) -> bool:
        if self._token is None:
            return True
        kind, _, given = authorization.partition(" ")
        # Constant-time comparison, against timing attacks.
        same = hmac.compare_digest(given.strip().encode(), self._token.encode())
        return kind.casefold() == "bearer" and same

    def _too_large(self, length: str | None) -> Refusal | None:
        if length is None or not length.isdecimal() or int(length) <= self._max:
            return None
        return Refusal(
            status=413,
            what=_LARGE,
            found=f"{int(length) / 1e6:.0f} MB",
            expected=f"at most {self._max / 1e6:.0f} MB",
        )


_LARGE = "the request is too large"


def _host_of(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.casefold()
    except ValueError:
        return ""


class _Body:
    """The body of a request, with its size checked while it arrives."""

    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self._receive, self._max = receive, max_bytes
        self._n_bytes = 0
        self._ended = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] != "http.request":
            self._ended = True
            return message
        self._n_bytes += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self._n_bytes > self._max:
            # Content-Length may be missing or wrong.
            raise HTTPException(413, _LARGE)
        return message

    async def drain(self) -> None:
        """Read the rest of the body: a response is lost if the connection is closed before."""
        with contextlib.suppress(HTTPException, TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while not self._ended:
                    await self.receive()
