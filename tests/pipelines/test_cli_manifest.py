"""The commands `manifest KIND`, as a person types them: what is written, said and refused."""

from __future__ import annotations

import csv
import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import get_args

import pytest
import typer
from typer.testing import CliRunner

from mri_transfer.cohorts.manifest.manifest import read_manifest
from mri_transfer.cohorts.mapping.mapping import shipped_mappings
from mri_transfer.cohorts.readers.oasis1.reader import Oasis1Selection, Oasis1Volume
from mri_transfer.cohorts.readers.registry import READERS
from pipelines.commands.cli import app, main
from tests.cohorts import test_caps as caps_cohort
from tests.cohorts import test_oasis1 as oasis1_cohort
from tests.cohorts.dicom_phantoms import HANS, ROSA, write_series
from tests.phantoms import asymmetric_phantom, store_nifti, write_bids_cohort, write_tsv

ROOT = Path(__file__).resolve().parents[2]

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _unflushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flushing many small images to the disk takes longer than everything else here."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Call the command in an empty folder; gives exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mri-transfer", *words])
        with pytest.raises(SystemExit) as end:
            main()
        output = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, output.out, output.err

    return call


def _manifest(cli: Cli, kind: str, source: str, *options: str) -> str:
    """Make a manifest that must be made; return what was said."""
    code, output, errors = cli("manifest", kind, source, "--out", "m.csv", *options)
    assert code == 0, errors
    assert output.splitlines()[-1] == "written to m.csv"
    return output


def _column(name: str, path: str = "m.csv") -> list[str]:
    with open(path, encoding="utf-8", newline="") as stream:
        return [row[name] for row in csv.DictReader(stream)]


def _group() -> Mapping[str, typer.core.TyperCommand]:
    app_group = typer.main.get_command(app)
    return app_group.commands["manifest"].commands  # type: ignore[attr-defined]


class TestHelp:
    def test_every_kind_of_cohort_has_a_command(self) -> None:
        assert set(_group()) == set(READERS)

    @pytest.mark.parametrize("kind", sorted(READERS))
    def test_says_what_is_read_and_where_it_is_written(self, kind: str) -> None:
        result = CliRunner().invoke(app, ["manifest", kind, "--help"])
        assert result.exit_code == 0
        for word in ("SOURCE", "--out FILE"):
            assert word in result.output

    @pytest.mark.parametrize(
        ("kind", "option", "names"),
        [
            ("csv", "mapping", shipped_mappings()),
            ("oasis1", "mapping", shipped_mappings()),
            ("oasis1", "volume", get_args(Oasis1Volume)),
            ("oasis1", "selection", get_args(Oasis1Selection)),
        ],
    )
    def test_names_every_value_that_an_option_may_have(
        self, kind: str, option: str, names: Sequence[str]
    ) -> None:
        (parameter,) = [one for one in _group()[kind].params if one.name == option]
        words = parameter.help.replace(",", " ").replace(":", " ").split()  # type: ignore[attr-defined]
        assert set(names) <= set(words)


class TestBids:
    @pytest.fixture
    def cohort(self, tmp_path: Path) -> Path:
        return write_bids_cohort(
            tmp_path / "bids",
            {"1": ["01", "02"], "2": ["01"], "3": ["01"]},
            columns=["participant_id", "dx_raw", "diagnosis"],
            rows=[["sub-1", "Dementia", "a"], ["sub-2", "HC", "b"], ["sub-3", "MCI", "c"]],
        )

    def test_by_default_every_image_and_every_label(self, cli: Cli, cohort: Path) -> None:
        output = _manifest(cli, "bids", "bids")
        assert _column("label") == ["a", "a", "b", "c"]
        assert "note: Labels are read from the column diagnosis." in output
        assert "4 scans of 3 patients (a: 2, b: 1, c: 1)" in output

    def test_values_become_labels_and_entities_are_filtered(self, cli: Cli, cohort: Path) -> None:
        labels = ["--label", "Dementia=AD", "--label", "HC=CN", "--label", "MCI="]
        column = ["--label-column", "dx_raw"]
        output = _manifest(cli, "bids", "bids", *column, *labels, "--filter", "ses=01")
        assert _column("session_id") == ["ses-01"] * 3
        assert _column("label") == ["AD", "CN", ""]
        assert "note: 1 of 3 scans have no label" in output
        _manifest(cli, "bids", "bids", "--filter", "ses=01", "--filter", "ses=02")
        assert len(_column("path")) == 4

    def test_a_label_alone_stands_for_itself_and_others_are_refused(
        self, cli: Cli, cohort: Path
    ) -> None:
        _manifest(cli, "bids", "bids", "--label", "a", "--label", "b", "--label", "c=")
        assert _column("label") == ["a", "a", "b", ""]
        named = ["--label", "a", "--label", "b"]
        code, _, errors = cli("manifest", "bids", "bids", "--out", "n.csv", *named)
        assert code == 1
        assert "unknown label (found 'c' in participants.tsv row 4; expected a, b)" in errors
        assert not Path("n.csv").exists()

    def test_tables_of_another_data_set_and_the_chosen_phenotype(
        self, cli: Cli, cohort: Path, tmp_path: Path
    ) -> None:
        for name, cell in (("mmse", "21"), ("cdr", "1")):
            rows = [[f"sub-{patient}", cell] for patient in (1, 2, 3)]
            write_tsv(cohort / "phenotype" / f"{name}.tsv", ["participant_id", name], rows)
        write_bids_cohort(tmp_path / "derived", {"1": ["01"]})
        output = _manifest(
            cli, "bids", "derived", "--tables", "bids", "--phenotype", "mmse", "--suffix", "T1w"
        )
        assert _column("mmse") == ["21"]
        assert "cdr" not in Path("m.csv").read_text(encoding="utf-8").splitlines()[0]
        assert "1 scan of 1 patient (a: 1)" in output


class TestOasis1:
    @pytest.fixture
    def discs(self, tmp_path: Path) -> Path:
        root = tmp_path / "discs"
        for seed, name in enumerate(("0001_MR1", "0002_MR1", "0004_MR1", "0042_MR2")):
            oasis1_cohort.write_session(root / f"disc{seed % 2}", f"OAS1_{name}", n=1, seed=seed)
        oasis1_cohort.write_table(root / "oasis_cross-sectional.csv")
        return root

    def test_labels_by_cdr_and_images_beside_the_manifest(self, cli: Cli, discs: Path) -> None:
        output = _manifest(cli, "oasis1", "discs")
        scans = read_manifest("m.csv").scans
        assert scans["label"].fillna("none").tolist() == ["CN", "AD", "none", "none"]
        assert all(path.startswith("m_images/sub-OAS1") for path in _column("path"))
        assert "converting volumes: 4/4" in output
        assert "note: 4 volumes converted to NIfTI, 0 already there." in output
        assert "4 scans of 4 patients (AD: 1, CN: 1, no label: 2)" in output
        assert "0 volumes converted to NIfTI, 4 already" in _manifest(cli, "oasis1", "discs")

    def test_volume_images_table_and_ages_are_chosen(self, cli: Cli, discs: Path) -> None:
        (discs / "oasis_cross-sectional.csv").rename("table.csv")
        options = "--volume raw --images nii/raw --clinical table.csv --min-age 30 --max-age 74"
        _manifest(cli, "oasis1", "discs", *options.split())
        assert _column("patient_id") == ["OAS1_0001", "OAS1_0002"]
        assert (
            _column("path")[0]
            == "nii/raw/sub-OAS10001/ses-MR1/anat/sub-OAS10001_ses-MR1_T1w.nii.gz"
        )
        assert not Path("m_images").exists()

    def test_the_published_selection_and_a_mapping_of_ones_own(self, cli: Cli, discs: Path) -> None:
        text = (ROOT / "data_manifests" / "oasis1.toml").read_text(encoding="utf-8")
        Path("own.toml").write_text(text.replace('label = "AD"', 'label = "impaired"'))
        options = ["--selection", "hon_khan_2017", "--mapping", "own.toml"]
        output = _manifest(cli, "oasis1", "discs", *options)
        assert _column("label") == ["CN", "impaired"]
        assert "the table is incomplete" in output


class TestCaps:
    def test_labels_column_and_kind_of_image(self, cli: Cli, tmp_path: Path) -> None:
        caps_cohort.write_caps(tmp_path / "caps")
        rows = [[*row[:2], f"g{row[2]}"] for row in caps_cohort.ROWS]
        for name, part in (("a", rows[:2]), ("b", rows[2:])):
            write_tsv(tmp_path / f"{name}.tsv", ["participant_id", "session_id", "group"], part)
        options = "--labels a.tsv --labels b.tsv --label-column group --uncropped"
        _manifest(cli, "caps", "caps", *options.split())
        assert _column("label") == ["gAD", "gAD", "gCN", "gCN"]
        assert not any("desc-Crop" in path for path in _column("path"))
        output = _manifest(cli, "caps", "caps")
        assert all("desc-Crop" in path for path in _column("path"))
        assert "4 scans of 3 patients (no label: 4)" in output


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients, each with a T1 series and a telling name. Read only."""
    root = tmp_path_factory.mktemp("dicom") / "export"
    write_series(root / "Muellerkopf", HANS, n_slices=40, size=16)
    odd = "Fenstermacher special"
    write_series(root / "Fenstermacher", ROSA, n_slices=40, size=16, seed=1, SeriesDescription=odd)
    return root


class TestDicom:
    def test_labels_by_patient_and_nobody_is_named(
        self, cli: Cli, export: Path, tmp_path: Path
    ) -> None:
        labels = f"patient_id,label\n{HANS.patient_id},AD\n{ROSA.patient_id},CN\n"
        Path("labels.csv").write_text(labels)
        output = _manifest(cli, "dicom", str(export), "--labels", "labels.csv")
        assert sorted(_column("label")) == ["AD", "CN"]
        assert all(path.startswith("m_images/sub-") for path in _column("path"))
        assert "m_images.salt" in output
        assert Path("m_images.salt").stat().st_mode & 0o077 == 0
        texts = [output] + [
            path.read_text(encoding="utf-8")
            for path in tmp_path.rglob("*")
            if path.suffix in (".json", ".csv") and path.name != "labels.csv"
        ]
        for secret in (*HANS.secrets, *ROSA.secrets):
            assert not any(secret in text for text in texts)

    def test_a_salt_of_ones_own_gives_the_same_ids_in_two_folders(
        self, cli: Cli, export: Path
    ) -> None:
        Path("salt").write_text("a-secret-of-the-tests\n")
        options = ["--salt-file", "salt", "--series", "SPECIAL"]
        _manifest(cli, "dicom", str(export), *options, "--images", "one")
        first = _column("patient_id")
        assert len(first) == 1
        output = _manifest(cli, "dicom", str(export), *options, "--images", "two")
        assert _column("patient_id") == first
        assert "salt" not in output
        assert not list(Path().glob("*.salt"))


class TestCsv:
    def test_columns_root_and_mapping(self, cli: Cli, tmp_path: Path) -> None:
        for seed in range(2):
            store_nifti(tmp_path / "scans" / f"{seed}.nii", asymmetric_phantom(seed=seed))
        Path("t.csv").write_text(
            "Subject,a=b,DXCURREN,VISCODE,RID\np,0.nii,3,bl,7\nq,1.nii,1,m18,8\n"
        )
        renamed = ["--column", "Subject=patient_id", "--column", "a=b=path", "--root", "scans"]
        _manifest(cli, "csv", "t.csv", *renamed)
        assert _column("patient_id") == ["p", "q"]
        assert _column("path") == ["scans/0.nii", "scans/1.nii"]
        _manifest(cli, "csv", "t.csv", *renamed[2:], "--mapping", "aibl")
        assert _column("patient_id") == ["sub-AIBL7", "sub-AIBL8"]
        assert _column("label") == ["AD", "CN"]


WRONG: Mapping[str, tuple[str, int, str]] = {
    "column without a name": ("csv t.csv --column =path", 2, "expected THEIRS=OURS"),
    "column without ours": ("csv t.csv --column A=", 2, "expected THEIRS=OURS"),
    "column that is no pair": ("csv t.csv --column A", 2, "--column: cannot read the option"),
    "column renamed twice": ("csv t.csv --column A=x --column A=y", 2, "A=x and A=y"),
    "column that is not there": ("csv t.csv --column A=x", 1, "no such column"),
    "no such mapping": (
        "csv t.csv --mapping adnii",
        2,
        "adni, adni_search, aibl, nacc, oasis1, oasis3",
    ),
    "no mapping": ("csv t.csv --mapping t.csv", 2, "not TOML"),
    "mapping with unknown keys": ("csv t.csv --mapping m.toml", 2, "colunms: no such setting"),
    "no table": ("csv none.csv", 1, "none.csv"),
    "no root": ("csv t.csv --root none", 1, "not a folder"),
    "manifest is a folder": ("csv t.csv --out folder", 2, "is a directory"),
    "unknown option": ("csv t.csv --labels AD", 2, "No such option"),
    "no data set": ("bids none", 1, "no such folder"),
    "label without a value": ("bids folder --label =AD", 2, "expected VALUE=LABEL"),
    "two labels of a value": ("bids folder --label a=AD --label a=CN", 2, "given twice"),
    "filter that is no pair": ("bids folder --filter ses", 2, "expected ENTITY=VALUE"),
    "no such volume": ("oasis1 folder --volume t99", 2, "expected t88_masked, t88, raw"),
    "no such selection": ("oasis1 folder --selection oldest", 2, "expected all, hon_khan_2017"),
    "age that is no number": ("oasis1 folder --min-age old", 2, "--min-age"),
    "negative age": ("oasis1 folder --max-age -3", 2, "--max-age"),
    "ages that leave nobody": ("oasis1 folder --min-age 80 --max-age 70", 2, "exclude everybody"),
    "no discs": ("oasis1 folder", 1, "session"),
    "no CAPS folder": ("caps folder", 1, "not a CAPS folder"),
    "no such table of labels": ("caps caps --labels none.tsv", 1, "none.tsv"),
    "no salt": ("dicom folder --salt-file none", 2, "does not exist"),
    "salt too short": ("dicom dicom --salt-file short", 2, "too short"),
    "salt that is no text": ("dicom dicom --salt-file binary", 2, "cannot read the salt"),
    "no pattern": ("dicom folder --series (", 2, "not a regular expression"),
    "no time": ("dicom folder --timeout-s 0", 2, "--timeout-s"),
    "images inside the source": ("dicom . --images x", 2, "must not contain each other"),
    "images by default inside the source": ("dicom .", 2, "must not contain each other"),
    "no DICOM": ("dicom folder", 1, "no DICOM image"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_gets_a_message_and_its_exit_code(cli: Cli, tmp_path: Path, name: str) -> None:
    words, code, message = WRONG[name]
    Path("t.csv").write_text("patient_id,path\np,0.nii\n")
    Path("m.toml").write_text("colunms = { A = 'x' }\n")
    Path("short").write_text("0123456789\n")
    Path("binary").write_bytes(b"\xff" * 40)
    Path("folder").mkdir()
    if "caps caps" in words:
        caps_cohort.write_caps(tmp_path / "caps", ["A1 M000"])
    if "dicom dicom" in words:
        write_series(tmp_path / "dicom", HANS, n_slices=2, size=16)
    out = [] if "--out" in words else ["--out", "m.csv"]
    found, _, errors = cli("manifest", *shlex.split(words, posix=False), *out)
    assert message in errors
    assert found == code
    assert "Traceback" not in errors
    assert not Path("m.csv").exists()


def _commands_of_the_guide() -> list[str]:
    text = (ROOT / "docs" / "guide" / "manifests.md").read_text(encoding="utf-8")
    return re.findall(r"`mri-transfer manifest ([^`]+)`", text)


def test_the_guide_shows_every_kind() -> None:
    assert {command.split()[0] for command in _commands_of_the_guide()} == set(READERS)


@pytest.mark.parametrize("command", _commands_of_the_guide())
def test_the_commands_of_the_guide_are_understood(command: str) -> None:
    kind, *words = shlex.split(command)
    context = _group()[kind].make_context(kind, words)  # raises for an unknown option
    assert context.params["out"] is not None


def test_an_unknown_kind_or_none_or_no_source_is_wrong_use(cli: Cli) -> None:
    for words in (["csv"], [], ["xnat", "x", "--out", "m.csv"]):
        assert cli("manifest", *words)[0] == 2
