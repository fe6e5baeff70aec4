"""torch, the NVIDIA driver, the GPUs, and whether attention kernels run here."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Any

from videogen.errors import ConfigError, MissingDependencyError
from videogen_pipelines.doctor.checks import (
    Family,
    Finding,
    Probe,
    failed,
    ok,
    skipped,
    warning,
)
from videogen_pipelines.doctor.machine import GIB
from videogen_pipelines.doctor.subject import Subject

if TYPE_CHECKING:
    import torch

_DRIVER = "libcuda.so.1"
_TOLERANCE = 0.05  # half precision against float32, values of about 1
_CUDA_BUILD = "install a CUDA build of torch that the driver can run (see docs/cluster.md)"


def accelerator_family(subject: Subject) -> Family:
    """What computes the clips."""
    device = subject.config.model.device
    return Family(
        "compute",
        (
            Probe("torch", check_torch),
            Probe("gpu", lambda: check_gpu(device)),
            *(
                Probe(f"attention {name}", lambda name=name: check_attention(name, subject))
                for name in ("sdpa", "xformers", "flash")
            ),
        ),
    )


def check_torch() -> Finding:
    """The version, what it was built for, its threads, and that it can compute."""
    import torch

    product = torch.ones(64, 64) @ torch.ones(64, 64)
    if float(product.sum()) != 64.0**3:
        return failed("a matrix product came out wrong", "install torch again")
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU build"
    threads, cores = torch.get_num_threads(), len(os.sched_getaffinity(0))
    found = f"{torch.__version__} ({build}), {threads} threads on {cores} cores"
    if threads > cores:
        return warning(found, f"set OMP_NUM_THREADS={cores}; more threads than cores are slower")
    return ok(found)


def check_gpu(wanted: str) -> Finding:
    """Every GPU that torch sees, or why it sees none; `wanted` is `model.device`."""
    import torch

    if torch.cuda.is_available():
        lines = [_describe(torch.cuda.get_device_properties(i)) for i in _all_gpus()]
        tried = torch.ones(8, device="cuda").sum().item()
        if tried != 8:
            return failed("a sum on the GPU came out wrong", "check the GPU with nvidia-smi")
        dull = not torch.cuda.is_bf16_supported(including_emulation=False)
        found = "; ".join(lines)
        return warning(found, "use --set model.dtype=float16; no bf16 here") if dull else ok(found)
    return no_gpu(wanted, driver_version(), torch.version.cuda)


def no_gpu(wanted: str, driver: tuple[int, int] | None, build: str | None) -> Finding:
    """Why torch sees no GPU: no driver, a CPU build, or a driver older than the build."""
    if driver is None:
        if wanted.startswith("cuda"):
            return failed(
                f"model.device is '{wanted}', and there is no NVIDIA driver ({_DRIVER})",
                "install the driver, give the container its GPUs, or leave model.device out",
            )
        return skipped("none; clips are made on the CPU")
    found = f"a driver for CUDA {driver[0]}.{driver[1]}, but torch sees no GPU"
    answer = failed if wanted.startswith("cuda") else warning
    if build is None:
        return answer(f"{found}: torch is a CPU build", _CUDA_BUILD)
    if tuple(map(int, build.split(".")[:2])) > driver:
        newer = f"{found}: torch was built for CUDA {build}"
        return answer(newer, f"update the driver, or {_CUDA_BUILD}")
    return answer(found, "check CUDA_VISIBLE_DEVICES, nvidia-smi, and the container's GPU runtime")


def driver_version() -> tuple[int, int] | None:
    """The newest CUDA that the installed NVIDIA driver runs; None without a driver."""
    version = ctypes.c_int()
    try:
        code = ctypes.CDLL(_DRIVER).cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    return None if code else (version.value // 1000, version.value % 1000 // 10)


def _all_gpus() -> range:
    import torch

    return range(torch.cuda.device_count())


def _describe(gpu: Any) -> str:
    bf16 = "bf16" if gpu.major >= 8 else "no bf16"
    capability = f"sm_{gpu.major}{gpu.minor}"
    return f"{gpu.name}, {gpu.total_memory / GIB:.0f} GiB, {capability}, {bf16}"


def check_attention(name: str, subject: Subject) -> Finding:
    """Compute a small attention with the kernel and compare it with the plain formula."""
    import torch

    from videogen.models.attention import check_backend

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    try:
        check_backend(name, device, dtype)
    except (MissingDependencyError, ConfigError) as error:
        if name == subject.attention:
            raise
        what, _, fix = str(error).partition(" Fix: ")
        return skipped(what.partition("; ")[2].rstrip("."), fix)
    off = attention_error(name, device, dtype)
    found = f"runs on {device.type} in {str(dtype).removeprefix('torch.')}, off by {off:.1g}"
    if off < _TOLERANCE:
        return ok(found)
    return failed(found, "choose model.attention=sdpa, and reinstall the package of this kernel")


def attention_error(name: str, device: torch.device, dtype: torch.dtype) -> float:
    """The largest difference between the kernel and softmax(q kᵀ / √width) v."""
    import torch

    from videogen.models.attention import attention

    draw = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(1, 2, 16, 32, generator=draw) for _ in range(3))
    plain = torch.softmax(q @ k.transpose(-1, -2) / 32**0.5, -1) @ v
    got = attention(*(x.to(device, dtype) for x in (q, k, v)), backend=name)
    return float((got.float().cpu() - plain).abs().max())
