"""From features to the audit: three classes, ComBat with two sites, a searched pooling."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mri_transfer.errors import ConfigurationError, HeadError
from mri_transfer.models.features import FeatureTable
from mri_transfer.models.heads import Head
from mri_transfer.training.folds import Folds
from pipelines.config import RunConfig
from pipelines.runner import RunOutcome
from pipelines.stages.train import read_trained
from tests.pipelines.planted import PLANTED, finish, plant, vouch
from tests.synthetic import feature_table

CLASSES = ["labels.classes=['CN', 'MCI', 'AD']"]


def _cohort(n: int = 24, **columns: object) -> tuple[FeatureTable, pd.DataFrame]:
    """Features of patients, every second one of them AD; two patients came twice."""
    table, labels = feature_table(
        n_patients=n, n_slices=8, n_features=40, signal=3.0, two_sessions=2
    )
    rng = np.random.default_rng(0)
    patients = pd.DataFrame(
        {
            "label": np.where(labels[:n] == 1, "AD", "CN"),
            "age": rng.integers(60, 90, n),
            "sex": rng.permutation(["F", "M"] * (n // 2)),
            "site": "north",
            **columns,
        },
        index=pd.Index(table.patient_ids[:n], name="patient_id"),
    )
    return table, patients


def _json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _failed(outcome: RunOutcome) -> set[str]:
    return {check["check"] for check in outcome.failed_checks}


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunOutcome, RunConfig]:
    """A finished run of three classes; read only."""
    table, patients = _cohort(30)
    patients["label"] = [("CN", "AD", "MCI")[i % 3] for i in range(30)]
    # Signal along one axis a class, so that each can be told from the rest.
    shift = np.zeros_like(table.features)
    for i, name in enumerate(table.patient_ids):
        shift[i, :, ("CN", "AD", "MCI").index(patients.loc[name, "label"])] = 4
    table = dataclasses.replace(table, features=table.features + shift)
    folder = tmp_path_factory.mktemp("classes")
    workspace, config = plant(folder, {"max": table}, patients, CLASSES)
    return finish(workspace, config), config


def test_probabilities_of_three_classes_add_up_to_one(classes) -> None:
    workspace = classes[0].workspace
    rows = pd.read_csv(workspace.class_scores, dtype={"patient_id": str})
    assert len(rows) == 30 * 3
    sums = rows.groupby(["repeat", "patient_id"])["score"].sum()
    np.testing.assert_allclose(sums, 1)
    assert set(rows["class"]) == set(rows["label"]) == {"CN", "MCI", "AD"}
    best = rows.loc[rows.groupby(["repeat", "patient_id"])["score"].idxmax()]
    assert (best["class"] == best["predicted"]).all()
    assert (best["predicted"] == best["label"]).mean() > 0.7


def test_the_binary_scores_are_of_the_positive_label_against_all_others(classes) -> None:
    workspace = classes[0].workspace
    rows = pd.read_csv(workspace.patient_scores)
    assert set(rows["label"]) == {"AD", "not AD"}
    assert (rows["label"] == "AD").sum() == 10
    # The share that the class gets is its score against the rest over the sum of all three.
    shares = pd.read_csv(workspace.class_scores).query("`class` == 'AD'")
    merged = rows.merge(shares, on=["repeat", "fold", "patient_id"])
    assert len(merged) == 30
    assert merged["score_x"].corr(merged["score_y"], method="spearman") > 0.9


def test_the_evaluation_of_three_classes_is_filled(classes) -> None:
    outcome, _ = classes
    document = _json(outcome.workspace.evaluation)
    assert document["n_positive"] == 10
    assert document["negative_label"] == "not AD"
    found = document["classes"]
    text = json.dumps(found)
    assert all(f'"{name}"' in text for name in ("CN", "MCI", "AD"))
    assert found
    assert not outcome.failed_checks


def test_every_class_has_heads_that_did_not_see_whom_they_score(classes) -> None:
    workspace = classes[0].workspace
    for one in Folds.read(workspace.folds):
        test = {Folds.read(workspace.folds).patient_ids[i] for i in one.test}
        # AD, the positive one, has the run's own heads; the others theirs, by their place.
        for number in (None, 0, 1):
            head = Head.read(workspace.head(one.repeat, one.fold, of_class=number))
            assert not test & set(head.facts["training_patients"])
        assert not workspace.head(one.repeat, one.fold, of_class=2).with_suffix(".json").exists()


def test_two_labels_again_leave_nothing_of_the_third(classes, tmp_path: Path) -> None:
    """A run that goes on with fewer classes does not keep the others' scores and heads."""
    table, patients = _cohort()
    patients["label"] = [("CN", "AD", "MCI")[i % 3] for i in range(24)]
    workspace, config = plant(tmp_path, {"max": table}, patients, CLASSES)
    finish(workspace, config, "folds", "train")
    assert workspace.class_scores.exists()
    two = dataclasses.replace(config, labels=dataclasses.replace(config.labels, classes=()))
    manifest = pd.read_csv(workspace.manifest, dtype=str, keep_default_na=False)
    manifest.loc[manifest["label"] == "MCI", "label"] = "CN"
    manifest.to_csv(workspace.manifest, index=False)
    vouch(workspace, two, *PLANTED)
    finish(workspace, two, "folds", "train", "evaluate")
    assert not workspace.class_scores.exists()
    assert not list(workspace.heads.glob("class*"))
    assert _json(workspace.evaluation)["classes"] is None


COMBAT = ["harmonisation.kind=combat", "harmonisation.preserve=['age']"]


def _two_sites(offset: float = 3.0) -> tuple[FeatureTable, pd.DataFrame]:
    site = np.array(["north", "north", "south", "south"] * 6)
    table, patients = _cohort(24, site=site)
    shift = np.array([offset * (patients.loc[name, "site"] == "south") for name in
                      table.patient_ids])  # fmt: skip
    features = table.features.copy()
    features[:, :, ::2] += shift[:, None, None]
    return dataclasses.replace(table, features=features), patients


def test_combat_goes_all_the_way_with_two_sites(tmp_path: Path) -> None:
    table, patients = _two_sites()
    workspace, config = plant(tmp_path / "with", {"max": table}, patients, COMBAT)
    outcome = finish(workspace, config)
    assert not _failed(outcome)
    checks = {check["check"] for check in _json(workspace.audit)["checks"]}
    assert {"test_patients_blinded", "refit_reproduces", "row_order"} <= checks
    plain, without = plant(tmp_path / "without", {"max": table}, patients)
    finish(plain, without, "folds", "train", "evaluate")
    auc, other = (_json(one.evaluation)["patient"]["auc"]["value"] for one in (workspace, plain))
    assert auc > 0.85
    assert auc >= other
    for one in read_trained(workspace, config, Folds.read(workspace.folds)):
        assert one.harmoniser is not None
        assert one.harmoniser.combat.sites == ("north", "south")
        assert "label" not in one.harmoniser.covariates
    assert len(list(workspace.heads.glob("*_combat.json"))) == 2


def test_a_site_that_is_in_one_fold_only_is_refused_with_a_remedy(tmp_path: Path) -> None:
    table, patients = _two_sites()
    workspace, config = plant(tmp_path, {"max": table}, patients, COMBAT)
    finish(workspace, config, "folds")
    folds = Folds.read(workspace.folds)
    manifest = pd.read_csv(workspace.manifest, dtype=str, keep_default_na=False)
    only = folds.patient_ids[next(iter(folds)).test[0]]
    manifest.loc[manifest["patient_id"] == only, "site"] = "elsewhere"
    manifest.to_csv(workspace.manifest, index=False)
    vouch(workspace, config, *PLANTED, "folds")
    with pytest.raises(HeadError, match=r"elsewhere.*(harmonisation\.kind|fewer folds)"):
        finish(workspace, config, "train")


def test_combat_without_a_site_column_says_which_one(tmp_path: Path) -> None:
    table, patients = _two_sites()
    settings = [*COMBAT, "harmonisation.site_column=hospital"]
    workspace, config = plant(tmp_path, {"max": table}, patients, settings)
    with pytest.raises(ConfigurationError, match="hospital"):
        finish(workspace, config, "folds", "train")


def test_the_search_chooses_a_pooling_whose_features_are_stored(tmp_path: Path) -> None:
    table, patients = _cohort()
    noise, _ = feature_table(n_patients=24, n_slices=8, n_features=40, signal=0, two_sessions=2)
    settings = ["search.space.features.pooling=['average']", "search.margin_se=0"]
    tables = {"max": noise, "average": table}
    workspace, config = plant(tmp_path, tables, patients, settings)
    outcome = finish(workspace, config)
    assert not _failed(outcome)
    for one in Folds.read(workspace.folds):
        facts = Head.read(workspace.head(one.repeat, one.fold)).facts
        assert facts["procedure"]["pooling"] == "average"
        assert [trial["configured"] for trial in facts["trials"]] == [True, False]
        assert [trial["chosen"] for trial in facts["trials"]] == [False, True]
    assert _json(workspace.evaluation)["patient"]["auc"]["value"] > 0.85


def test_labels_of_the_classes_name_who_is_missing(tmp_path: Path) -> None:
    """A class with fewer patients than folds is refused by its name."""
    table, patients = _cohort()
    patients["label"] = ["MCI", *patients["label"].iloc[1:]]
    workspace, config = plant(tmp_path, {"max": table}, patients, CLASSES)
    with pytest.raises(Exception, match="MCI: 1"):
        finish(workspace, config, "folds")
