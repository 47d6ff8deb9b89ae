"""What this machine computes on, and how precisely.

A feature's key depends on both, so that they are asked for wherever a run is looked at. On Linux
the kernel says whether torch, which takes longer to import than the answer is worth, has to be
asked at all.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Literal

from mri_transfer.errors import ConfigurationError

__all__ = ["DeviceName", "FloatPrecision", "native_precision", "resolve_device"]

FloatPrecision = Literal["fp32", "bf16"]
DeviceName = Literal["cpu", "cuda"]

#: Device files of the drivers that torch's CUDA devices need: NVIDIA's, also of embedded boards
#: and under Windows' Linux, and AMD's.
_GPU_FILES = ("nvidia*", "nvhost*", "nvgpu*", "nvmap", "dxg", "kfd")
#: Instructions that multiply bf16, as torch and the kernel call them.
_BF16 = frozenset({"avx512_bf16", "amx_bf16", "avx10_2", "bf16", "arm_bf16"})


def resolve_device(device: Literal["auto", "cpu", "cuda"]) -> DeviceName:
    """Return the device to compute on; `auto` prefers CUDA."""
    if device == "cpu":
        return "cpu"
    if _has_cuda():
        return "cuda"
    if device == "cuda":
        raise ConfigurationError(
            "CUDA was asked for, but no CUDA device is visible",
            where="features.device",
            expected="auto or cpu",
        )
    return "cpu"


def native_precision(device: DeviceName) -> FloatPrecision:
    """Return bf16 if the device multiplies it in hardware, else fp32."""
    if device == "cuda":
        import torch

        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if _BF16 & _processor_flags() else "fp32"


@functools.cache
def _has_cuda() -> bool:
    if sys.platform == "linux" and not any(any(Path("/dev").glob(name)) for name in _GPU_FILES):
        return False
    import torch

    return torch.cuda.is_available()


@functools.cache
def _processor_flags() -> frozenset[str]:
    """Return the instruction sets of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, words = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(words.split())
    import torch

    return frozenset(name for name, there in torch.cpu.get_capabilities().items() if there)
