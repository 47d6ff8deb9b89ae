"""Files: written whole or not at all, compared by content."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from mri_transfer.files import (
    TEMPORARY_PREFIX,
    atomic_path,
    atomic_write_bytes,
    atomic_write_text,
    identical_files,
    sha256_of_file,
    write_json,
)


def test_bytes_and_text_arrive_unchanged_and_folders_are_made(tmp_path: Path) -> None:
    atomic_write_bytes(tmp_path / "a" / "b" / "data.bin", b"\0\r\n\xff")
    atomic_write_text(str(tmp_path / "text"), "é\r\n\n")
    assert (tmp_path / "a" / "b" / "data.bin").read_bytes() == b"\0\r\n\xff"
    assert (tmp_path / "text").read_bytes() == "é\r\n\n".encode()


def test_the_new_file_appears_only_when_the_block_has_ended(tmp_path: Path) -> None:
    final = tmp_path / "scan.nii.gz"
    final.write_bytes(b"old")
    with atomic_path(final) as temporary:
        assert temporary.parent == final.parent
        assert temporary.name.startswith(TEMPORARY_PREFIX)
        assert temporary.name.endswith(".nii.gz")
        temporary.write_bytes(b"new")
        assert final.read_bytes() == b"old"
    assert final.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [final]


@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt])
def test_a_failed_block_leaves_the_old_file_and_no_litter(
    tmp_path: Path, fault: type[BaseException]
) -> None:
    final = tmp_path / "data"
    final.write_bytes(b"old")

    def fail() -> None:
        with atomic_path(final) as temporary:
            temporary.write_bytes(b"half")
            raise fault

    with pytest.raises(fault):
        fail()
    assert final.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [final]


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "data"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_process_killed_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    final = tmp_path / "data"
    final.write_bytes(b"old")
    code = (
        "import os, signal, sys\n"
        "from mri_transfer.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    repository = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code, str(final)], cwd=repository, check=False)
    assert done.returncode == -signal.SIGKILL
    assert final.read_bytes() == b"old"
    litter = [path.name for path in tmp_path.iterdir() if path != final]
    assert len(litter) == 1
    assert litter[0].startswith(TEMPORARY_PREFIX)


def test_permissions_follow_the_umask_and_not_the_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    atomic_write_bytes(tmp_path / "atomic", b"")
    modes = [stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in ("plain", "atomic")]
    assert modes[0] == modes[1]


def test_a_name_as_long_as_the_file_system_allows_can_be_written(tmp_path: Path) -> None:
    atomic_write_bytes(tmp_path / ("n" * 255), b"x")
    assert (tmp_path / ("n" * 255)).read_bytes() == b"x"


def test_json_is_the_same_text_for_the_same_value(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": [1, 2.5, None], "a": "é"})
    write_json(tmp_path / "b.json", {"a": "é", "b": [1, 2.5, None]})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert text == '{\n  "a": "é",\n  "b": [\n    1,\n    2.5,\n    null\n  ]\n}\n'
    assert (tmp_path / "b.json").read_text(encoding="utf-8") == text


def test_json_refuses_nan_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"auc": 0.5})
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"auc": float("nan")})
    assert json.loads(path.read_text()) == {"auc": 0.5}


def test_sha256_agrees_with_the_published_example_and_with_hashlib(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    published = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of_file(path) == published
    data = os.urandom(3 << 20)
    path.write_bytes(data)
    assert sha256_of_file(str(path)) == hashlib.sha256(data).hexdigest()


class TestIdenticalFiles:
    def _files(self, folder: Path, contents: list[bytes]) -> list[Path]:
        paths = [folder / f"{at}.nii" for at in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        return paths

    def test_groups_by_content_and_not_by_size(self, tmp_path: Path) -> None:
        paths = self._files(tmp_path, [b"aaaa", b"bbbb", b"aaaa", b"cc", b"bbbb", b"aaaa"])
        assert identical_files(paths) == [(0, 2, 5), (1, 4)]

    def test_a_difference_outside_the_sampled_part_counts(self, tmp_path: Path) -> None:
        big = bytearray(os.urandom(400_000))
        other = bytearray(big)
        other[0] ^= 1
        paths = self._files(tmp_path, [bytes(big), bytes(other), bytes(big)])
        assert identical_files(paths) == [(0, 2)]

    def test_a_compressed_copy_has_the_same_content(self, tmp_path: Path) -> None:
        content, other = os.urandom(5000), os.urandom(5000)
        packed = [gzip.compress(content, level, mtime=level) for level in (1, 9)]
        paths = self._files(tmp_path, [packed[0], other, content, packed[1], gzip.compress(other)])
        assert identical_files(paths) == [(0, 2, 3), (1, 4)]

    def test_compressed_files_of_one_size_are_told_apart(self, tmp_path: Path) -> None:
        paths = self._files(tmp_path, [gzip.compress(bytes([n]) * 999) for n in range(3)])
        assert identical_files(paths) == []

    def test_copies_of_a_damaged_archive_are_copies(self, tmp_path: Path) -> None:
        damaged = gzip.compress(os.urandom(5000))[:3000]
        paths = self._files(tmp_path, [damaged, b"x", damaged])
        assert identical_files(paths) == [(0, 2)]

    def test_files_that_cannot_be_read_take_no_part(self, tmp_path: Path) -> None:
        paths = self._files(tmp_path, [b"a", b"a"])
        assert identical_files([tmp_path / "none", *paths, tmp_path]) == [(1, 2)]
