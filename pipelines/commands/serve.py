"""`mri-transfer serve`: a bundle behind HTTP."""

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
        typer.Option(help="Address to listen on; any but this machine's own needs a token."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 8321,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that clients must tell.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Name under which the service answers; may be repeated."),
    ] = None,
    max_mb: Annotated[
        int, typer.Option(min=1, max=10_000, help="Largest upload, in 10^6 bytes.")
    ] = 200,
    timeout_s: Annotated[
        int, typer.Option(min=1, max=3600, help="Longest time for an upload and for one scan.")
    ] = 120,
    places: Annotated[
        int, typer.Option(min=1, max=1000, help="Requests that are worked on or wait.")
    ] = 8,
    connections: Annotated[
        int, typer.Option(min=1, max=10_000, help="Connections at a time, idle ones among them.")
    ] = 100,
    trusted_key: TrustedKeyOption = None,
    allow_programs: AllowProgramsOption = False,
    cache: WeightsCacheOption = None,
    weights: WeightsOption = None,
) -> None:
    """Serve a bundle: post a scan, get the JSON of `predict`; no file is kept."""
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
    open_console().print(
        f"Serving {bundle} on {host}, port {port}. Research use only. Not a medical device.",
        markup=False,
    )
    server = make_server(app, spec, host=host, port=port)
    try:
        server.run()
    except SystemExit as error:
        # Uvicorn has said why it cannot start: the port is taken, or the worker does not open the
        # bundle. Its exit code for that means something else here.
        if error.code == _STARTUP_FAILURE:
            raise typer.Exit(1) from error
        raise
