"""RunConfig: the settings of a run, composed of the library's Specs, as TOML."""

from __future__ import annotations

import dataclasses
import textwrap
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from mri_transfer.cohorts.labels import LabelSpec
from mri_transfer.core.specs import STRICT, spec_dict, validation_message
from mri_transfer.errors import ConfigurationError
from mri_transfer.evaluation import EvaluationSpec
from mri_transfer.evaluation.audit import AuditSpec, DuplicateSpec
from mri_transfer.explain import ExplanationSpec
from mri_transfer.models.features import FeatureSpec, Pooling
from mri_transfer.models.harmonisation import HarmonisationSpec
from mri_transfer.models.heads import HEAD_KINDS, HeadSpec, LinearHeadSpec
from mri_transfer.models.tails.spec import TuningSpec
from mri_transfer.models.trunks import TrunkSpec
from mri_transfer.report.render.settings import PrintSpec
from mri_transfer.scans.preparation import PreparationSpec
from mri_transfer.scans.quality import QualitySpec
from mri_transfer.scans.slices import SliceSpec
from mri_transfer.scans.volumes import VolumeSpec
from mri_transfer.training.search import Hyperparameters, SearchSpec, check_space, searched_poolings
from mri_transfer.training.settings import FoldSpec, InstancesSpec, PredictionSpec
from pipelines.engines.settings import ExecutorSpec

if TYPE_CHECKING:
    from mri_transfer.training.model_config import ModelConfig

__all__ = [
    "RunConfig",
    "config_of",
    "config_toml",
    "named_config",
    "override_tuning",
    "read_config",
]

CONFIG_FOLDER = Path(__file__).parent / "configs"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RunConfig:
    """Every setting of a run."""

    profile: Literal["quick", "standard", "full"] = "standard"
    """Preset for settings that this file does not set: `quick` has no search and few permutations;
    `full` adds robustness and the learning curve to `standard`."""
    seed: int = Field(default=0, ge=0, lt=2**32)
    """Random seed for folds, initial weights, permutations and bootstrap samples."""
    labels: LabelSpec = Field(default_factory=LabelSpec)
    volumes: VolumeSpec = Field(default_factory=VolumeSpec)
    preparation: PreparationSpec = Field(default_factory=PreparationSpec)
    quality: QualitySpec = Field(default_factory=QualitySpec)
    duplicates: DuplicateSpec = Field(default_factory=DuplicateSpec)
    slices: SliceSpec = Field(default_factory=SliceSpec)
    trunk: TrunkSpec = Field(default_factory=TrunkSpec)
    features: FeatureSpec = Field(default_factory=FeatureSpec)
    tuning: TuningSpec = Field(default_factory=TuningSpec)
    folds: FoldSpec = Field(default_factory=FoldSpec)
    instances: InstancesSpec = Field(default_factory=InstancesSpec)
    harmonisation: HarmonisationSpec = Field(default_factory=HarmonisationSpec)
    heads: HeadSpec = Field(default_factory=LinearHeadSpec)
    predictions: PredictionSpec = Field(default_factory=PredictionSpec)
    search: SearchSpec = Field(default_factory=SearchSpec)
    evaluation: EvaluationSpec = Field(default_factory=EvaluationSpec)
    audit: AuditSpec = Field(default_factory=AuditSpec)
    explanation: ExplanationSpec = Field(default_factory=ExplanationSpec)
    report: PrintSpec = Field(default_factory=PrintSpec)
    executor: ExecutorSpec = Field(default_factory=ExecutorSpec)

    def sections(self, *names: str) -> dict[str, Any]:
        """Return some sections as plain values, by their names."""
        return {name: spec_dict(getattr(self, name)) for name in names}

    @property
    def hyperparameters(self) -> Hyperparameters:
        """The default hyperparameters, unless the search finds better ones."""
        return Hyperparameters(
            pooling=self.features.pooling,
            head=self.heads,
            aggregation=self.predictions.aggregation,
        )

    @property
    def poolings(self) -> tuple[Pooling, ...]:
        """Every pooling that a run may use, the configured one first."""
        searched = searched_poolings(self.search, self.heads.kind)
        return tuple(dict.fromkeys((self.features.pooling, *searched)))


def config_of(recipe: ModelConfig) -> RunConfig:
    """Return a bundle's settings as a RunConfig; all other settings have their defaults."""
    shared = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)}
    return RunConfig(**shared)


def named_config(name: str) -> Path:
    """Return the path of a shipped configuration."""
    return CONFIG_FOLDER / f"{name}.toml"


def read_config(path: Path | None, overrides: Sequence[str] = ()) -> RunConfig:
    """Read a configuration file and apply `section.key=value` overrides.

    Parameters
    ----------
    path : Path, optional
        A TOML file; settings not in it keep their defaults. A name such as `hon_khan_2017.toml`
        that is not a file in the current folder refers to a shipped configuration.
    overrides : sequence of str
        Applied in order. Setting another `heads.kind` drops the settings of the previous kind.

    Raises
    ------
    ConfigurationError
        Listing every unknown key and invalid value.
    """
    settings: dict[str, Any] = {}
    if path is not None:
        settings = _read_toml(path)
    for override in overrides:
        keys, value = parse_override(override)
        _set(settings, keys, value, override)
    settings = _on_profile(settings)
    if isinstance(settings.get("heads"), dict):
        settings["heads"].setdefault("kind", LinearHeadSpec().kind)
    where = "the command line" if path is None else str(path)
    try:
        config = TypeAdapter(RunConfig).validate_python(settings)
    except ValidationError as error:
        message = validation_message(error, of="configuration", model=RunConfig, unnamed=HEAD_KINDS)
        raise ConfigurationError(message, where=where) from error
    check_space(config.search, config.hyperparameters)
    _demand_no_old_cohort(config)
    _demand_plain_instances(config)
    return config


def _demand_no_old_cohort(config: RunConfig) -> None:
    """Refuse guards against forgetting patients whom a run does not have."""
    for name in ("ewc", "rehearsal"):
        if value := getattr(config.tuning, name):
            raise ConfigurationError(
                "a run has no old cohort that could be forgotten",
                where=f"tuning.{name}",
                found=f"{value:g}",
                expected="0",
                remedy="Set it where a bundle takes in a cohort: `mri-transfer retrain --from "
                f"BUNDLE --run RUN --mode tune --set tuning.{name}={value:g}`. The pull towards "
                "the source weights is tuning.l2_sp",
            )


def _demand_plain_instances(config: RunConfig) -> None:
    """Refuse instances beside what would not be fitted to them, before hours are spent."""
    if not config.instances.manifest:
        return
    for where, found, expected in (
        ("tuning.strategy", config.tuning.strategy, "frozen"),
        ("harmonisation.kind", config.harmonisation.kind, "none"),
    ):
        if found != expected:
            raise ConfigurationError(
                "instances of another cohort are weighed in heads on features as they are",
                where=where,
                found=f"{found}, with instances.manifest = {config.instances.manifest}",
                expected=expected,
            )


def _on_profile(settings: dict[str, Any]) -> dict[str, Any]:
    """Merge settings with those of their profile; explicit settings take precedence."""
    profile = settings.get("profile", RunConfig().profile)
    path = CONFIG_FOLDER / "profiles" / f"{profile}.toml"
    if not isinstance(profile, str) or not path.is_file():
        return settings  # refused later, with other invalid values
    merged = _read_toml(path)
    for section, values in settings.items():
        if isinstance(values, dict) and isinstance(merged.get(section), dict):
            merged[section] |= values
        else:
            merged[section] = values
    return merged


def parse_override(text: str) -> tuple[list[str], Any]:
    """Split `section.key=value`; the value is TOML or a plain word.

    Raises
    ------
    ConfigurationError
        If there is no `=` or no key.
    """
    name, equals, raw = text.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        raise ConfigurationError(
            "cannot read the setting", where="--set", found=text, expected="section.key=value"
        )
    try:
        return keys, tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return keys, raw.strip()


def override_tuning(tuning: TuningSpec, overrides: Sequence[str]) -> TuningSpec:
    """Return the settings of a tail with `tuning.key=value` overrides.

    Raises
    ------
    ConfigurationError
        If an override is of another section, unknown or invalid.
    """
    values = spec_dict(tuning)
    for override in overrides:
        keys, value = parse_override(override)
        if keys[:-1] != ["tuning"]:
            raise ConfigurationError(
                "only how the tail is trained can be set here",
                where="--set",
                found=override,
                expected="tuning.key=value",
            )
        values[keys[-1]] = value
    try:
        return TypeAdapter(TuningSpec).validate_python(values)
    except ValidationError as error:
        message = validation_message(error, of="section tuning", model=TuningSpec)
        raise ConfigurationError(message, where="--set") from error


def config_toml(config: RunConfig, *, explain: bool = False) -> str:
    """Write a configuration as TOML, including all defaults.

    Parameters
    ----------
    config : RunConfig
    explain : bool
        Whether to add each setting's description as a comment.
    """
    import tomlkit

    document = tomlkit.document()
    for key in (field.name for field in dataclasses.fields(config)):
        value = getattr(config, key)
        if not dataclasses.is_dataclass(value):
            _add_setting(document, config, key, explain=explain)
            continue
        section = tomlkit.table()
        if explain:
            section.comment((type(value).__doc__ or "").strip().splitlines()[0])
        for field in dataclasses.fields(value):
            _add_setting(section, value, field.name, explain=explain)
        document.add(key, section)
    return tomlkit.dumps(document)


def _add_setting(container: Any, spec: Any, name: str, *, explain: bool) -> None:
    import tomlkit

    value = getattr(spec, name)
    if value is None:
        return
    description = type(spec).__pydantic_fields__[name].description
    if explain and description:
        for line in textwrap.wrap(description, width=96):
            container.add(tomlkit.comment(line))
    container.add(name, list(value) if isinstance(value, tuple) else value)


def _read_toml(path: Path) -> dict[str, Any]:
    if not path.is_file() and path.name == str(path) and named_config(path.stem).is_file():
        path = named_config(path.stem)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        shipped = ", ".join(sorted(file.name for file in CONFIG_FOLDER.glob("*.toml")))
        raise ConfigurationError(
            "cannot read the configuration",
            where=str(path),
            found=error.strerror,
            remedy=f"Give a TOML file, or a shipped one: {shipped}",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError("not TOML", where=str(path), found=str(error)) from error


def _set(settings: dict[str, Any], keys: Sequence[str], value: Any, text: str) -> None:
    inner = settings
    for key in keys[:-1]:
        inner = inner.setdefault(key, {})
        if not isinstance(inner, dict):
            raise ConfigurationError(f"{key} is not a section", where="--set", found=text)
    if list(keys) == ["heads", "kind"] and inner.get("kind", "linear") != value:
        inner.clear()
    inner[keys[-1]] = value
