"""Evaluation: the content of `evaluation.json`, and the tables it was made from."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mri_transfer.core.files import atomic_write_text
from mri_transfer.errors import EvaluationError, RunFolderError

__all__ = ["SCHEMA", "Evaluation", "plain"]

#: Name and version of the content of `evaluation.json`.
SCHEMA = "mri-transfer/evaluation/2"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The content of `evaluation.json`: plain dicts, lists, numbers and texts.

    Attributes
    ----------
    document : dict
    baseline_scores : DataFrame
        The scores of every baseline: column baseline, then those of `predictions/patients.csv`.
        Empty when the evaluation was read from its file; no part of a comparison.
    """

    document: dict[str, Any]
    baseline_scores: pd.DataFrame = dataclasses.field(default_factory=pd.DataFrame, compare=False)

    def text(self) -> str:
        """Return the JSON: keys sorted, floats in full, the same bytes for the same content."""
        return (
            json.dumps(self.document, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
            + "\n"
        )

    def write(self, path: Path) -> None:
        """Write the JSON in one step."""
        atomic_write_text(path, self.text())

    @classmethod
    def read(cls, path: Path) -> Evaluation:
        """Read `evaluation.json`.

        Raises
        ------
        RunFolderError
            If the file is missing, no JSON, or of another schema.
        """
        remedy = "Run the evaluate stage again"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RunFolderError("no evaluation", where=str(path), remedy=remedy) from error
        except ValueError as error:
            raise RunFolderError("not a JSON file", where=str(path), remedy=remedy) from error
        schema = document.get("schema") if isinstance(document, dict) else None
        if schema != SCHEMA:
            raise RunFolderError(
                "not an evaluation this version reads",
                where=str(path),
                found=str(schema),
                expected=SCHEMA,
                remedy=remedy,
            )
        return cls(document=document)


def plain(value: Any) -> Any:
    """Return a value as JSON knows it, and refuse NaN and infinity."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        raise EvaluationError("a figure is neither a finite number nor declared undefined")
    return value
