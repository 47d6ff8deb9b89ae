"""Configuration: strict, complete, and the same in code and in the files that ship."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mri_transfer.errors import ConfigurationError
from mri_transfer.models.heads import AttentionHeadSpec, LinearHeadSpec, MlpHeadSpec
from mri_transfer.training.search import SearchSpec
from pipelines.config import (
    CONFIG_FOLDER,
    RunConfig,
    config_toml,
    named_config,
    override_tuning,
    read_config,
)


def test_default_toml_spells_out_the_defaults_of_the_code() -> None:
    assert named_config("default").read_text() == config_toml(RunConfig(), explain=True)
    assert read_config(named_config("default")) == RunConfig()


@pytest.mark.parametrize("path", sorted(CONFIG_FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_what_ships_reads_back_as_written(path: Path, tmp_path: Path) -> None:
    config = read_config(path)
    (tmp_path / "c.toml").write_text(config_toml(config))
    assert read_config(tmp_path / "c.toml") == config


def test_a_bare_name_means_the_configuration_that_ships() -> None:
    assert read_config(Path("hon_khan_2017.toml")) == read_config(named_config("hon_khan_2017"))


def test_the_published_design_is_the_published_one() -> None:
    config = read_config(named_config("hon_khan_2017"))
    assert config.heads == MlpHeadSpec(
        hidden=256, dropout=0.5, learning_rate=1e-3, batch_size=40, epochs=100
    )
    assert (config.slices.size_px, config.slices.selection) == (150, "entropy")
    assert (config.trunk.input_scaling, config.features.pooling) == ("unit", "flatten")
    assert config.predictions.threshold == 0.5


def test_overrides_are_toml_values_or_words() -> None:
    config = read_config(None, ["folds.n_folds=7", "slices.selection=entropy", "seed=3"])
    assert (config.folds.n_folds, config.slices.selection, config.seed) == (7, "entropy", 3)


def test_another_kind_of_head_drops_the_settings_of_the_former(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[heads]\nkind = "linear"\nzones = 4\n')
    assert read_config(path, ["heads.kind=attention"]).heads == AttentionHeadSpec()


def test_a_heads_setting_without_a_kind_is_meant_for_the_default_head() -> None:
    assert read_config(None, ["heads.zones=4"]).heads == LinearHeadSpec(zones=4)


def test_every_fault_is_listed_at_once(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('sead = 1\n[folds]\nn_folds = 1\n[heads]\nkind = "linear"\nzonse = 2\n')
    with pytest.raises(ConfigurationError) as caught:
        read_config(path)
    message = str(caught.value)
    assert "3 faults" in message
    for part in ("sead: no such setting", "folds.n_folds", "zonse: no such setting"):
        assert part in message


@pytest.mark.parametrize("text", ["folds.n_folds", "=3", "folds..x=3", "seed.x=1"])
def test_settings_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        read_config(None, ["seed=1", text])


def test_a_circular_covariate_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="mmse"):
        read_config(None, ['evaluation.covariates=["mmse"]'])


def test_a_missing_file_names_those_that_ship(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"hon_khan_2017\.toml"):
        read_config(tmp_path / "none.toml")


def test_a_profile_lies_beneath_what_the_file_and_the_command_line_say(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('profile = "quick"\n[audit]\nbootstrap_samples = 300\n')
    quick = read_config(path)
    assert quick.profile == "quick"
    assert quick.search.space == "none"
    assert quick.audit.bootstrap_samples == 300
    assert quick.audit.n_permutations == 5
    more = read_config(path, ["audit.n_permutations=7", "search.space=auto"])
    assert (more.audit.n_permutations, more.search.space) == (7, "auto")
    assert more.audit.bootstrap_samples == 300


def test_the_command_line_may_name_another_profile_than_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('profile = "quick"\n[audit]\nbootstrap_samples = 300\n')
    full = read_config(path, ["profile=full"])
    assert full.audit.learning_curve
    assert full.audit.robustness_patients > 0
    assert full.search.space == "auto"
    assert full.audit.bootstrap_samples == 300


def test_without_a_profile_it_is_the_standard_one_which_is_the_code_itself() -> None:
    assert read_config(None) == read_config(None, ["profile=standard"]) == RunConfig()


def test_each_profile_does_more_than_the_one_before() -> None:
    quick, standard, full = (
        read_config(None, [f"profile={name}"]) for name in ("quick", "standard", "full")
    )
    assert quick.search.space == "none" != standard.search.space
    for smaller, larger in ((quick, standard), (standard, full)):
        assert smaller.audit.n_permutations < larger.audit.n_permutations
        assert smaller.evaluation.bootstrap_samples < larger.evaluation.bootstrap_samples
    assert not standard.audit.learning_curve
    assert standard.audit.robustness_patients == 0
    # What a head is and how it is judged is the same in all of them.
    for one in (quick, full):
        for part in ("heads", "features", "folds", "slices", "predictions", "harmonisation"):
            assert getattr(one, part) == getattr(standard, part)


@pytest.mark.parametrize("name", ["fast", "", 3])
def test_no_such_profile(name: object) -> None:
    with pytest.raises(ConfigurationError, match="profile"):
        read_config(None, [f"profile={name}"])


@pytest.mark.parametrize(
    "settings",
    [
        ["profile=quick"],
        ["profile=full", "audit.learning_curve=false"],
        ["search.space.heads.zones=[1,4]", "search.space.heads.inverse_l2=[[1.0,3.0],[10.0]]"],
        ["search.space={'features.pooling'=['average','flatten'], 'heads.balanced'=[false]}"],
        ["search.space.heads=[{kind='attention',epochs=3},{zones=1}]", "search.sampler=grid"],
        ["labels.classes=['CN','MCI','AD']", "harmonisation.kind=combat"],
        ["predictions.recalibration=['platt']", "predictions.threshold=0.25"],
        ["slices.selection=window", "slices.window_mm=[-20.0,40.0]"],
    ],
    ids=lambda settings: settings[0],
)
def test_a_resolved_configuration_reads_back_as_the_same(
    settings: list[str], tmp_path: Path
) -> None:
    config = read_config(None, settings)
    path = tmp_path / "config.toml"
    for explain in (False, True):
        path.write_text(config_toml(config, explain=explain), encoding="utf-8")
        assert read_config(path) == config
    again = read_config(path)
    assert config_toml(again) == config_toml(config)


def test_a_searched_space_is_read_from_tables_however_they_are_nested(tmp_path: Path) -> None:
    expected = SearchSpec(space={"heads.zones": [1, 4], "features.pooling": ["average"]})
    path = tmp_path / "c.toml"
    for text in (
        '[search.space]\nheads.zones = [1, 4]\nfeatures.pooling = ["average"]\n',
        '[search.space]\n"heads.zones" = [1, 4]\n"features.pooling" = ["average"]\n',
        '[search.space.heads]\nzones = [1, 4]\n[search.space.features]\npooling = ["average"]\n',
    ):
        path.write_text(text)
        assert read_config(path).search == expected
    path.write_text('profile = "quick"\n' + text)
    assert read_config(path).search == expected


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("search.space.heads.zonse=[1]", "zonse"),
        ("search.space.heads.zones=[0]", "zones"),
        ("search.space.heads.zones=2", r"heads\.zones must be a list"),
        ("search.space.slices.n_slices=[8]", r"slices\.n_slices"),
        ("search.space=everything", "everything"),
        ("search.trials=3", "trials"),
        ("search.margin_se=-1", "margin_se"),
        ("predictions.threshold=50", "threshold"),
        ("predictions.recalibration=[]", "recalibration"),
        ("predictions.targets=['0.9']", "0.9"),
        ("labels.classes=['CN','MCI']", "three or more"),
        ("harmonisation.preserve=['cdr']", "cdr"),
        ("audit.blinded_folds=0", "blinded_folds"),
    ],
)
def test_a_setting_without_sense_is_refused_before_anything_runs(setting: str, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        read_config(None, [setting])


def test_the_published_design_searches_nothing_and_changes_no_score() -> None:
    config = read_config(named_config("hon_khan_2017"))
    assert config.search.for_head(config.heads.kind) == {}
    assert not config.predictions.needs_inner_scores
    # A head takes minutes: what trains more of them than the stress test is kept small.
    assert not config.evaluation.random_trunk
    assert (config.audit.n_permutations, config.audit.blinded_folds) == (1, 1)


def test_the_demo_is_a_first_look() -> None:
    assert read_config(named_config("demo")).profile == "quick"


@pytest.mark.parametrize(
    ("setting", "meant"),
    [
        ("harmonization.kind=combat", "harmonisation"),
        ("harmonisation.kind=comabt", "combat"),
        ("heads.kind=atention", "attention"),
        ("heads.zonse=4", "zones"),
        ("folds.nfolds=4", "n_folds"),
        ("trunk.name=vgg-16", "vgg16"),
        ("profile=quik", "quick"),
        ("preparation.brain_extraction=hdbet", "hd-bet"),
        ("trunk.layer=block4pool", "block4_pool"),
    ],
)
def test_a_setting_with_a_typo_is_told_what_may_be_meant(setting: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"Did you mean {meant}\?( \(found|$)"):
        read_config(None, [setting])


def test_a_value_with_an_old_name_is_told_the_new_one() -> None:
    with pytest.raises(ConfigurationError, match="It is now called mlp"):
        read_config(None, ["heads.kind=published"])


def test_labels_may_be_numbers_on_the_command_line_and_in_the_file(tmp_path: Path) -> None:
    config = read_config(None, ["labels.positive=1", "labels.negative=0"])
    assert (config.labels.positive, config.labels.negative) == ("1", "0")
    (tmp_path / "c.toml").write_text(config_toml(config))
    assert read_config(tmp_path / "c.toml") == config


def test_a_trunk_that_does_not_exist_is_refused_with_the_configuration() -> None:
    with pytest.raises(ConfigurationError, match=r"no such trunk; there is vgg16"):
        read_config(None, ["trunk.name=resnet99"])


@pytest.mark.parametrize("name", ["ewc", "rehearsal"])
def test_a_run_has_nobody_to_forget(name: str) -> None:
    with pytest.raises(ConfigurationError, match="no old cohort that could be forgotten") as caught:
        read_config(None, ["tuning.strategy=some", f"tuning.{name}=0.5"])
    assert f"--mode tune --set tuning.{name}=0.5" in str(caught.value)


def test_how_a_tail_is_trained_further_is_set_one_by_one() -> None:
    tuning = read_config(None, ["tuning.strategy=some", "tuning.epochs=7"]).tuning
    found = override_tuning(tuning, ["tuning.ewc=100", "tuning.schedule=plateau"])
    assert found == dataclasses.replace(tuning, ewc=100.0, schedule="plateau")
    assert override_tuning(tuning, []) == tuning
    for wrong, said in (
        ("heads.kind=mlp", "only how the tail is trained"),
        ("tuning.ewk=1", "no such setting. Did you mean ewc"),
        ("tuning.rehearsal=2", "rehearsal"),
    ):
        with pytest.raises(ConfigurationError, match=said):
            override_tuning(tuning, [wrong])
