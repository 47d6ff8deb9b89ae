"""The machine's faults: told by their number, and found before the work begins."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from mri_transfer.core.files import atomic_write_bytes
from mri_transfer.core.machine import (
    demand_writable,
    machine_fault,
    machine_faults,
    raise_machine_fault,
)
from mri_transfer.errors import MachineError, PreparationError
from tests.small_disks import mounted


@pytest.fixture
def small_files() -> Iterator[None]:
    """The system refuses files of more than 100 kB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EFBIG, "files of this size"),
        (errno.EMFILE, "too many files"),
        (errno.ENOMEM, "memory"),
    ],
)
def test_the_system_is_quoted_with_the_place_and_a_remedy(number: int, words: str) -> None:
    fault = machine_fault(OSError(number, os.strerror(number), "/cache/file"))
    assert fault is not None
    assert words in fault.what
    assert (fault.where, fault.found) == ("/cache/file", os.strerror(number))
    assert "run the same command again" in str(fault)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file", "x"),
        PermissionError(errno.EACCES, "Permission denied", "x"),
        OSError("words alone"),
        ValueError("out of memory"),
        RuntimeError("shapes differ"),
    ],
    ids=str,
)
def test_what_is_said_of_a_file_or_a_value_says_nothing_of_the_machine(error: Exception) -> None:
    assert machine_fault(error) is None
    raise_machine_fault(error)


def test_a_fault_that_a_library_took_for_the_scans_is_found_behind_it() -> None:
    try:
        try:
            raise RuntimeError("Failed to allocate memory for image.")
        except RuntimeError as error:
            raise PreparationError("the scan cannot be brought to the template") from error
    except PreparationError as error:
        with pytest.raises(MachineError, match="not enough memory"):
            raise_machine_fault(error)


def test_what_the_system_refuses_of_our_own_folders_is_a_fault_of_the_machine() -> None:
    with (
        pytest.raises(MachineError, match="/cache/x: a system call failed") as caught,
        machine_faults(),
    ):
        raise PermissionError(errno.EACCES, "Permission denied", "/cache/x")
    assert caught.value.found == "Permission denied"
    with pytest.raises(ValueError, match="not the machine"), machine_faults():
        raise ValueError("not the machine")


@pytest.mark.usefixtures("small_files")
def test_a_write_that_fails_says_which_file_it_was(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "large.bin"
    with pytest.raises(OSError, match="large") as caught:
        atomic_write_bytes(path, bytes(200_000))
    assert caught.value.filename == str(path)
    assert list(path.parent.iterdir()) == []


def test_a_folder_that_takes_files_is_made_and_left_empty(tmp_path: Path) -> None:
    demand_writable(tmp_path / "a" / "b", option="--cache")
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.usefixtures("small_files")
def test_a_folder_that_takes_no_large_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="files of this size"):
        demand_writable(tmp_path, option="--cache")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_below_a_file_is_refused_by_its_option(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match=r"file/x.*Not a directory.*--cache"):
        demand_writable(tmp_path / "file" / "x", option="--cache")


@pytest.mark.parametrize(
    ("options", "words"), [("size=256k", "the disk is full"), ("ro", "read-only")]
)
def test_a_full_or_read_only_disk_is_refused(tmp_path: Path, options: str, words: str) -> None:
    with mounted(tmp_path / "disk", options) as disk:
        with pytest.raises(MachineError, match=words) as caught:
            demand_writable(disk / "cache", option="--cache")
        assert caught.value.where == str(disk / "cache")
        assert "--cache" in str(caught.value)
