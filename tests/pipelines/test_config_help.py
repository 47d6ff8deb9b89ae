"""What is said of settings is what the configuration knows."""

from __future__ import annotations

import tomllib

import pytest

from mri_transfer.errors import ConfigurationError
from pipelines.config import RunConfig, config_toml, named_config, read_config
from pipelines.config_help import described_settings, explain_setting
from pipelines.settings import flat_settings
from tests.pipelines.conftest import run_command


def test_every_setting_of_the_default_configuration_is_described_with_its_value() -> None:
    known = described_settings()
    written = flat_settings(tomllib.loads(config_toml(RunConfig())))
    assert written.keys() <= known.keys()
    for name in written:
        (setting, *_) = known[name]
        kept = read_config(None, [f"{name}={setting.default}"])
        assert kept == RunConfig(), name
    # Beside them there are only those of other heads, and those that are unset.
    others = [one for name in known.keys() - written.keys() for one in known[name]]
    assert all(one.kind not in ("", "linear") or not one.default for one in others)


def test_the_shipped_file_explains_in_the_same_words() -> None:
    shipped = " ".join(named_config("default").read_text(encoding="utf-8").replace("#", "").split())
    for name in ("slices.n_slices", "heads.zones", "profile"):
        assert " ".join(described_settings()[name][0].description.split()) in shipped


def test_a_setting_is_explained_with_its_values() -> None:
    text = "\n".join(explain_setting("evaluation.confidence"))
    assert text.startswith("evaluation.confidence = 0.95")
    assert "a number >= 0.5 and < 1" in text
    section = explain_setting("folds")
    assert any(line.startswith("folds.n_folds = 5") for line in section)
    assert not any(line.startswith("slices.") for line in section)


def test_settings_that_kinds_of_head_share_are_explained_for_each() -> None:
    kinds = [line for line in explain_setting("heads.epochs") if "heads.kind" in line]
    assert ["mlp" in line for line in kinds] == [True, False]
    assert ["attention" in line for line in kinds] == [False, True]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("folds.n_fold", "folds.n_folds"),
        ("n_folds", "folds.n_folds"),
        ("balanced", "heads.balanced"),
    ],
)
def test_a_name_that_there_is_not_gets_the_one_that_was_meant(name: str, near: str) -> None:
    with pytest.raises(ConfigurationError, match="no such setting") as caught:
        explain_setting(name)
    assert f"Did you mean {near}?" in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "near"),
    [
        ("folds.n_fold=3", "Did you mean n_folds?"),
        ("fold.n_folds=3", "Did you mean folds?"),
        ("n_folds=3", "Did you mean folds.n_folds?"),
        ("folds.prevalences=[0.5]", "Did you mean evaluation.prevalences?"),
        ("evaluation.size_pix=96", "Did you mean slices.size_px?"),
        ("folds.bootstrap_samples=100",
         "Did you mean evaluation.bootstrap_samples or audit.bootstrap_samples"),
    ],
)  # fmt: skip
def test_a_wrong_setting_gets_the_one_that_was_meant_wherever_it_is(
    setting: str, near: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_config(None, [setting])
    assert near in str(caught.value)


def test_the_command_lists_and_explains(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("config", "--list") == 0
    listed = capsys.readouterr().out.splitlines()
    assert "folds.n_folds = 5" in listed
    assert len(listed) > len(flat_settings(tomllib.loads(config_toml(RunConfig()))))
    assert run_command("config", "--explain", "seed") == 0
    assert "Random seed" in capsys.readouterr().out
    assert run_command("config") == 2
    assert run_command("config", "--explain", "sed") == 2
    assert "Did you mean seed?" in capsys.readouterr().err
