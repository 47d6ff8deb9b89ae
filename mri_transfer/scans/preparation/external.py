"""Brain extraction with an installed program: HD-BET or SynthStrip.

Neither is a dependency, and neither is downloaded: they are only used if configured.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mri_transfer.errors import ConfigurationError, MachineError, PreparationError
from mri_transfer.scans.preparation.nifti import read_bits, write_nifti
from mri_transfer.scans.volumes import Volume

__all__ = ["PROGRAMS", "demand_program", "extract_brain"]

#: The command of each program; `{scan}` and `{stem}` are filled in.
PROGRAMS: dict[str, tuple[str, ...]] = {
    "hd-bet": ("hd-bet", "-i", "{scan}", "-o", "{stem}.nii.gz", "--save_bet_mask"),
    "synthstrip": ("mri_synthstrip", "-i", "{scan}", "-m", "{stem}_bet.nii.gz"),
}
_SHOWN = 300
#: Messages of a program that failed because of the machine, not the scan.
_MACHINE_WORDS = (
    *(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOMEM)),
    "MemoryError",
    "CUDA out of memory",
)


def demand_program(program: str) -> None:
    """Raise ConfigurationError if a program of `PROGRAMS` is not on the PATH."""
    command = PROGRAMS[program][0]
    if shutil.which(command) is None:
        raise ConfigurationError(
            f"preparation.brain_extraction is {program}, which is not installed",
            found=f"no command {command}",
            remedy="Install it, or set preparation.brain_extraction = 'own'",
        )


def extract_brain(volume: Volume, *, program: str) -> npt.NDArray[np.bool_]:
    """Extract the brain with an external program.

    Parameters
    ----------
    volume : Volume
    program : str
        A key of `PROGRAMS`.

    Returns
    -------
    ndarray of bool, shape (X, Y, Z)

    Raises
    ------
    ConfigurationError
        If the program is not installed.
    PreparationError
        If it fails or writes no mask.
    MachineError
        If it ran out of disk space or memory, or was killed.
    """
    demand_program(program)
    with tempfile.TemporaryDirectory() as folder:
        scan, stem = Path(folder) / "scan.nii.gz", Path(folder) / "brain"
        write_nifti(scan, volume.voxels, volume.affine)
        command = [part.format(scan=scan, stem=stem) for part in PROGRAMS[program]]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        mask = Path(f"{stem}_bet.nii.gz")
        _check_machine(result, program=program, where=volume.scan_id)
        if result.returncode != 0 or not mask.is_file():
            output = (result.stderr or result.stdout).strip()[-_SHOWN:]
            raise PreparationError(
                f"{program} found no brain",
                where=volume.scan_id,
                found=output or f"exit {result.returncode}",
                remedy="Run the program on this scan by hand",
            )
        brain: npt.NDArray[np.bool_] = read_bits(mask) > 0
    return brain


def _check_machine(result: subprocess.CompletedProcess[str], *, program: str, where: str) -> None:
    """Raise MachineError if a program ran out of disk space or memory, or was killed."""
    output = result.stderr + result.stdout
    word = next((word for word in _MACHINE_WORDS if word in output), None)
    killed = result.returncode == -signal.SIGKILL
    if result.returncode == 0 or not (killed or word):
        return
    raise MachineError(
        f"{program} was stopped by the machine",
        where=where,
        found=word or "killed, probably for lack of memory",
        remedy="Use fewer --jobs, free space in the temporary folder (TMPDIR), or use a machine "
        "with more memory",
    )
