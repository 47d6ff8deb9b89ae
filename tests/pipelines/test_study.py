"""`mri-transfer study`: arms are planned, run within a budget, compared, and advice follows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mri_transfer.evaluation.transfer_study import StudyDocument
from pipelines.jobs.study_plan import StudyPlan, plan_study
from tests.pipelines.conftest import SmallJob, run_command

SETTINGS = ("slices.size_px=48", "slices.n_slices=4", "tuning.epochs=2", "folds.n_repeats=1")
ARMS = ("frozen", "some", "untrained")


def words(job: SmallJob, *more: str) -> list[str]:
    settings = [*job.settings, *SETTINGS]
    return [
        "study",
        str(job.manifest),
        *(word for name in ARMS for word in ("--arm", name)),
        *(word for setting in settings for word in ("--set", setting)),
        *more,
    ]


def test_a_plan_names_every_arm_with_its_time_and_runs_nothing(
    small_job: SmallJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(*words(small_job, "--out", str(tmp_path / "s"), "--plan")) == 0
    shown = capsys.readouterr().out
    for name in ARMS:
        assert f"vgg16-{name}: about" in shown
    assert not (tmp_path / "s").exists()


def test_an_unknown_arm_is_refused_with_those_known(
    small_job: SmallJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "s")
    assert run_command("study", str(small_job.manifest), "--out", out, "--arm", "half") == 2
    assert "half" in (said := capsys.readouterr().err)
    assert "frozen, some, most, all" in said


@pytest.mark.parametrize(
    ("option", "wrong", "said"),
    [("--trunk", "resnet51", "Did you mean resnet50"), ("--arm", "norm", "would train nothing")],
)
def test_what_cannot_be_studied_is_refused_before_anything_runs(
    small_job: SmallJob,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    option: str,
    wrong: str,
    said: str,
) -> None:
    out = str(tmp_path / "s")
    assert run_command("study", str(small_job.manifest), "--out", out, option, wrong) == 2
    assert said in capsys.readouterr().err


def test_the_reference_is_always_affordable_and_others_in_the_order_of_cost(
    small_job: SmallJob,
) -> None:
    plan = plan_study(
        small_job.manifest, small_job.config, trunks=["vgg16"], kinds=["some", "all"], hours=None
    )
    assert [arm.name for arm in plan.arms] == ["vgg16-frozen", "vgg16-some", "vgg16-all"]
    assert plan.affordable == {arm.name for arm in plan.arms}
    frozen, some, _ = (arm.estimated_s for arm in plan.arms)
    tight = StudyPlan(arms=plan.arms, reference=plan.reference, budget_s=frozen + some)
    assert tight.affordable == {"vgg16-frozen", "vgg16-some"}
    none = StudyPlan(arms=plan.arms, reference=plan.reference, budget_s=0.0)
    assert none.affordable == {"vgg16-frozen"}


@pytest.mark.slow
def test_a_study_compares_its_arms_and_goes_on_where_it_was_stopped(
    small_job: SmallJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "study"
    common = words(small_job, "--out", str(out), "--cache", str(tmp_path / "cache"))
    assert run_command(*common) == 0
    shown = " ".join(capsys.readouterr().out.split())
    document = StudyDocument.read(out / "study.json", stage="study")
    assert {arm.name for arm in document.arms} == {f"vgg16-{name}" for name in ARMS}
    assert {arm.state for arm in document.arms} == {"done"}
    by_name = {arm.name: arm for arm in document.arms}
    # Block 4: kernels of 3 x 3 and biases.
    assert by_name["vgg16-some"].n_trained == (256 + 2 * 512) * 512 * 9 + 3 * 512
    assert by_name["vgg16-frozen"].difference is None
    assert by_name["vgg16-untrained"].transfer == "architecture only"
    assert document.fewer_patients is None or document.fewer_patients.sentence in shown
    # The same difference as between the two runs' own figures.
    some, frozen = (
        json.loads((out / f"vgg16-{name}" / "evaluation.json").read_text())["patient"]["auc"]
        for name in ("some", "frozen")
    )
    difference = by_name["vgg16-some"].difference
    assert difference is not None
    assert difference.value == pytest.approx(some["value"] - frozen["value"])
    page = (out / "index.html").read_text(encoding="utf-8")
    assert document.advice.sentence.split(":")[0] in page
    assert run_command(*common) == 0
    again = StudyDocument.read(out / "study.json", stage="study")
    # Estimates are measured anew, and nothing else is.
    same = {"arms": ()}
    assert again.model_copy(update=same) == document.model_copy(update=same)
    for arm, before in zip(again.arms, document.arms, strict=True):
        assert arm.model_copy(update={"estimated_s": before.estimated_s}) == before
