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
import tempfile
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mri_transfer.core import files
from mri_transfer.core.files import (
    TEMPORARY_PREFIX,
    atomic_path,
    atomic_write_bytes,
    atomic_write_text,
    gzip_bytes,
    identical_files,
    read_json_object,
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
        "from mri_transfer.core.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    repository = Path(__file__).resolve().parents[2]
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


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"a": "\xc3\xa9"}', {"a": "é"}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b"{}", {}),
        (b"[1]", None),
        (b"null", None),
        (b'{"a": 1', None),
        (b'{"a": "\xff"}', None),
        (b"[" * 100_000, None),
        (b"", None),
        (None, None),
    ],
)
def test_a_json_object_is_read_and_anything_else_is_none(
    tmp_path: Path, content: bytes | None, found: dict[str, object] | None
) -> None:
    if content is not None:
        (tmp_path / "a.json").write_bytes(content)
    assert read_json_object(tmp_path / "a.json") == found


def test_gzip_gives_the_same_bytes_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"voxels" * 1000 + os.urandom(100)
    packed = gzip_bytes(data)
    assert gzip.decompress(packed) == data
    assert len(packed) < len(data)
    # RFC 1952: magic, deflate, no flags (so no name), time 0, no extra flags, unknown system.
    assert packed[:10] == b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    assert gzip_bytes(data) == packed


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

    def test_copies_in_members_with_padding_or_a_name_have_the_same_content(
        self, tmp_path: Path
    ) -> None:
        content = os.urandom(300_000)
        members = [gzip.compress(content[:at]) + gzip.compress(content[at:]) for at in (7, 200_000)]
        blocked = gzip.compress(content) + gzip.compress(b"")
        padded = [gzip.compress(content) + bytes(n) for n in (1, 3, 512)]
        paths = self._files(tmp_path, [content, *members, blocked, *padded, content[:200_000]])
        with gzip.GzipFile("scan.nii", "wb", fileobj=(tmp_path / "named").open("wb")) as stream:
            stream.write(content)
        assert identical_files([*paths, tmp_path / "named"]) == [(0, 1, 2, 3, 4, 5, 6, 8)]

    def test_archives_that_end_alike_are_told_apart(self, tmp_path: Path) -> None:
        starts, end = (b"a" * 5000, b"b" * 5000), os.urandom(5000)
        packed = [gzip.compress(start) + gzip.compress(end) for start in starts]
        assert identical_files(self._files(tmp_path, packed)) == []

    @pytest.mark.parametrize("kind", ["plain", "packed"])
    def test_files_that_differ_only_at_their_very_end_are_told_apart(
        self, tmp_path: Path, kind: str
    ) -> None:
        same = bytes((16 << 20) + 5)
        contents = [same + b"a", same + b"b", same, same + b"a"]
        if kind == "packed":
            contents = [gzip.compress(content, 1) for content in contents]
        assert identical_files(self._files(tmp_path, contents)) == [(0, 3)]

    def test_one_that_holds_more_than_a_scan_may_is_compared_as_it_lies(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(files, "_MAX_UNPACKED_BYTES", 1000)
        just, more = gzip.compress(bytes(1000)), gzip.compress(bytes(1001))
        repacked = [gzip.compress(bytes(n), 1) for n in (1000, 1001)]
        paths = self._files(tmp_path, [just, more, *repacked, more, bytes(1001)])
        assert identical_files(paths) == [(0, 2), (1, 4)]

    def test_a_file_that_unpacks_without_end_costs_no_memory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(files, "_MAX_UNPACKED_BYTES", 20 << 20)
        bomb = gzip.compress(bytes(64 << 20), 1)
        paths = self._files(tmp_path, [bomb, bomb])
        tracemalloc.start()
        try:
            assert identical_files(paths) == [(0, 1)]
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        pipes = [tmp_path / "a", tmp_path / "b"]
        for pipe in pipes:
            os.mkfifo(pipe)
        assert identical_files(pipes) == []

    @given(
        start=st.sampled_from([b"", bytes(65_536), bytes(1 << 20)]),
        tails=st.lists(st.binary(max_size=3), min_size=2, max_size=6),
        packed=st.lists(st.booleans(), min_size=6, max_size=6),
    )
    @settings(max_examples=30, deadline=None)
    def test_agrees_with_comparing_every_pair_in_full(
        self, start: bytes, tails: list[bytes], packed: list[bool]
    ) -> None:
        contents = [start + tail for tail in tails]
        groups: dict[bytes, list[int]] = {}
        for at, content in enumerate(contents):
            groups.setdefault(content, []).append(at)
        expected = sorted(tuple(group) for group in groups.values() if len(group) > 1)
        stored = [
            gzip.compress(content, 1) if pack else content
            for content, pack in zip(contents, packed, strict=False)
        ]
        with tempfile.TemporaryDirectory() as folder:
            assert identical_files(self._files(Path(folder), stored)) == expected
