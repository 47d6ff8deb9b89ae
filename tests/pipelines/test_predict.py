"""`mri-transfer predict`: from files to numbers or reasons, and what it leaves behind."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pypdf import PdfReader

from mri_transfer.bundle import ModelBundle, ScanRequest, infer_scan
from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.report.pages.prediction_page import (
    prediction_lines,
    prediction_pdf,
    prediction_row,
)
from mri_transfer.scans.preparation import prepare_scan
from mri_transfer.scans.tissue import TissueSpec
from mri_transfer.scans.volumes import load_volume
from mri_transfer.scans.volumetry import measure_volumes
from pipelines.jobs.find_scans import find_scans
from pipelines.jobs.predict import BundlePlace, predict_scans
from pipelines.reporters import SilentReporter
from pipelines.runner import RunOutcome
from tests.bundle.bundles import made_up_norm
from tests.phantoms import asymmetric_phantom, store_nifti, write_bids_cohort
from tests.pipelines.conftest import SmallJob, run_command


@pytest.fixture(scope="module")
def place(packed: Path) -> BundlePlace:
    """A bundle of the small run; tests must not change it."""
    return BundlePlace(path=packed)


@pytest.fixture(scope="module")
def scan(finished: RunOutcome) -> Path:
    """A scan that was trained on."""
    return Path(read_manifest(finished.workspace.manifest).scans.iloc[3]["path"])


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_scan_of_the_training_kind_gets_a_number_a_table_and_one_page(
    place: BundlePlace, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    # Named by its BIDS name, the patient is recognised.
    assert run_command("predict", str(place.path), str(scan), "--out", str(out)) == 0
    shown = capsys.readouterr().out
    assert "probability of AD" in shown
    assert "trained on this patient and on this scan" in " ".join(shown.split())
    [row] = rows_of(out)
    stem = scan.name.removesuffix(".nii.gz")
    assert (row["scan_id"], row["status"], row["trained_on"]) == (stem, "predicted", "patient scan")
    said = json.loads((out / f"{stem}.json").read_text())
    assert said["schema"] == "mri-transfer/prediction/1"
    assert said["score"] == pytest.approx(float(row["score"]), rel=1e-5)
    assert said["score_low"] <= said["score"] <= said["score_high"]
    assert said["labels"]["coverage"] == 0.9
    assert {check["verdict"] for check in said["checks"]} <= {"pass", "none"}
    [page] = PdfReader(out / f"{stem}.pdf").pages
    text = page.extract_text()
    assert "Research use only" in text
    # A line may break anywhere in a digest.
    assert said["bundle_digest"] in "".join(text.split())
    # Terminal, table and page render the warnings of the JSON, all of them.
    codes = [one["code"] for one in said["warnings"]]
    assert codes == ["synthetic_cohort", "trained_on", "quality"]
    for one in said["warnings"]:
        words = f"{one['title']} {one['text']}"
        assert words in row["warnings"]
        assert words in " ".join(shown.split())
        assert "".join(words.split()) in "".join(text.split())
    # The set of labels holds both: that comes first, on every surface, and the number second.
    assert said["labels"]["labels"] == ["CN", "AD"]
    assert row["call"] == said["call"] == "undecided"
    assert shown.index("undecided") < shown.index("probability of AD")
    assert text.index("undecided") < text.index("Probability of Alzheimer")
    assert "Alzheimer" in text


def test_a_patient_too_young_gets_a_reason_instead_of_a_number(
    place: BundlePlace, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(place.path), str(scan), "--age", "20", "--out", str(tmp_path)]
    assert run_command(*words) == 3
    assert "no prediction" in capsys.readouterr().out
    [row] = rows_of(tmp_path)
    assert row["status"] == "abstained"
    assert row["score"] == row["label"] == row["set"] == ""
    assert "Age: found 20 years" in row["reasons"]
    [name] = tmp_path.glob("*.json")
    said = json.loads(name.read_text())
    for field in ("score", "score_low", "score_high", "label", "labels"):
        assert said[field] is None
    assert said["slice_scores"] == []
    text = PdfReader(name.with_suffix(".pdf")).pages[0].extract_text()
    assert "Why there is no number" in text
    assert "20 years" in text

    assert run_command(*words, "--force") == 3
    assert "WARNING: Forced." in capsys.readouterr().out
    [row] = rows_of(tmp_path)
    assert row["status"] == "forced"
    assert 0 < float(row["score"]) < 1
    assert (
        "Forced. The scan is outside" in PdfReader(name.with_suffix(".pdf")).pages[0].extract_text()
    )


def test_bad_scans_are_listed_and_the_others_are_scored(
    place: BundlePlace, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    good = shutil.copyfile(scan, folder / "good.nii.gz")
    whole = good.read_bytes()
    (folder / "a_truncated.nii.gz").write_bytes(whole[: len(whole) // 2])
    (folder / "b_text.nii").write_text("not an image")
    image = nib.load(scan)
    voxels = np.asarray(image.dataobj)
    store_nifti(folder / "c_four.nii.gz", np.stack([voxels] * 2, 3), image.affine)
    store_nifti(folder / "d_constant.nii.gz", np.full(voxels.shape, 7), image.affine)
    out = tmp_path / "out"
    missing = tmp_path / "missing.nii.gz"
    words = ["predict", str(place.path), str(folder), str(missing), "--out", str(out)]
    assert run_command(*words) == 3
    rows = {row["scan_id"]: row for row in rows_of(out)}
    assert rows["good"]["status"] == "predicted"
    for name in ("a_truncated", "b_text", "c_four", "d_constant", "missing"):
        assert rows[name]["status"] == "failed"
        assert rows[name]["reasons"]
        assert not (out / f"{name}.json").exists()
    assert "Traceback" not in capsys.readouterr().err


def test_scans_of_one_name_have_rows_of_their_own_with_their_paths(
    place: BundlePlace, scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / patient / "T1.nii.gz" for patient in ("P01", "P02", "P03")]
    for path in paths[:2]:
        path.parent.mkdir()
        shutil.copyfile(scan, path)
    out = tmp_path / "out"
    # The last is missing, and the first is named twice: it is scored once.
    words = [str(path) for path in (*paths, paths[0])]
    assert run_command("predict", str(place.path), *words, "--out", str(out)) == 3
    rows = rows_of(out)
    assert [row["scan_id"] for row in rows] == ["P01_T1", "P02_T1", "P03_T1"]
    assert [row["path"] for row in rows] == words[:3]
    assert [row["status"] for row in rows] == ["predicted", "predicted", "failed"]
    said = [json.loads((out / f"{name}.json").read_text()) for name in ("P01_T1", "P02_T1")]
    assert [one["path"] for one in said] == words[:2]
    assert [one["scan_id"] for one in said] == ["P01_T1", "P02_T1"]
    assert "P02_T1: undecided; probability" in capsys.readouterr().out


def test_a_phantom_is_not_scored(place: BundlePlace, tmp_path: Path) -> None:
    path = store_nifti(tmp_path / "phantom.nii.gz", asymmetric_phantom((42, 48, 54)))
    prediction = infer_scan(place.load(), ScanRequest(path=path, scan_id="phantom")).prediction
    assert prediction.status == "abstained"
    assert prediction.score is None
    assert prediction.reasons


@pytest.mark.slow
def test_two_at_a_time_say_the_same_as_one_by_one(
    place: BundlePlace, scan: Path, tmp_path: Path
) -> None:
    for name in ("one.nii.gz", "two.nii.gz"):
        shutil.copyfile(scan, tmp_path / name)
    requests = find_scans([tmp_path / "one.nii.gz", tmp_path / "two.nii.gz"]).requests
    for jobs in (1, 2):
        predict_scans(place, requests, tmp_path / str(jobs), reporter=SilentReporter(), jobs=jobs)
    for name in ("predictions.csv", "one.json", "two.pdf"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_a_data_set_tells_ages_and_needs_no_label(small_job: SmallJob, tmp_path: Path) -> None:
    found = find_scans([small_job.cohort]).requests
    assert len(found) == 10
    known = {one.scan_id: one for one in found}
    ages = {
        row["scan_id"]: row["age"]
        for row in read_manifest(small_job.manifest).scans.to_dict("records")
    }
    assert {name: one.age_years for name, one in known.items()} == ages
    unlabelled = write_bids_cohort(tmp_path / "bids", {"X1": [None]})
    [one] = find_scans([unlabelled], age_years=70.0, force=True).requests
    assert (one.patient_id, one.age_years, one.force) == ("sub-X1", 70.0, True)


@pytest.mark.parametrize(
    "name", ["<script>alert(1)", "#set page(width: 1pt)", "字" * 90, "../../x"]
)
def test_names_are_data(place: BundlePlace, scan: Path, tmp_path: Path, name: str) -> None:
    request = ScanRequest(path=scan, scan_id=name, patient_id=name)
    twice = [request, dataclasses.replace(request, age_years=20.0)]
    out = tmp_path / "out"
    outcomes = predict_scans(place, twice, out, reporter=SilentReporter())
    assert [one.scan_id for one in outcomes] == [name, name]
    assert len(list(out.iterdir())) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    for page in out.glob("*.pdf"):
        assert len(PdfReader(page).pages) == 1


def test_the_attribution_adds_up_to_the_difference_from_the_mean_training_scan(
    place: BundlePlace, scan: Path
) -> None:
    """For a linear head: the sum over places is the difference of the log-odds."""
    bundle = place.load()
    inferred = infer_scan(bundle, ScanRequest(path=scan, scan_id="s"))
    assert inferred.maps is not None
    [features] = [bundle.encode(load(scan))[0].features]
    both = np.stack([features, bundle.contract.slice_means])
    output = bundle.trained.slices(both, ["a", "b"])
    gap = (output.logits[0] - output.logits[1]) * output.weights[0]
    seen = features > 1e-6
    assert seen.mean() > 0.5
    lost = np.abs(np.where(seen, 0, bundle.contract.slice_means)).sum(axis=1)
    close = lost < 1e-6
    np.testing.assert_allclose(
        inferred.maps.sum(axis=(1, 2))[close], gap[close], rtol=1e-3, atol=1e-4
    )


def load(path: Path):
    from mri_transfer.scans.volumes import load_volume

    return load_volume(path, scan_id="s")


def test_the_same_scan_gives_the_same_page(place: BundlePlace, scan: Path) -> None:
    bundle = place.load()
    inferred = [infer_scan(bundle, ScanRequest(path=scan, scan_id="s")) for _ in range(2)]
    first, second = (prediction_pdf(one, bundle) for one in inferred)
    assert first == second
    assert prediction_lines(inferred[0].prediction)[0].startswith("s: undecided; probability of AD")


def with_norm(bundle: ModelBundle) -> ModelBundle:
    """Return a bundle that knows the ventricles of 24 people between 60 and 83."""
    return dataclasses.replace(
        bundle, facts={**bundle.facts, "ventricular_norm": made_up_norm().as_dict()}
    )


def test_the_ventricles_are_compared_with_those_of_people_of_the_same_age_and_sex(
    place: BundlePlace, scan: Path
) -> None:
    bundle = with_norm(place.load())
    request = ScanRequest(path=scan, scan_id="s", age_years=70.0, sex="F")
    inferred = infer_scan(bundle, request)
    found = inferred.prediction.ventricles
    volume = load_volume(scan, scan_id="s", spec=bundle.config.volumes)
    prepared = prepare_scan(volume, bundle.config.preparation).volume
    volumes = measure_volumes(prepared, bundle.config.slices, TissueSpec())
    assert bundle.ventricular_norm is not None
    expected = bundle.ventricular_norm.percentile(volumes, age_years=70.0, sex="F")
    assert found is not None
    assert (found.share, found.percentile) == (volumes.ventricles, expected)
    assert found.n_people == 24
    words = f"{100 * expected:.0f}\u00a0% of people of the same age and sex labelled CN"
    assert words in " ".join(prediction_lines(inferred.prediction))
    assert float(prediction_row(inferred.prediction)["ventricular_percentile"]) == pytest.approx(
        expected, abs=1e-5
    )
    text = PdfReader(io.BytesIO(prediction_pdf(inferred, bundle))).pages[0].extract_text()
    assert "same age and sex labelled CN" in " ".join(text.split())
    # It is no part of the score.
    assert inferred.prediction.score == infer_scan(place.load(), request).prediction.score


def test_without_age_or_sex_it_is_said_why_the_ventricles_are_not_compared(
    place: BundlePlace, scan: Path
) -> None:
    bundle = with_norm(place.load())
    said = bundle.predict(scan, age_years=70.0)
    assert said.ventricles is not None
    assert said.ventricles.percentile is None
    assert "  ventricles: no percentile, sex not known" in prediction_lines(said)
    # A bundle that has no norm says nothing at all.
    assert place.load().predict(scan, age_years=70.0, sex="F").ventricles is None
