"""What the machine computes on is known without torch, and is what torch would answer."""

from __future__ import annotations

import subprocess
import sys

import torch

from mri_transfer.models.trunks import native_precision, resolve_device


def test_answers_are_those_of_torch() -> None:
    assert resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    there = torch.cpu.get_capabilities()
    names = ("avx512_bf16", "amx_bf16", "avx10_2", "bf16", "arm_bf16")
    native = any(there.get(name, False) for name in names)
    assert native_precision("cpu") == ("bf16" if native else "fp32")


def test_processor_is_known_without_torch() -> None:
    script = (
        "import sys; from mri_transfer.models.trunks import TrunkSpec, native_precision\n"
        "TrunkSpec(); native_precision('cpu'); print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == str(sys.platform != "linux")
