"""What was edited or is stale is refused by name, or made again; nobody reads it in silence."""

from __future__ import annotations

import dataclasses
import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from mri_transfer.core.files import sha256_of_file
from mri_transfer.errors import RunFolderError
from pipelines.indexes import load_prepared, read_prepared_index
from pipelines.jobs.retrain import Packing, retrain_run
from pipelines.names import STAGE_HELP
from pipelines.opening import open_run
from pipelines.plan.order import STAGES
from pipelines.reporters import SilentReporter
from pipelines.runner import RunOutcome
from pipelines.trust import Ledger
from pipelines.workspace import Workspace
from tests.pipelines.conftest import SmallJob, run_command


def _edit_scores(workspace: Workspace) -> Path:
    """Give every patient the score of a perfect model."""
    table = pd.read_csv(workspace.patient_scores, dtype=str)
    table["score"] = (table["label"] == "AD").map({True: "0.99", False: "0.01"})
    table.to_csv(workspace.patient_scores, index=False)
    return workspace.patient_scores


def _edit_evaluation(workspace: Workspace) -> Path:
    document = json.loads(workspace.evaluation.read_text())
    document["patient"]["auc"]["value"] = 1.0
    workspace.evaluation.write_text(json.dumps(document))
    return workspace.evaluation


def _swap_feature_keys(workspace: Workspace) -> Path:
    table = pd.read_csv(workspace.features, dtype=str)
    first, second = table["key"].iloc[0], table["key"].iloc[1]
    table.loc[0, "key"], table.loc[1, "key"] = second, first
    table.to_csv(workspace.features, index=False)
    return workspace.features


def _swap_heads(workspace: Workspace) -> Path:
    for suffix in (".json", ".safetensors"):
        one, two = (Path(f"{workspace.head(0, fold)}{suffix}") for fold in (0, 1))
        first = one.read_bytes()
        one.write_bytes(two.read_bytes())
        two.write_bytes(first)
    return workspace.head(0, 0).with_suffix(".json")


def _remove_a_head(workspace: Workspace) -> Path:
    path = workspace.head(1, 1).with_suffix(".safetensors")
    path.unlink()
    return path


def _change_a_label(workspace: Workspace) -> Path:
    table = pd.read_csv(workspace.manifest, dtype=str, keep_default_na=False)
    table.loc[0, "label"] = {"AD": "CN", "CN": "AD"}[table.loc[0, "label"]]
    table.to_csv(workspace.manifest, index=False)
    return workspace.manifest


def _move_a_patient(workspace: Workspace) -> Path:
    table = pd.read_csv(workspace.folds, dtype=str)
    table.loc[0, "fold"] = {"0": "1", "1": "0"}[table.loc[0, "fold"]]
    table.to_csv(workspace.folds, index=False)
    return workspace.folds


def _edit_audit(workspace: Workspace) -> Path:
    text = workspace.audit.read_text()
    workspace.audit.write_text(text.replace('"passed": false', '"passed": true') + "\n")
    return workspace.audit


def _remove_the_explanation(workspace: Workspace) -> Path:
    path = workspace.explanations / "explanation.json"
    path.unlink()
    return path


def _drop_an_exclusion(workspace: Workspace) -> Path:
    workspace.excluded.write_text(workspace.excluded.read_text() + "x,y,check,because\n")
    return workspace.excluded


Edit = Callable[[Workspace], Path]
#: Each edit with the stage that mends it, and commands that would have read it.
EDITS: dict[str, tuple[Edit, str, tuple[str, ...]]] = {
    "scores": (_edit_scores, "train", ("evaluate", "audit", "explain", "report")),
    "evaluation": (_edit_evaluation, "evaluate", ("report",)),
    "feature keys": (_swap_feature_keys, "features", ("train", "audit", "evaluate", "report")),
    "heads": (_swap_heads, "train", ("evaluate", "audit", "explain", "report")),
    "a head is gone": (_remove_a_head, "train", ("evaluate", "audit")),
    "a label": (_change_a_label, "prepare", ("folds", "train", "evaluate", "report")),
    "a fold": (_move_a_patient, "folds", ("train", "evaluate", "audit", "report")),
    "audit": (_edit_audit, "audit", ("report",)),
    "explanation": (_remove_the_explanation, "explain", ("report",)),
    "exclusions": (_drop_an_exclusion, "prepare", ("report",)),
}


@pytest.fixture
def copied(finished: RunOutcome, tmp_path: Path) -> Workspace:
    """A copy of the finished run, with the same cache."""
    shutil.copytree(finished.workspace.root, tmp_path / "run")
    return Workspace(root=tmp_path / "run", cache=finished.workspace.cache)


def _command(workspace: Workspace, *words: str) -> int:
    name, *rest = words
    return run_command(name, str(workspace.root), *rest, "--cache", str(workspace.cache))


def _run(job: SmallJob, workspace: Workspace, *more: str, manifest: Path | None = None) -> int:
    settings = [part for setting in job.settings for part in ("--set", setting)]
    return run_command(
        *("run", "--manifest", str(manifest or job.manifest), "--out", str(workspace.root)),
        *("--cache", str(workspace.cache), *settings, *more),
    )


def _digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): sha256_of_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _results(folder: Path) -> dict[str, str]:
    """Every file but those that hold times or the state of the source code."""
    return {
        name: digest
        for name, digest in _digests(folder).items()
        if not name.startswith(("records/", "report/")) and name != "ro-crate-metadata.json"
    }


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_file_is_refused_by_name_and_its_stage_makes_it_again(
    name: str, copied: Workspace, finished: RunOutcome, capsys: pytest.CaptureFixture[str]
) -> None:
    edit, stage, readers = EDITS[name]
    path = edit(copied)
    edited = _digests(copied.root)
    file = path.relative_to(copied.root).as_posix()
    recorded = json.loads(copied.record(stage).read_text())["outputs"][file]
    for reader in readers:
        capsys.readouterr()
        assert _command(copied, reader) == 1, reader
        said = capsys.readouterr().err
        assert file in said
        assert f"mri-transfer {stage}" in said
        if path.exists():
            assert recorded[:16] in said
            assert sha256_of_file(path)[:16] in said
    assert _digests(copied.root) == edited
    # The stage's own command makes its outputs again, says so, and all is as it was.
    assert _command(copied, stage) == 0
    assert f"recomputed: {file} has changed since `{stage}` wrote it" in capsys.readouterr().out
    assert _results(copied.root) == _results(finished.workspace.root)
    assert _command(copied, readers[0]) == 0


@pytest.mark.parametrize("name", ["scores", "feature keys", "heads", "a label"])
def test_a_run_makes_what_was_edited_again_and_says_so(
    name: str,
    copied: Workspace,
    finished: RunOutcome,
    small_job: SmallJob,
    capsys: pytest.CaptureFixture[str],
) -> None:
    edit, stage, _ = EDITS[name]
    path = edit(copied)
    assert _run(small_job, copied) == 0
    said = capsys.readouterr().out
    assert (
        f"recomputed: {path.relative_to(copied.root)} has changed since `{stage}` wrote it" in said
    )
    assert _results(copied.root) == _results(finished.workspace.root)


@pytest.mark.parametrize("name", ["scores", "evaluation", "a label"])
def test_comparisons_and_bundles_are_not_made_of_what_was_edited(
    name: str, copied: Workspace, finished: RunOutcome, capsys: pytest.CaptureFixture[str]
) -> None:
    edit, stage, _ = EDITS[name]
    path = edit(copied)
    out = copied.root.with_name("out")
    runs = (str(finished.workspace.root), str(copied.root))
    assert run_command("compare", *runs, "--out", str(out)) == 1
    assert path.name in capsys.readouterr().err
    opened = open_run(copied.root, cache=copied.cache)
    with pytest.raises(RunFolderError, match=rf"{path.name}.*mri-transfer {stage}"):
        retrain_run(*opened, Packing(out=out), reporter=SilentReporter())
    key = copied.root.with_name("key")
    assert _command(copied, "report", "--pseudonymise", str(key)) == 1
    assert path.name in capsys.readouterr().err
    assert not out.exists()
    assert not copied.pseudonymous_report.exists()


def test_a_file_that_no_stage_wrote_is_refused(
    copied: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(copied.patient_scores, copied.class_scores)
    assert _command(copied, "evaluate") == 1
    assert "predictions/classes.csv was not written by `train`" in capsys.readouterr().err


def test_an_edited_output_of_ones_own_is_made_again(
    copied: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    copied.report.write_text("AUC 1.000")
    assert _command(copied, "report") == 0
    assert "report/index.html has changed since `report` wrote it" in capsys.readouterr().out
    assert copied.report.stat().st_size > 10_000


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "mri-transfer/record/1"}'])
def test_without_a_sound_record_nothing_is_trusted(
    text: str, copied: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    copied.record("train").write_text(text)
    assert _command(copied, "evaluate") == 1
    assert "no valid record of `train`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change", [{"outputs": []}, {"inputs": {"folds.csv": 7}}, {"specs": None}], ids=str
)
def test_a_record_of_other_types_counts_as_none(
    change: dict, copied: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads(copied.record("train").read_text())
    copied.record("train").write_text(json.dumps({**record, **change}))
    assert _command(copied, "evaluate") == 1
    assert "no valid record of `train`" in capsys.readouterr().err


def test_settings_that_were_edited_make_results_stale(
    copied: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """The old report of "pMCI against CN" over the figures of AD."""
    text = copied.config.read_text()
    copied.config.write_text(text.replace('positive = "AD"', 'positive = "pMCI"'))
    assert _command(copied, "report") == 1
    said = capsys.readouterr().err
    assert "labels.positive" in said
    assert '"AD"' in said
    assert '"pMCI"' in said


def test_another_version_of_the_program_makes_results_stale(
    copied: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipelines.record.__version__", "99.0")
    assert _command(copied, "evaluate") == 1
    assert "another version" in capsys.readouterr().err


def test_features_of_another_machine_are_not_stale(copied: Workspace) -> None:
    """`auto` was resolved where they were computed; the run is read where there is no such card."""
    record = json.loads(copied.record("features").read_text())
    record["specs"]["features"]["device"] = "cuda"
    copied.record("features").write_text(json.dumps(record))
    ledger = Ledger(copied, open_run(copied.root)[1], STAGES)
    ledger.demand([(copied.patient_scores, "train"), (copied.evaluation, "evaluate")])


@dataclasses.dataclass(frozen=True)
class Begun:
    """A run up to its features, on a copy of the cohort."""

    job: SmallJob
    workspace: Workspace
    manifest: Path
    scans: list[Path]

    def run(self, *more: str) -> int:
        """Run it again."""
        more = ("--until", "features", *more)
        return _run(self.job, self.workspace, *more, manifest=self.manifest)

    def slice_keys(self) -> dict[str, str]:
        """Return the key of each scan's slices."""
        table = pd.read_csv(self.workspace.slices, dtype=str)
        return dict(zip(table["scan_id"], table["key"], strict=True))

    def id_of(self, scan: Path) -> str:
        """Return the scan_id of a file."""
        return scan.name.removesuffix("_T1w.nii.gz")


@pytest.fixture
def begun(finished: RunOutcome, small_job: SmallJob, tmp_path: Path) -> Begun:
    cohort = Path(shutil.copytree(small_job.cohort, tmp_path / "cohort"))
    manifest = Path(shutil.copy(small_job.manifest, tmp_path / "manifest.csv"))
    workspace = Workspace(root=tmp_path / "run", cache=tmp_path / "cache")
    shutil.copytree(finished.workspace.cache, workspace.cache)
    one = Begun(small_job, workspace, manifest, sorted(cohort.rglob("*.nii.gz")))
    assert one.run() == 0
    return one


# Settings.


def test_other_settings_are_listed_and_nothing_is_written(
    small_job: SmallJob, copied: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _digests(copied.root)
    assert _run(small_job, copied, "--set", "heads.inverse_l2=[1.0]", "--set", "seed=3") == 2
    said = capsys.readouterr().err
    assert "seed: 0 -> 3" in said
    assert "heads.inverse_l2" in said
    assert "--overwrite" in said
    assert "folds.n_folds" not in said
    assert _digests(copied.root) == before


def test_a_label_that_no_scan_has_is_told_before_anything_is_written(
    small_job: SmallJob, copied: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = _digests(copied.root)
    new = Workspace(root=tmp_path / "new", cache=copied.cache)
    for workspace in (copied, new):
        for more in ((), ("--overwrite",)):
            assert _run(small_job, workspace, "--set", "labels.positive=pMCI", *more) == 2
            assert "no scan is labelled pMCI" in capsys.readouterr().err
    assert _digests(copied.root) == before
    assert not new.root.exists()


def test_overwriting_makes_anew_what_depends_on_the_difference_and_no_more(
    small_job: SmallJob, copied: Workspace
) -> None:
    before = {name: copied.record(name).read_bytes() for name in STAGE_HELP}
    more = ("--set", "evaluation.bootstrap_samples=150")
    assert _run(small_job, copied, *more) == 2
    assert _run(small_job, copied, *more, "--overwrite") == 0
    changed = {name for name in STAGE_HELP if copied.record(name).read_bytes() != before[name]}
    assert changed == {"evaluate", "report"}
    # From now on these are the folder's settings.
    assert _run(small_job, copied, *more) == 0
    assert _run(small_job, copied) == 2


def test_another_manifest_is_another_run(
    small_job: SmallJob, copied: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.read_csv(small_job.manifest, dtype=str, keep_default_na=False)
    table["path"] = [str(small_job.manifest.parent / path) for path in table["path"]]
    table.to_csv(tmp_path / "same.csv", index=False)
    assert _run(small_job, copied, manifest=tmp_path / "same.csv") == 0
    scan = table.loc[0, "scan_id"]
    table.loc[0, "age"] = "99"
    table.iloc[:-1].to_csv(tmp_path / "other.csv", index=False)
    before = _digests(copied.root)
    capsys.readouterr()
    assert _run(small_job, copied, manifest=tmp_path / "other.csv") == 2
    said = capsys.readouterr().err
    assert f"1 scan fewer ({table['scan_id'].iloc[-1]})" in said
    assert f"age of {scan}" in said
    assert _digests(copied.root) == before


def test_a_cohort_may_be_moved(
    begun: Begun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = begun.slice_keys()
    (tmp_path / "elsewhere").mkdir()
    for name in ("cohort", "manifest.csv"):
        (tmp_path / name).rename(tmp_path / "elsewhere" / name)
    moved = dataclasses.replace(begun, manifest=tmp_path / "elsewhere" / "manifest.csv")
    assert moved.run() == 0
    assert (
        "recomputed: source_manifest.csv has changed since `check` read it"
        in capsys.readouterr().out
    )
    assert moved.slice_keys() == before


def test_commands_on_the_folder_do_not_stand_in_the_way_of_the_run(
    small_job: SmallJob, copied: Workspace
) -> None:
    scan = pd.read_csv(copied.manifest, dtype=str)["scan_id"].iloc[0]
    assert _command(copied, "prepare", "--keep", scan) == 0
    assert _command(copied, "report", "--paper", "us-letter") == 0
    assert _run(small_job, copied, "--until", "features") == 0
    assert _run(small_job, copied, "--from", "evaluate") == 0
    # What was kept stays kept.
    assert open_run(copied.root)[1].quality.keep == (scan,)


# The cache.


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(bytes(content))


DAMAGES: dict[str, Callable[[Path, Path], object]] = {
    "a flipped bit": lambda path, _: _flip(path),
    "zero bytes": lambda path, _: path.write_bytes(b""),
    "cut off": lambda path, _: path.write_bytes(path.read_bytes()[:-100]),
    "another scan's": lambda path, other: shutil.copy(other, path),
    "gone": lambda path, _: path.unlink(),
}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("prepared", marks=pytest.mark.slow),
        pytest.param("scores", marks=pytest.mark.slow),
        pytest.param("identities", marks=pytest.mark.slow),
        "pictures",
        "slices",
        "features",
    ],
)
def test_a_run_makes_damaged_entries_again_and_ends_with_the_same_bytes(
    kind: str,
    own: Workspace,
    finished: RunOutcome,
    small_job: SmallJob,
    caplog: pytest.LogCaptureFixture,
) -> None:
    entries = sorted(path for path in (own.cache / kind).rglob("*") if path.is_file())
    good = {path: path.read_bytes() for path in entries}
    for path, damage in zip(entries, DAMAGES.values(), strict=False):
        damage(path, entries[-1])
    assert _run(small_job, own) == 0
    for path, name in zip(entries, DAMAGES, strict=False):
        assert (str(path) in caplog.text) == (name != "gone"), name
    assert {path: path.read_bytes() for path in entries} == good
    assert _results(own.root) == _results(finished.workspace.root)


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_single_stage_makes_the_damaged_entries_that_it_reads_again(
    damage: str, own: Workspace, finished: RunOutcome, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("features", "slices"):
        path, *_, other = sorted((own.cache / kind).rglob("*.safetensors"))
        DAMAGES[damage](path, other)
    own.record("train").unlink()
    assert _command(own, "train") == 0
    said = capsys.readouterr().out
    assert f"features: entries missing from the cache ({own.cache}) are recomputed" in said
    own.record("report").unlink()
    assert _command(own, "report") == 0
    assert _results(own.root) == _results(finished.workspace.root)


def test_a_scan_that_has_changed_makes_what_was_made_of_it_stale(
    begun: Begun, capsys: pytest.CaptureFixture[str]
) -> None:
    before, (first, second, *_) = begun.slice_keys(), begun.scans
    content = bytearray(gzip.decompress(first.read_bytes()))
    content[-4000] ^= 1
    first.write_bytes(gzip.compress(bytes(content)))
    scan_id = begun.id_of(first)
    for stage, mends in (("folds", "check"), ("slices", "check")):
        capsys.readouterr()
        assert _command(begun.workspace, stage) == 1
        said = capsys.readouterr().err
        assert f"scan {scan_id} has changed since `{mends}` read it" in said
        assert f"mri-transfer {mends}" in said
    assert _command(begun.workspace, "check") == 0
    assert _command(begun.workspace, "slices") == 1
    assert "mri-transfer prepare" in capsys.readouterr().err
    assert begun.run() == 0
    after = begun.slice_keys()
    assert {name for name in after if after[name] != before[name]} == {scan_id}
    assert begun.id_of(second) in after


def test_a_scan_that_could_not_be_read_is_looked_at_again_once_it_has_changed(
    begun: Begun,
) -> None:
    twice = next(scan for scan in begun.scans if "_ses-" in scan.name)
    good = twice.read_bytes()
    twice.write_bytes(b"not yet copied")
    assert begun.run() == 3
    assert begun.id_of(twice) not in begun.slice_keys()
    twice.write_bytes(good)
    assert begun.run() == 0
    assert begun.id_of(twice) in begun.slice_keys()


def test_a_scan_that_was_only_touched_or_put_away_is_not_stale(begun: Begun) -> None:
    workspace = begun.workspace
    begun.scans[0].touch()
    begun.scans[1].unlink()
    before = {name: workspace.record(name).read_bytes() for name in ("check", "prepare")}
    assert _command(workspace, "features") == 0
    assert _command(workspace, "folds") == 0
    assert before == {name: workspace.record(name).read_bytes() for name in before}


def test_scans_that_have_not_changed_are_not_read_again(
    begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    monkeypatch.setattr("pipelines.scan_index.sha256_of_file", lambda path: read.append(path) or "")
    assert _command(begun.workspace, "check") == 0
    assert read == []


def test_a_scan_that_changes_between_two_stages_is_not_cut_under_the_old_key(
    begun: Begun, tmp_path: Path
) -> None:
    config = open_run(begun.workspace.root)[1]
    workspace = dataclasses.replace(begun.workspace, cache=tmp_path / "fresh")
    shutil.copy(begun.scans[1], begun.scans[0])
    scan = read_prepared_index(workspace)[0]
    with pytest.raises(RunFolderError, match=r"has changed since it was prepared.*--from check"):
        load_prepared(scan, config.volumes)
