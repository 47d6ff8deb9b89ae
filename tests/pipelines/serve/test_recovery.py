"""A service whose processes are killed, and clients that hold on to their connections."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from pipelines.jobs.predict import BundlePlace
from pipelines.serve import ServiceSpec, jobs
from pipelines.serve.scratch import upload_folder
from tests.pipelines.serve import workers
from tests.pipelines.serve.serving import Service, serving

CONNECTIONS, HEADERS_S = 6, 4.0


@pytest.fixture(scope="module")
def frail(place: BundlePlace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with few connections, whose processes may be killed."""
    spec = ServiceSpec(
        max_megabytes=2, places=4, timeout_s=60, connections=CONNECTIONS, headers_s=HEADERS_S
    )
    with serving(place, tmp_path_factory.mktemp("scratch"), spec) as one:
        yield one


def _worker(service: Service) -> int:
    """The number of the process that works on scans, once there is one."""

    def there() -> list[int]:
        pool = service.queue._pool
        return [] if pool is None else list(pool._pool_manager.worker_manager.workers)

    _until(lambda: len(there()) == 1)
    return there()[0]


def _until(done: Callable[[], bool], *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _kill_worker(service: Service) -> None:
    os.kill(_worker(service), signal.SIGKILL)


def _kill_server(_: Service) -> None:
    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("kill", [_kill_worker, _kill_server])
@pytest.mark.parametrize("wait_s", [0.0, 1.5])
def test_a_process_that_is_killed_while_idle_costs_no_scan(
    frail: Service, scan: bytes, kill: Callable[[Service], None], wait_s: float
) -> None:
    assert frail.post(scan).status_code == 200
    kill(frail)
    time.sleep(wait_s)
    answer = frail.post(scan)
    assert answer.status_code == 200, answer.text
    _until(lambda: httpx.get(f"{frail.url}/health").status_code == 200)
    assert frail.leftovers() == []


@pytest.mark.slow
def test_a_scan_whose_process_is_killed_is_worked_on_once_more(
    frail: Service, scan: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIE_ONCE", str(tmp_path / "died"))
    before = _worker(frail)
    # The environment is that of the fork server: a new one has it.
    _kill_server(frail)
    _until(lambda: httpx.get(f"{frail.url}/health").is_success and _worker(frail) != before)
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "predict_upload", workers.die_once)
        answer = frail.post(scan)
    assert (answer.status_code, answer.json()) == (200, answer.json())
    assert (tmp_path / "died").exists()


@pytest.mark.slow
def test_processes_that_do_not_start_are_told_and_started_when_they_can_be(
    frail: Service, scan: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.child._begin", os.abort)
        pool = frail.queue._pool
        assert pool is not None
        patch.setattr(pool._pool_manager.worker_manager.worker_parameters, "initializer", os.abort)
        _kill_worker(frail)
        answer = frail.post(scan)
        assert answer.status_code == 503
        assert "died" in answer.json()["what"]
        assert int(answer.headers["retry-after"]) > 0
    _until(lambda: frail.post(scan).status_code == 200, seconds=300)
    _until(lambda: httpx.get(f"{frail.url}/health").status_code == 200)


def _place(service: Service) -> tuple[str, int]:
    parts = urlsplit(service.url)
    return str(parts.hostname), int(parts.port or 0)


@pytest.mark.slow
def test_more_connections_than_are_allowed_are_turned_away(frail: Service) -> None:
    with contextlib.ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection(_place(frail))) for _ in range(CONNECTIONS)
        ]
        for _ in range(30):
            further = stack.enter_context(socket.create_connection(_place(frail), timeout=60))
            assert further.recv(1000).startswith(b"HTTP/1.1 503 ")
            assert further.recv(1000) == b""
        # Those who say nothing are sent away, and make room.
        for one in idle:
            one.settimeout(10 * HEADERS_S)
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(1000) == b""
    assert httpx.get(f"{frail.url}/health").status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    "begin",
    [b"", b"GET", b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "],
    ids=["nothing", "a word", "headers"],
)
@pytest.mark.parametrize("again", [False, True], ids=["first", "second request"])
def test_headers_that_do_not_come_in_time_end_the_connection(
    frail: Service, begin: bytes, again: bool
) -> None:
    with socket.create_connection(_place(frail), timeout=10 * HEADERS_S) as one:
        if again:
            one.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert one.recv(10_000).startswith(b"HTTP/1.1 200")
        one.sendall(begin)
        started = time.monotonic()
        ended = False
        while not ended:
            # A byte now and then must not keep it open.
            with contextlib.suppress(TimeoutError, OSError):
                one.sendall(b"x" if begin else b"")
            one.settimeout(0.2)
            try:
                ended = not one.recv(10_000)
            except TimeoutError:
                assert time.monotonic() - started < 10 * HEADERS_S
            except OSError:
                ended = True
        assert time.monotonic() - started > HEADERS_S / 2


_SERVE = """
import sys
from pathlib import Path
from tests.pipelines.serve.serving import make_server
from pipelines.jobs.predict import BundlePlace
from pipelines.serve import ServiceSpec, make_app
app = make_app(BundlePlace(path=Path(sys.argv[1])), scratch=Path(sys.argv[2]))
server = make_server(app, ServiceSpec(), host="127.0.0.1", port=0)
real = server.startup
async def startup(sockets=None):
    await real(sockets=sockets)
    print(server.servers[0].sockets[0].getsockname()[1], flush=True)
server.startup = startup
server.run()
"""


@pytest.mark.slow
def test_nothing_is_left_of_a_service_that_is_killed(place: BundlePlace, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE, str(place.path), str(scratch)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        head = (
            b"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
        )
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(head)
            _until(lambda: any(scratch.glob("*/tmp*")))
            process.send_signal(signal.SIGKILL)
            process.wait()
    # By the worker, which sees that it is alone.
    _until(lambda: not any(scratch.iterdir()))


def test_what_services_left_that_were_killed_is_removed_and_what_others_use_is_not(
    tmp_path: Path,
) -> None:
    left = tmp_path / "mri-transfer-serve-left"
    (left / "request").mkdir(parents=True)
    (left / "request" / "upload.nii").touch()
    (left / "lock").touch()
    with upload_folder(tmp_path) as mine, upload_folder(tmp_path) as others:
        assert {mine, others} == set(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "lock").touch()
    (tmp_path / "mri-transfer-serve-link").symlink_to(kept)
    (tmp_path / "mri-transfer-serve-bare").mkdir()
    with upload_folder(tmp_path):
        pass
    assert (kept / "lock").exists()
    assert (tmp_path / "mri-transfer-serve-bare").is_dir()
