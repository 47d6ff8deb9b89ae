"""The gallery of bad input: each entry has its own message, and none of them stops a batch."""

from __future__ import annotations

import dataclasses
import errno
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nilearn.datasets import load_mni152_template

from mri_transfer.cohorts.exclusions import read_exclusions
from mri_transfer.cohorts.manifest.manifest import make_manifest, read_manifest
from mri_transfer.cohorts.manifest.paths import path_fault
from mri_transfer.cohorts.manifest.text_table import TextTable
from mri_transfer.errors import ManifestError, ScanError
from mri_transfer.scans.volumes import load_volume
from pipelines.config import RunConfig, read_config
from pipelines.plan.order import stage_named
from pipelines.runner import begin_run, run_pipeline
from pipelines.workspace import Workspace
from tests.gallery import (
    BAD_SCANS,
    BAD_TABLES,
    ODD_SCANS,
    ODD_TABLES,
    BadScan,
    scan_entry,
    store_phantom,
    write_table_folder,
)
from tests.phantoms import store_nifti
from tests.report.documents import replaced

_REPOSITORY = Path(__file__).resolve().parents[2]


def _write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """Import MONAI once: the warnings of its own imports are no business of these tests."""
    pytest.importorskip("monai.transforms")


def test_the_gallery_is_as_large_as_promised() -> None:
    assert len(BAD_SCANS) >= 100
    assert len(ODD_SCANS) >= 40
    assert len(BAD_TABLES) >= 60
    assert len(ODD_TABLES) >= 15


class TestScans:
    @pytest.mark.parametrize("name", BAD_SCANS)
    def test_a_bad_scan_is_refused_by_its_error_with_scan_fault_and_remedy(
        self, tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        bad = BAD_SCANS[name]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the maker: casting NaN, overflowing float32
            path = scan_entry(tmp_path, bad)
        capfd.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(ScanError) as caught:
                load_volume(path, scan_id="s1")
        message = str(caught.value)
        assert type(caught.value) is bad.error
        assert [words for words in bad.says if words not in message] == []
        assert message.startswith(f"scan s1 ({path}): ")
        assert caught.value.remedy
        assert "\n" not in message
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("name", ODD_SCANS)
    def test_an_odd_scan_gives_its_voxels(self, tmp_path: Path, name: str) -> None:
        odd = ODD_SCANS[name]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            volume = load_volume(scan_entry(tmp_path, odd), scan_id="s1")
        assert np.array_equal(volume.voxels, odd.voxels)
        np.testing.assert_allclose(volume.affine, odd.affine, atol=1e-4)

    def test_messages_tell_the_entries_apart(self, tmp_path: Path) -> None:
        """A message that fits many faults helps with none."""
        said = [says for bad in BAD_SCANS.values() for says in bad.says]
        assert len(set(said)) > 0.6 * len(said)

    def test_an_unprintable_name_cannot_break_a_message(self, tmp_path: Path) -> None:
        path = _write(tmp_path / "a\nb\x1b[31m\udce9.nii", b"no scan")
        with pytest.raises(ScanError) as caught:
            load_volume(path, scan_id="s1")
        assert str(caught.value).isprintable()
        assert r"a\nb\x1b[31m\udce9.nii" in str(caught.value)

    def test_a_failing_disk_is_not_called_a_damaged_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = scan_entry(tmp_path, ODD_SCANS["NIfTI-2"])
        monkeypatch.setattr(Path, "open", _failing(path, OSError(errno.EIO, "Input/output error")))
        with pytest.raises(ScanError, match=r"cannot be read \(found Input/output error\)"):
            load_volume(path, scan_id="s1")

    @pytest.mark.parametrize(
        "name", ["a gigabyte, by the header", "a gigabyte of zeros in a megabyte"]
    )
    def test_a_gigabyte_is_refused_without_reserving_it(self, tmp_path: Path, name: str) -> None:
        path = scan_entry(tmp_path, BAD_SCANS[name])
        assert path.stat().st_size < 1_200_000
        code = (
            "import resource, sys, nibabel\n"
            "from mri_transfer.errors import ScanError\n"
            "from mri_transfer.scans.volumes import load_volume\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "try:\n"
            "    load_volume(sys.argv[1], scan_id='s1')\n"
            "except ScanError:\n"
            "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)],
            cwd=_REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(done.stdout) < 20_000  # KiB


class TestTables:
    @pytest.fixture
    def cohort(self, tmp_path: Path) -> Path:
        return write_table_folder(tmp_path / "cohort")

    @pytest.mark.parametrize("name", BAD_TABLES)
    def test_a_bad_table_is_refused_with_row_column_fault_and_remedy(
        self, cohort: Path, name: str
    ) -> None:
        bad = BAD_TABLES[name]
        with pytest.raises(ManifestError) as caught:
            read_manifest(_write(cohort / "m.csv", bad.text))
        (fault,) = caught.value.faults
        assert (fault.row, fault.column) == (bad.row, bad.column)
        assert [words for words in bad.says if words not in str(fault)] == []
        assert fault.remedy
        assert "\n" not in str(fault)
        assert str(cohort / "m.csv") in str(caught.value)

    @pytest.mark.parametrize("name", ODD_TABLES)
    def test_an_odd_table_gives_its_cells(self, cohort: Path, name: str) -> None:
        odd = ODD_TABLES[name]
        scans = read_manifest(_write(cohort / "m.csv", odd.text)).scans
        found = {column: scans[column].tolist() for column in odd.expected}
        assert found == {column: list(values) for column, values in odd.expected.items()}

    def test_a_file_name_that_is_no_utf_8_is_told_before_a_manifest_is_written(
        self, tmp_path: Path
    ) -> None:
        name = os.fsdecode("Zoë.nii".encode("latin-1"))
        _write(tmp_path / name, b"x")
        table = TextTable.from_records(["patient_id", "path"], [{"patient_id": "p", "path": name}])
        with pytest.raises(ManifestError, match="not UTF-8 text") as caught:
            make_manifest(table, source=tmp_path, folder=tmp_path)
        assert str(caught.value).encode("utf-8")


def _failing(path: Path, error: OSError) -> Callable[..., Any]:
    """Return an `open` that fails on one file: an administrator may read whatever chmod says."""
    open_path = Path.open

    def open_or_fail(self: Path, *args: Any, **options: Any) -> Any:
        if self == path:
            raise error
        return open_path(self, *args, **options)

    return open_or_fail


@dataclasses.dataclass(frozen=True)
class _Cohort:
    """A manifest of good scans and of the gallery's bad ones, by scan_id."""

    manifest: Path
    good: dict[str, Path]
    bad: dict[str, BadScan]

    def begin(self, folder: Path) -> tuple[Workspace, RunConfig]:
        """Set up a run of its own."""
        # So few patients make no folds: the run is one that ends with the features.
        settings = ["slices.n_slices=8", "slices.size_px=64", "labels.unlabelled=keep"]
        config = read_config(None, settings)
        workspace = begin_run(self.manifest, folder / "run", config, cache=folder / "cache")
        return workspace, config

    def check(self, folder: Path) -> tuple[Workspace, dict[str, str]]:
        """Run the check of scans, and return why each excluded scan is."""
        workspace, config = self.begin(folder)
        run_pipeline(workspace, config, stages=[stage_named("check")])
        excluded = read_exclusions(workspace.refused)
        return workspace, {exclusion.scan_id: exclusion.reason for exclusion in excluded}


@pytest.fixture(scope="module")
def cohort_with_bad_scans(tmp_path_factory: pytest.TempPathFactory) -> _Cohort:
    """Every bad scan that a table lets through, as sessions of one patient, and two good scans.

    What is no file at all is refused with the table, and is not here.
    """
    folder = tmp_path_factory.mktemp("cohort")
    good, bad, records = {}, {}, []
    template = load_mni152_template(resolution=5)
    for seed, label in enumerate(("AD", "CN")):
        noise = np.random.default_rng(seed).normal(scale=0.01, size=template.shape)
        path = folder / "scans" / f"{label}.nii.gz"
        store_nifti(path, template.get_fdata() + noise, template.affine, dtype="float32")
        good[label] = path
        records.append({"patient_id": label, "path": f"scans/{path.name}", "label": label})
    for at, entry in enumerate(BAD_SCANS.values()):
        name = f"{at}/{entry.name}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = scan_entry(folder / "scans" / str(at), entry)
        if path_fault(f"scans/{name}", folder, row=None, check_files=True) is None:
            bad[f"bad_{at}"] = entry
            cells = {"patient_id": "bad", "session_id": str(at), "label": "AD"}
            records.append({**cells, "path": f"scans/{name}"})
    table = TextTable.from_records(["patient_id", "session_id", "path", "label"], records)
    make_manifest(table, source=folder, folder=folder).write(folder / "m.csv")
    return _Cohort(folder / "m.csv", good, bad)


class TestBatch:
    def test_every_bad_scan_is_excluded_for_its_own_reason_and_the_good_ones_stay(
        self, cohort_with_bad_scans: _Cohort, tmp_path: Path
    ) -> None:
        cohort = cohort_with_bad_scans
        assert len(cohort.bad) > 100
        workspace, reasons = cohort.check(tmp_path)
        assert set(reasons) == set(cohort.bad)
        for scan_id, entry in cohort.bad.items():
            assert f"scan {scan_id} (" in reasons[scan_id]
            assert [words for words in entry.says if words not in reasons[scan_id]] == []
        scans = set(read_manifest(workspace.source_manifest).scans["scan_id"])
        assert scans - set(reasons) == set(cohort.good)

    def test_a_scan_that_may_not_be_read_is_excluded_like_any_other(
        self, cohort_with_bad_scans: _Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cohort = cohort_with_bad_scans
        closed = store_phantom(tmp_path / "s.nii")
        rows = [*(f"{name},{path},{name}" for name, path in cohort.good.items()), f"p,{closed},AD"]
        _write(tmp_path / "m.csv", "\n".join(["patient_id,path,label", *rows]))
        error = PermissionError(errno.EACCES, "Permission denied", str(closed))
        monkeypatch.setattr(Path, "open", _failing(closed, error))
        small = replaced(cohort, manifest=tmp_path / "m.csv")
        _, reasons = small.check(tmp_path)
        assert set(reasons) == {"p"}
        assert "no permission to read the file (found Permission denied)" in reasons["p"]

    def test_the_command_lists_them_and_ends_with_3(
        self, cohort_with_bad_scans: _Cohort, tmp_path: Path
    ) -> None:
        workspace, _ = cohort_with_bad_scans.begin(tmp_path)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pipelines.commands.cli", "check", str(workspace.root)),
                *("--cache", str(workspace.cache)),
            ],
            cwd=_REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(_REPOSITORY)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 3, done.stderr
        assert f"{len(cohort_with_bad_scans.bad)} scans excluded" in done.stdout
        assert "Traceback" not in done.stdout + done.stderr
        assert "Warning" not in done.stdout + done.stderr
