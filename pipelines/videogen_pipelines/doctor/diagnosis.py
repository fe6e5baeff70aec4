"""Everything `videogen doctor` looks at, in the order people read it."""

from __future__ import annotations

from videogen_pipelines.doctor.accelerator import accelerator_family
from videogen_pipelines.doctor.checks import Check, Family
from videogen_pipelines.doctor.examination import examine
from videogen_pipelines.doctor.machine import machine_family
from videogen_pipelines.doctor.media import media_family
from videogen_pipelines.doctor.model import model_family
from videogen_pipelines.doctor.output import output_family
from videogen_pipelines.doctor.ray_cluster import ray_family
from videogen_pipelines.doctor.subject import Subject


def families(subject: Subject) -> list[Family]:
    """All checks for `subject`, none of them run."""
    return [
        machine_family(),
        accelerator_family(subject),
        media_family(subject),
        model_family(subject),
        ray_family(subject.address),
        output_family(subject.out),
    ]


def diagnose(subject: Subject) -> list[Check]:
    """Run all checks; none of them raises."""
    return examine(families(subject))
