"""The application: POST /predict, GET /health, /version, /openapi.json and a web page."""

from __future__ import annotations

import contextlib
import functools
import importlib.resources
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from mri_transfer.bundle import ModelBundle, model_notices
from mri_transfer.errors import ConfigurationError
from mri_transfer.version import __version__
from pipelines.jobs.predict import BundlePlace
from pipelines.serve.description import complete, predict_extra, refusals
from pipelines.serve.faults import Refusal, refuse
from pipelines.serve.guard import Guard
from pipelines.serve.jobs import ScanQueue
from pipelines.serve.limits import LOOPBACK_NAMES, ServiceSpec
from pipelines.serve.scratch import upload_folder
from pipelines.serve.uploads import Upload, read_upload
from pipelines.serve.worker import ScanJob

__all__ = ["make_app"]

#: Header of every response to a received scan: the SHA-256 of that scan.
SCAN_DIGEST = "X-Scan-SHA256"

_SUMMARY = "Scores of one model for T1 brain scans. Research use only; not a medical device."
_PAGE = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}


def make_app(
    place: BundlePlace,
    spec: ServiceSpec | None = None,
    *,
    token: str | None = None,
    hosts: tuple[str, ...] = LOOPBACK_NAMES,
    scratch: Path | None = None,
) -> FastAPI:
    """Return the application that serves one bundle.

    Parameters
    ----------
    place : BundlePlace
    spec : ServiceSpec, optional
    token : str, optional
        The token that clients must send as ``Authorization: Bearer``.
    hosts : tuple of str
        Accepted host names; empty: any.
    scratch : Path, optional
        Parent of the upload folder, which is removed when the application ends.

    Raises
    ------
    StoreError
        If the bundle cannot be opened.
    ConfigurationError
        If its heads harmonise sites, which the form does not contain.
    """
    spec, bundle = spec or ServiceSpec(), place.load()
    if bundle.trained.harmoniser is not None:
        raise ConfigurationError(
            "the service does not support bundles that harmonise sites",
            where=str(place.path),
            remedy="Use `mri-transfer predict` on a BIDS data set with sites",
        )
    queue = ScanQueue(place, bundle.digest, spec)

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        with upload_folder(scratch) as folder:
            app.state.folder, app.state.queue = folder, queue
            try:
                await queue.open(folder)
                yield
            finally:
                await queue.close()

    app = FastAPI(
        title="mri-transfer",
        version=__version__,
        summary=_SUMMARY,
        docs_url=None,
        redoc_url=None,
        lifespan=life,
        exception_handlers={HTTPException: _http_fault, Exception: _unexpected},
    )
    _add_predict(app, queue)
    _add_info(app, queue, bundle, token=token is not None)
    _add_page(app)
    generated = app.openapi
    app.openapi = functools.cache(  # type: ignore[method-assign]
        lambda: complete(generated(), token=token is not None)
    )
    app.add_middleware(Guard, token=token, hosts=hosts, max_bytes=spec.max_megabytes * 10**6)
    return app


def _add_predict(app: FastAPI, queue: ScanQueue) -> None:
    answers: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "The model's prediction for the scan, or why it abstains.",
            "headers": {
                SCAN_DIGEST: {"schema": {"type": "string"}, "description": "SHA-256 of the upload."}
            },
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/Prediction"}}
            },
        },
        **refusals(400, 401, 403, 408, 413, 415, 422, 500, 503, 504),
    }

    @app.post(
        "/predict",
        summary="Score one scan. It is not kept.",
        response_class=Response,
        responses=answers,
        openapi_extra=predict_extra(),
    )
    async def predict(request: Request) -> Response:
        with queue.place() as has_place:
            if not has_place:
                return refuse(queue.full())
            with tempfile.TemporaryDirectory(dir=request.app.state.folder) as folder:
                try:
                    upload = await read_upload(
                        request, Path(folder), timeout_s=queue.spec.timeout_s
                    )
                except ClientDisconnect:
                    upload = Refusal(status=400, what="the upload was interrupted")
                if isinstance(upload, Refusal):
                    return refuse(upload)
                return await _answer(request, queue, upload)


async def _answer(request: Request, queue: ScanQueue, upload: Upload) -> Response:
    job = ScanJob(
        place=queue.bundle_place,
        digest=queue.digest,
        path=upload.path,
        scan_id=upload.scan_id,
        sha256=upload.sha256,
        max_unpacked_megabytes=queue.spec.max_unpacked_megabytes,
        age_years=upload.age_years,
        sex=upload.sex,
        force=upload.force,
    )
    found = await queue.predict(job, gone=request.is_disconnected)
    if not isinstance(found, Refusal) and found["scan_sha256"] != upload.sha256:
        # Should never happen; ensures that nobody gets another client's result.
        found = Refusal(status=500, what="the result belongs to another scan")
    response = refuse(found) if isinstance(found, Refusal) else JSONResponse(found)
    response.headers[SCAN_DIGEST] = upload.sha256
    return response


def _add_info(app: FastAPI, queue: ScanQueue, bundle: ModelBundle, *, token: bool) -> None:
    info = {
        "mri_transfer": __version__,
        "bundle_version": bundle.version,
        "bundle_digest": bundle.digest,
        "labels": bundle.facts["labels"],
        "n_patients": bundle.facts["cohort"]["n_patients"],
        "synthetic": bundle.facts["cohort"]["synthetic"],
        "warnings": [notice.as_dict() for notice in model_notices(bundle)],
        "max_megabytes": queue.spec.max_megabytes,
        "timeout_s": queue.spec.timeout_s,
        "use": "research only; not a medical device",
    }

    @app.get("/health", summary="Status of the service.", responses=refusals(400, 403, 503))
    async def health() -> Response:
        if (trouble := queue.trouble()) is not None:
            return refuse(trouble)
        return JSONResponse(
            {
                "status": "ok",
                "requests": queue.taken,
                "places": queue.spec.places,
                "token_needed": token,
            }
        )

    @app.get(
        "/version",
        summary="Version of the service and the model.",
        responses=refusals(400, 401, 403),
    )
    async def version() -> dict[str, Any]:
        return info


def _add_page(app: FastAPI) -> None:
    folder = importlib.resources.files("pipelines.serve") / "page"
    for path, (name, kind) in _PAGE.items():
        content = (folder / name).read_bytes()
        respond = functools.partial(Response, content, media_type=kind)
        app.add_api_route(path, _constant(respond), methods=["GET"], include_in_schema=False)


def _constant(respond: functools.partial[Response]) -> Any:
    async def page() -> Response:
        return respond()

    return page


async def _http_fault(_: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 500)
    headers = getattr(error, "headers", None) or {}
    return refuse(
        Refusal(status=status, what=str(getattr(error, "detail", "")), headers=dict(headers))
    )


async def _unexpected(_: Request, error: Exception) -> Response:
    return refuse(
        Refusal(
            status=500,
            what="unexpected error of the service",
            found=type(error).__name__,
        )
    )
