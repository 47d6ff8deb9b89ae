"""Configuration: strict, complete, and the same in code and in the files that ship."""

from __future__ import annotations

from pathlib import Path

import pytest

from mri_transfer.errors import ConfigurationError
from mri_transfer.heads import AttentionHeadSpec, LinearHeadSpec, PublishedHeadSpec
from pipelines.config import CONFIG_FOLDER, RunConfig, config_toml, named_config, read_config


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
    assert config.heads == PublishedHeadSpec(
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
