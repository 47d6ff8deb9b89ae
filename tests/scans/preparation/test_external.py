"""Programs of the user's own: found on the path, called as they want it, their faults told."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from mri_transfer.errors import ConfigurationError, MachineError, PreparationError
from mri_transfer.scans.preparation import PreparationSpec, prepare_scan
from mri_transfer.scans.preparation.external import PROGRAMS, demand_program, extract_brain
from mri_transfer.scans.volumes import Volume
from tests.heads_phantom import in_place_head
from tests.phantoms import asymmetric_phantom, ras_affine

#: Stands in for the program: calls the right front top corner brain, and writes its words down.
FAKE = """#!{python}
import pathlib, sys
import nibabel as nib, numpy as np
words = sys.argv[1:]
pathlib.Path({log!r}).write_text(" ".join(words))
scan = nib.load(words[words.index("-i") + 1])
mask = np.zeros(scan.shape, np.uint8)
x, y, z = (n // 2 for n in scan.shape)
mask[x:, y:, z:] = 1
image = nib.Nifti1Image(mask, scan.affine)
if "-m" in words:
    nib.save(image, words[words.index("-m") + 1])
else:
    assert "--save_bet_mask" in words
    nib.save(image, words[words.index("-o") + 1].replace(".nii.gz", "_bet.nii.gz"))
"""
#: Leaves a mask all the same: the exit code is what counts.
FAILING = FAKE + "sys.exit('weights are missing')\n"
SILENT = "#!/bin/sh\nexit 0\n"


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def _install(folder: Path, program: str, script: str) -> Path:
    log = folder / "log"
    path = folder / PROGRAMS[program][0]
    path.write_text(script.replace("{python}", sys.executable).replace("{log!r}", repr(str(log))))
    path.chmod(0o755)
    return log


def _scan() -> Volume:
    return Volume(voxels=asymmetric_phantom(), affine=ras_affine((2.0, 1.0, 1.5)), scan_id="s1")


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_program_is_called_and_its_mask_used(program: str, bin_folder: Path) -> None:
    log = _install(bin_folder, program, FAKE)
    brain = extract_brain(_scan(), program=program)
    assert brain.dtype == np.bool_
    assert brain.shape == (21, 24, 27)
    assert brain[10:, 12:, 13:].all()
    assert brain.sum() == 11 * 12 * 14
    scan = log.read_text().split()[1]
    assert scan.endswith("scan.nii.gz")
    assert not Path(scan).exists(), "the copy is left behind"


def test_its_mask_decides_what_of_a_head_is_brain(bin_folder: Path) -> None:
    _install(bin_folder, "synthstrip", FAKE)
    head = in_place_head().volume
    spec = PreparationSpec(registration=False, bias_field=False, brain_extraction="synthstrip")
    prepared = prepare_scan(head, spec)
    assert prepared.steps[-1] == "brain mask: synthstrip"
    assert (prepared.volume.voxels[~prepared.mask] == 0).all()
    middle = head.affine @ np.append((np.array(head.voxels.shape) + 1) // 2, 1.0)
    corner = np.rint(middle - prepared.volume.affine[:, 3])[:3].astype(int)
    inner = tuple(slice(c + 2, None) for c in corner)
    assert prepared.mask[inner].mean() > 0.9
    assert not prepared.mask[: corner[0] - 3].any()
    assert not prepared.mask[:, :, : corner[2] - 3].any()


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_missing_program_is_a_fault_of_the_configuration(program: str, bin_folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=PROGRAMS[program][0]):
        demand_program(program)
    with pytest.raises(ConfigurationError, match="not installed"):
        extract_brain(_scan(), program=program)


def test_a_program_that_fails_is_quoted(bin_folder: Path) -> None:
    _install(bin_folder, "hd-bet", FAILING)
    with pytest.raises(PreparationError, match=r"s1.*hd-bet.*weights are missing"):
        extract_brain(_scan(), program="hd-bet")


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("#!/bin/sh\necho 'write: No space left on device' >&2\nexit 1\n", "No space left"),
        ("#!/bin/sh\necho 'MemoryError'\nexit 1\n", "MemoryError"),
        ("#!/bin/sh\nkill -9 $$\n", "killed"),
    ],
    ids=["disk", "memory", "killed"],
)
def test_a_program_that_the_machine_stops_says_nothing_of_the_scan(
    bin_folder: Path, script: str, found: str
) -> None:
    _install(bin_folder, "synthstrip", script)
    with pytest.raises(MachineError, match=found):
        extract_brain(_scan(), program="synthstrip")


def test_a_program_that_leaves_no_mask_has_found_none(bin_folder: Path) -> None:
    _install(bin_folder, "hd-bet", SILENT)
    with pytest.raises(PreparationError, match="found no brain"):
        extract_brain(_scan(), program="hd-bet")
