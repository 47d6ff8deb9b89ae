"""A service on a small bundle, listening on a port of this machine, and scans to send to it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gzip
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from mri_transfer.bundle import ModelBundle, overlap, write_bundle
from mri_transfer.scans.preparation import PreparationSpec
from pipelines.jobs.predict import BundlePlace
from pipelines.serve import ServiceSpec, make_app
from pipelines.serve.jobs import ScanQueue
from pipelines.serve.listening import make_server
from tests.bundle.bundles import RECIPE, made_up_bundle
from tests.phantoms import asymmetric_phantom, store_nifti

SHAPE = (48, 56, 48)
FAULT_FIELDS = {"what", "where", "found", "expected", "remedy"}


def write_small_bundle(folder: Path) -> BundlePlace:
    """Write a bundle that takes scans as they come: nothing has to be registered."""
    write_bundle(_small_bundle(), folder)
    return BundlePlace(path=folder)


@functools.cache
def _small_bundle() -> ModelBundle:
    config = dataclasses.replace(RECIPE, preparation=PreparationSpec(scans="none"))
    with pytest.MonkeyPatch.context() as patch:
        # What hashes cost is stored in the bundle, and tested elsewhere.
        patch.setattr(overlap, "_COST", 4)
        return made_up_bundle(config=config)


def scan_bytes(folder: Path, *, seed: int = 0, packed: bool = True) -> bytes:
    """Return a scan's file; every seed gives another one."""
    origin = tuple(-extent / 2 for extent in SHAPE)
    affine = [[1.0, 0, 0, origin[0]], [0, 1.0, 0, origin[1]], [0, 0, 1.0, -10.0], [0, 0, 0, 1.0]]
    path = folder / f"scan{seed}.nii"
    store_nifti(path, asymmetric_phantom(SHAPE, seed=seed), np.array(affine))
    content = path.read_bytes()
    path.unlink()
    return gzip.compress(content, mtime=0) if packed else content


@dataclasses.dataclass(frozen=True)
class Service:
    """A service that listens."""

    url: str
    scratch: Path
    app: Any

    @property
    def queue(self) -> ScanQueue:
        """Its places and its worker."""
        queue: ScanQueue = self.app.state.queue
        return queue

    def post(self, content: bytes, *, name: str = "scan.nii.gz", **fields: str) -> httpx.Response:
        """Send a scan."""
        return httpx.post(
            f"{self.url}/predict", files={"file": (name, content)}, data=fields, timeout=120
        )

    def leftovers(self) -> list[Path]:
        """What lies in the folder of uploads."""
        files = [path for path in self.scratch.rglob("*") if path.is_file()]
        return [path for path in files if path.name != "lock"]


@contextlib.contextmanager
def serving(
    place: BundlePlace, scratch: Path, spec: ServiceSpec | None = None, **options: Any
) -> Iterator[Service]:
    """Serve a bundle for as long as the context lasts."""
    app = make_app(place, spec, scratch=scratch, **options)
    told: list[str] = []
    server = make_server(
        app, spec or ServiceSpec(), host="127.0.0.1", port=0, listening=told.append
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not told:
        assert thread.is_alive(), "the service did not start"
        time.sleep(0.05)
    try:
        yield Service(url=told[0].rstrip("/"), scratch=scratch, app=app)
    finally:
        server.should_exit = True
        thread.join()
