"""The service under many posts at once, half of them malformed.

Every answer carries the digest of the scan it is about, which is compared with the digest of what
was sent; clients that find no place come again. Memory is that of the service and its worker.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import httpx

from benchmarks._common import Target, argument_parser, finish, show_table

__all__ = ["main"]

_PORT = 8329
_START_S = 300


def malformed(scans: Sequence[bytes], n: int) -> list[tuple[str, bytes]]:
    """Spoil scans: cut, header bytes changed so that they cannot be read, noise, other names."""
    rng = random.Random(0)
    made = []
    for number in range(n):
        scan = rng.choice(scans)
        kind = number % 4
        if kind == 0:
            made.append(("cut.nii.gz", scan[: rng.randrange(1, len(scan) - 8)]))
        elif kind == 1:
            made.append(("noise.nii", rng.randbytes(rng.randrange(1, 5000))))
        elif kind == 2:
            made.append(("packed.nii", scan))
        else:
            at = rng.randrange(len(scan) - 8, len(scan))
            made.append(
                ("sum.nii.gz", scan[:at] + bytes([scan[at] ^ 0xFF]) + scan[at + 1 :] + b"\x00x")
            )
    return made


async def send_all(url: str, posts: Sequence[tuple[str, bytes]]) -> list[tuple[int, bool, float]]:
    """Post everything at once; return status, whether the answer is its own, and seconds."""
    # A kept connection may be closed by the other side just when it is used again, and what was
    # sent cannot be known then: not what is measured here.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=600, limits=limits) as client:

        async def send(name: str, content: bytes) -> tuple[int, bool, float]:
            start = time.monotonic()
            sha256 = hashlib.sha256(content).hexdigest()
            while True:
                answer = await client.post(url, files={"file": (name, content)})
                if answer.status_code != 503:
                    break
                await asyncio.sleep(random.uniform(0.5, 2))
            said = answer.json()
            own = answer.headers.get("x-scan-sha256", sha256) == sha256
            own &= said.get("scan_sha256", sha256) == sha256
            own &= answer.status_code == 200 or bool(said.get("what"))
            return answer.status_code, own, time.monotonic() - start

        return await asyncio.gather(*(send(*post) for post in posts))


def resident_mb(process: int) -> float:
    """Return the memory of a process and all that it started, shared pages counted once."""
    total, todo = 0.0, [process]
    while todo:
        one = todo.pop()
        folder = Path("/proc") / str(one)
        try:
            lines = (folder / "smaps_rollup").read_text().splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            for task in (folder / "task").iterdir():
                todo += map(int, (task / "children").read_text().split())
        except (OSError, ProcessLookupError):
            continue
    return total * 1024 / 1e6


def _await_health(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(_START_S * 2):
        if process.poll() is not None:
            raise RuntimeError("the service ended")
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise RuntimeError("the service did not start")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, show and write."""
    parser = argument_parser(__doc__ or "")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("scans", type=Path, help="folder of prepared scans, .nii.gz")
    parser.add_argument("--posts", type=int, default=200, help="at once, half of them malformed")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cache", type=Path)
    arguments = parser.parse_args(argv)
    half = arguments.posts // 2
    scans = [path.read_bytes() for path in sorted(arguments.scans.rglob("*.nii.gz"))[:half]]
    posts = [("scan.nii.gz", scans[i % len(scans)]) for i in range(half)]
    posts += malformed(scans, half)
    random.Random(0).shuffle(posts)
    url = f"http://127.0.0.1:{_PORT}"
    command = [sys.executable, "-m", "pipelines.commands.cli", "serve", str(arguments.bundle)]
    command += ["--port", str(_PORT)]
    command += [] if arguments.cache is None else ["--cache", str(arguments.cache)]
    memory, rounds = [], []
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(command, env=_environment(folder))
        try:
            _await_health(url, process)
            for _ in range(arguments.rounds):
                rounds.append(asyncio.run(send_all(f"{url}/predict", posts)))
                memory.append(resident_mb(process.pid))
            left = [path for path in Path(folder).rglob("*") if path.is_file()]
            alive = process.poll() is None
        finally:
            process.terminate()
            process.wait()
    answers = [answer for one in rounds for answer in one]
    counts = Counter(status for status, _, _ in answers)
    seconds = [taken for _, _, taken in answers]
    show_table(
        f"{arguments.posts} posts at once, {arguments.rounds} rounds",
        ["figure", "value"],
        [
            *([f"answers {status}", str(n)] for status, n in sorted(counts.items())),
            ["median seconds", f"{statistics.median(seconds):.1f}"],
            ["longest, seconds", f"{max(seconds):.1f}"],
            *([f"memory after round {i + 1}, MB", f"{mb:.0f}"] for i, mb in enumerate(memory)),
        ],
    )
    finish(
        "service",
        out=arguments.out,
        figures={"answers": {str(k): n for k, n in counts.items()}, "memory_mb": memory},
        targets=[
            Target(
                name="answers of another or without a reason",
                value=sum(not own for _, own, _ in answers),
                limit=0,
                at_least=False,
            ),
            Target(
                name="malformed posts that got no 4xx",
                value=half * arguments.rounds - counts[422],
                limit=0,
                at_least=False,
            ),
            Target(name="alive at the end", value=float(alive), limit=1, at_least=True),
            Target(name="files left", value=len(left), limit=0, at_least=False),
            Target(
                name="memory, last round over first",
                value=memory[-1] / memory[0],
                limit=1.1,
                at_least=False,
            ),
        ],
    )


def _environment(folder: str) -> dict[str, str]:
    return {**os.environ, "TMPDIR": folder}


if __name__ == "__main__":
    main()
