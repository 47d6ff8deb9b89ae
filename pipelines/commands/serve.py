"""`mri-transfer serve`: serve a bundle over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.options import (
    AllowProgramsOption,
    GivenBundle,
    TrustedKeyOption,
    WeightsCacheOption,
    WeightsOption,
)
from pipelines.console import open_console

__all__ = ["serve"]

#: Uvicorn's exit code of a server that could not start.
_STARTUP_FAILURE = 3


def serve(
    bundle: GivenBundle,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; any but the loopback address needs a token."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8321,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that clients must send.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Host name of the service; repeatable."),
    ] = None,
    max_mb: Annotated[
        int, typer.Option(min=1, max=10_000, help="Maximum upload size, in 10^6 bytes.")
    ] = 200,
    timeout_s: Annotated[
        int, typer.Option(min=1, max=3600, help="Time limit for an upload, and for one scan.")
    ] = 120,
    places: Annotated[
        int, typer.Option(min=1, max=1000, help="Maximum number of running and queued requests.")
    ] = 8,
    connections: Annotated[
        int, typer.Option(min=1, max=10_000, help="Maximum number of open connections.")
    ] = 100,
    trusted_key: TrustedKeyOption = None,
    allow_programs: AllowProgramsOption = False,
    cache: WeightsCacheOption = None,
    weights: WeightsOption = None,
) -> None:
    """Serve a bundle over HTTP: POST a scan, get the JSON of `predict`; no file is kept."""
    from pipelines.jobs.predict import bundle_place
    from pipelines.serve import ServiceSpec, demand_token, make_app, read_token
    from pipelines.serve.limits import allowed_hosts
    from pipelines.serve.listening import make_server

    token = None if token_file is None else read_token(token_file)
    demand_token(host, token)
    place = bundle_place(
        bundle,
        trusted_key=trusted_key,
        allow_programs=allow_programs,
        weights=weights,
        cache=cache,
    )
    spec = ServiceSpec(
        max_megabytes=max_mb, timeout_s=timeout_s, places=places, connections=connections
    )
    app = make_app(place, spec, token=token, hosts=allowed_hosts(host, tuple(allow_host or ())))
    console = open_console()

    def say(url: str) -> None:
        console.print(
            f"Serving {bundle} on {url} (Ctrl+C stops it). Research use only. Not a medical "
            "device.",
            markup=False,
        )

    server = make_server(app, spec, host=host, port=port, listening=say)
    try:
        server.run()
    except SystemExit as error:
        # Uvicorn has reported why it cannot start: the port is in use, or the worker cannot open
        # the bundle. Its exit code has another meaning here.
        if error.code == _STARTUP_FAILURE:
            raise typer.Exit(1) from error
        raise
