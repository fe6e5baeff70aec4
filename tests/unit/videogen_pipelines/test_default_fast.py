from __future__ import annotations

from videogen.models.spec import read_spec, resolve_model
from videogen_pipelines.doctor.checks import Status
from videogen_pipelines.doctor.model import check_model
from videogen_pipelines.job import LoadedModel


def test_its_clips_never_pass_for_those_of_default():
    fast, default = (LoadedModel.read(name) for name in ("default-fast", "default"))
    assert fast.stamp.digest != default.stamp.digest
    assert read_spec(resolve_model("default-fast")).vae == read_spec(resolve_model("default")).vae


def test_the_doctor_checks_its_adapter_and_its_base():
    finding = check_model("default-fast")
    assert finding.status is Status.OK
    assert finding.found.startswith("default-fast, 4 files, ")
