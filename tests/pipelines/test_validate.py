"""validate: a bundle on another cohort, from a manifest to a report and to what may be sent out."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pandas as pd
import pytest

from mri_transfer.bundle import write_bundle
from mri_transfer.bundle.overlap import TrainingMarks
from mri_transfer.cohorts.labels import LabelSpec
from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.core.files import sha256_of_file
from mri_transfer.errors import HeadError
from mri_transfer.models.harmonisation import Combat
from mri_transfer.report.schemas import schema_of
from mri_transfer.scans.preparation import PreparationSpec
from pipelines.jobs.validate_cohort import demand_known_sites
from tests.bundle.bundles import RECIPE, made_up_bundle
from tests.pipelines.conftest import run_command

N = 8


@dataclasses.dataclass(frozen=True)
class Job:
    """Two bundles and a cohort: to `bundle` it is new, `known` was trained on it."""

    bundle: Path
    known: Path
    manifest: Path
    cache: Path

    @property
    def scans(self) -> pd.DataFrame:
        """The manifest's rows, as text."""
        return pd.read_csv(self.manifest, dtype=str, keep_default_na=False)

    def validate(
        self,
        out: Path,
        *more: str,
        bundle: Path | None = None,
        scans: pd.DataFrame | None = None,
    ) -> int:
        """Test a bundle on the cohort, or on other rows; return the exit code."""
        manifest = self.manifest
        if scans is not None:
            manifest = out.with_name(f"{out.name}.csv")
            scans.to_csv(manifest, index=False)
        words = ("--manifest", str(manifest), "--out", str(out), "--cache", str(self.cache))
        return run_command("validate", str(bundle or self.bundle), *words, *more)


@pytest.fixture(scope="module")
def job(strangers: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """8 synthetic patients at 5 mm, with names that occur nowhere else."""
    folder = tmp_path_factory.mktemp("job")
    scans = pd.read_csv(strangers, dtype=str, keep_default_na=False)
    scans["path"] = [str(strangers.parent / path) for path in scans["path"]]
    scans.to_csv(folder / "manifest.csv", index=False)
    config = dataclasses.replace(RECIPE, preparation=PreparationSpec(scans="none"))
    bundle = made_up_bundle(config=config)
    digests = [sha256_of_file(path) for path in scans["path"]]
    marks = TrainingMarks.make(scans["patient_id"].tolist(), digests, secret="known")
    write_bundle(bundle, folder / "bundle")
    write_bundle(dataclasses.replace(bundle, marks=(marks,)), folder / "known")
    return Job(folder / "bundle", folder / "known", folder / "manifest.csv", folder / "cache")


@pytest.fixture(scope="module")
def tested(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a finished test."""
    out = tmp_path_factory.mktemp("tested") / "out"
    assert job.validate(out, "--aggregate-only") == 0
    return out


def test_another_cohort_is_scored_and_reported(tested: Path) -> None:
    document = json.loads((tested / "external.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema_of("external"))
    everybody = document["populations"]["all"]
    assert everybody["n"] == 8
    assert document["cohort"]["n_overlapping"] == 0
    assert [one["figure"] for one in everybody["comparison"]] == ["auc"]
    # Made-up bundles know no such scans.
    assert document["populations"]["in_contract"]["reason"] == "no patient is left"
    assert everybody["case_mix"]["development"] is None
    scores = pd.read_csv(tested / "predictions" / "patients.csv")
    assert set(scores["repeat"]) == set(scores["fold"]) == {0}
    assert (tested / "report" / "report.pdf").read_bytes().startswith(b"%PDF")
    assert "Against what was expected" in (tested / "report" / "index.html").read_text()


def test_nothing_is_refitted(tested: Path) -> None:
    assert not (tested / "heads").exists()
    assert not (tested / "folds.csv").exists()
    assert not (tested / "records" / "train.json").exists()


def test_what_is_sent_out_names_nobody_and_no_small_count(tested: Path) -> None:
    folder = tested / "aggregate"
    manifest = pd.read_csv(tested / "source_manifest.csv", dtype=str, keep_default_na=False)
    text = "".join(file.read_text(encoding="utf-8") for file in sorted(folder.iterdir()))
    for column in ("patient_id", "scan_id", "path"):
        assert not [name for name in manifest[column] if name in text]
    assert str(tested) not in text
    document = json.loads((folder / "aggregate.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema_of("aggregate"))
    # 4 patients a label: not even their number is told.
    assert set(document["n_by_label"].values()) == {None}
    assert document["figures"] == {}


def test_a_second_test_does_nothing_and_another_folder_gets_the_same_bytes(
    job: Job, tested: Path, tmp_path: Path
) -> None:
    record = (tested / "records" / "validate.json").read_bytes()
    assert job.validate(tested, "--aggregate-only") == 0
    assert (tested / "records" / "validate.json").read_bytes() == record
    again = tmp_path / "again"
    assert job.validate(again, "--aggregate-only") == 0
    for name in ("external.json", "evaluation.json", "report/index.html", "report/report.pdf"):
        assert (again / name).read_bytes() == (tested / name).read_bytes()


@pytest.mark.slow
def test_the_training_cohort_gives_figures_only_when_asked(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert job.validate(tmp_path / "a", bundle=job.known) == 1
    assert "every patient of this cohort was trained on" in capsys.readouterr().err
    assert len(pd.read_csv(tmp_path / "a" / "overlap.csv")) == N
    assert job.validate(tmp_path / "b", "--allow-overlap", bundle=job.known) == 0
    assert "NOT A VALID TEST" in capsys.readouterr().out
    assert "This is no test." in (tmp_path / "b" / "report" / "index.html").read_text()


def test_a_training_patient_is_known_by_name_or_by_scan(job: Job, tmp_path: Path) -> None:
    renamed = job.scans
    for column in ("patient_id", "scan_id"):
        renamed[column] = [name.replace("secret", "new") for name in renamed[column]]
    assert job.validate(tmp_path / "o", bundle=job.known, scans=renamed) == 1
    found = pd.read_csv(tmp_path / "o" / "overlap.csv")
    assert found["by_scan"].all()
    assert not found["by_name"].any()


def test_a_cohort_of_one_label_is_told_what_it_can_be(job: Job, tmp_path: Path) -> None:
    scans = job.scans
    n = int((scans["label"] == "CN").sum())
    scans.loc[scans["label"] != "CN", "label"] = ""
    # Scans without a label are listed as left out.
    assert job.validate(tmp_path / "o", scans=scans) == 3
    document = json.loads((tmp_path / "o" / "external.json").read_text(encoding="utf-8"))
    assert document["populations"]["all"]["one_label"]["n"] == n
    assert len(pd.read_csv(tmp_path / "o" / "left_out.csv")) == len(scans) - n
    assert "What one label can tell" in (tmp_path / "o" / "report" / "index.html").read_text()


def test_wrong_folders_and_labels_are_refused(
    job: Job, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run" / "heads").mkdir(parents=True)
    assert job.validate(tmp_path / "run") == 2
    assert "heads of its own" in capsys.readouterr().err
    assert job.validate(tmp_path / "o", scans=job.scans.assign(label="sick")) == 2
    assert "no scan has a label" in capsys.readouterr().err
    assert job.validate(tmp_path / "o", "--threshold", "best") == 2


@pytest.mark.parametrize(
    ("sites", "says"),
    [
        (["n", "s", "n"], None),
        (["n", "s", "west"], "a site that no training patient is from"),
        (["n", "", "s"], "ComBat needs the site of every patient"),
    ],
)
def test_sites_that_the_heads_do_not_know_are_told_before_scans_are_prepared(
    tmp_path: Path, sites: list[str], says: str | None
) -> None:
    rows = [
        {"patient_id": f"p{i}", "path": f"{i}.nii", "label": "AD", "site": site}
        for i, site in enumerate(sites)
    ]
    # Nothing is asked of patients who are not scored.
    rows.append({"patient_id": "q", "path": "q.nii", "label": "MCI", "site": "elsewhere"})
    pd.DataFrame(rows).to_csv(tmp_path / "m.csv", index=False)
    manifest = read_manifest(tmp_path / "m.csv", check_files=False)
    combat = Combat(site_column="site", sites=("n", "s"), preserve=(), tensors={})
    bundle = SimpleNamespace(
        trained=SimpleNamespace(harmoniser=SimpleNamespace(combat=combat)),
        config=SimpleNamespace(labels=LabelSpec()),
    )
    if says is None:
        demand_known_sites(manifest, bundle)
        return
    with pytest.raises(HeadError, match=says):
        demand_known_sites(manifest, bundle)
