"""Why there is no GPU, and whether a kernel computes what it should."""

from __future__ import annotations

import pytest
import torch

from videogen.errors import ConfigError, MissingDependencyError
from videogen.models import attention
from videogen.models.attention import Backend
from videogen_pipelines.config import load_run_config
from videogen_pipelines.doctor.accelerator import check_attention, check_torch, no_gpu
from videogen_pipelines.doctor.subject import Subject

SUBJECT = Subject(load_run_config())
WITHOUT_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.mark.parametrize(
    "wanted,driver,build,status,words",
    [
        ("auto", None, None, "skipped", "on the CPU"),
        ("cpu", None, "12.8", "skipped", "on the CPU"),
        ("cuda", None, "12.8", "failed", "no NVIDIA driver"),
        ("auto", (12, 4), None, "warning", "CPU build"),
        ("cuda", (12, 4), None, "failed", "CPU build"),
        ("auto", (12, 4), "12.8", "warning", "built for CUDA 12.8"),
        ("cuda:1", (12, 4), "12.8", "failed", "built for CUDA 12.8"),
        ("auto", (12, 8), "12.8", "warning", "sees no GPU"),
        ("auto", (13, 0), "12.8", "warning", "sees no GPU"),
    ],
)
def test_why_torch_sees_no_gpu(wanted, driver, build, status, words):
    finding = no_gpu(wanted, driver, build)
    assert finding.status == status
    assert words in finding.found
    assert bool(finding.fix) == (status != "skipped")


def test_torch_says_its_version_and_threads():
    finding = check_torch()
    assert finding.status in ("ok", "warning")
    assert torch.__version__ in finding.found and "threads" in finding.found


def test_the_default_kernel_is_run():
    finding = check_attention("sdpa", SUBJECT)
    assert finding.status == "ok"
    assert "runs on" in finding.found


def test_a_kernel_that_computes_something_else_is_found_out(monkeypatch):
    wrong = Backend(lambda q, k, v, mask, causal: v + 1)
    monkeypatch.setitem(attention.BACKENDS._entries, "sdpa", wrong)
    finding = check_attention("sdpa", SUBJECT)
    assert finding.status == "failed"
    assert "sdpa" in finding.fix


@WITHOUT_GPU
@pytest.mark.parametrize("name", ["xformers", "flash"])
def test_a_kernel_that_cannot_run_matters_only_if_it_is_asked_for(name: str):
    finding = check_attention(name, SUBJECT)
    assert finding.status == "skipped"
    assert "CUDA" in finding.found
    asked = Subject(load_run_config(overrides=[f"model.attention={name}"]))
    with pytest.raises((ConfigError, MissingDependencyError)):
        check_attention(name, asked)
