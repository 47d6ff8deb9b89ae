"""validate --adapt-moments: when it is asked for, said aloud, and without a label."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pandas as pd
import pytest

from mri_transfer.bundle import write_bundle
from mri_transfer.models.trunks import TrunkSpec
from mri_transfer.scans.preparation import PreparationSpec
from tests.bundle.bundles import RECIPE, made_up_bundle
from tests.pipelines.conftest import run_command


@dataclasses.dataclass(frozen=True)
class Site:
    """A bundle whose trunk has batch normalisation, one whose trunk has none, and a cohort."""

    bundle: Path
    plain: Path
    scans: pd.DataFrame
    folder: Path

    def scores(self, name: str, *more: str, scans: pd.DataFrame | None = None) -> pd.Series:
        """Test the bundle on the cohort, or on other rows; return the scores by patient."""
        manifest, out = self.folder / f"{name}.csv", self.folder / name
        (self.scans if scans is None else scans).to_csv(manifest, index=False)
        words = ("--manifest", str(manifest), "--out", str(out), "--cache")
        assert run_command(
            "validate", str(self.bundle), *words, str(self.folder / "cache"), *more
        ) in (0, 3)
        table = pd.read_csv(out / "predictions" / "patients.csv", dtype={"patient_id": str})
        return table.set_index("patient_id")["score"].sort_index()


@pytest.fixture(scope="module")
def site(strangers: Path, tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    scans = pd.read_csv(strangers, dtype=str, keep_default_na=False)
    scans["path"] = [str(strangers.parent / path) for path in scans["path"]]
    config = dataclasses.replace(RECIPE, preparation=PreparationSpec(scans="none"))
    trunk = TrunkSpec(name="autoencoder", weights="random")
    write_bundle(made_up_bundle(config=dataclasses.replace(config, trunk=trunk)), folder / "bundle")
    write_bundle(made_up_bundle(config=config), folder / "plain")
    return Site(folder / "bundle", folder / "plain", scans, folder)


@pytest.mark.slow
def test_it_is_asked_for_and_said_aloud_and_reads_no_label(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = site.scores("plain_run")
    assert "WARNING" not in capsys.readouterr().out
    adapted = site.scores("adapted", "--adapt-moments")
    assert "WARNING: Adapted to these scans" in capsys.readouterr().out
    assert not plain.equals(adapted)
    codes = {}
    for name in ("plain_run", "adapted"):
        document = json.loads((site.folder / name / "external.json").read_text())
        codes[name] = [warning["code"] for warning in document["warnings"]]
    assert "transductive_moments" in codes["adapted"]
    assert "transductive_moments" not in codes["plain_run"]
    assert "transductive" in (site.folder / "adapted" / "report" / "index.html").read_text()
    record = json.loads((site.folder / "plain_run" / "records" / "validate.json").read_text())
    assert "adapt_moments" not in record["specs"]
    turned = site.scans.assign(label=site.scans["label"].map({"AD": "CN", "CN": "AD"}))
    pd.testing.assert_series_equal(
        site.scores("turned", "--adapt-moments", scans=turned), adapted, check_exact=True
    )


@pytest.mark.slow
def test_a_scan_enters_the_scores_of_others_through_moments_alone(site: Site) -> None:
    """Without the option a patient's score owes nothing to who else is there; with it, it does."""
    fewer = site.scans.iloc[:-1]
    alone, whole = site.scores("fewer", scans=fewer), site.scores("whole")
    assert alone.equals(whole[alone.index])
    adapted = site.scores("fewer_adapted", "--adapt-moments", scans=fewer)
    everybody = site.scores("whole_adapted", "--adapt-moments")
    assert not adapted.equals(everybody[adapted.index])


@pytest.mark.slow
def test_a_trunk_without_batch_normalisation_is_refused(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.scans.to_csv(site.folder / "refused.csv", index=False)
    code = run_command(
        "validate", str(site.plain), "--manifest", str(site.folder / "refused.csv"), "--out",
        str(site.folder / "refused"), "--cache", str(site.folder / "cache"), "--adapt-moments",
    )  # fmt: skip
    assert code == 2
    assert "VGG16 has no batch normalisation" in capsys.readouterr().err
