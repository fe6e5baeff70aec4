"""The RayJob: what is on it, what it may not hold, and that its command is one of ours."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.core
import typer.main
import yaml

from videogen_pipelines.cli.app import app
from videogen_pipelines.config import RunConfig, load_run_config

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "cluster/deploy/kuberay-job.yaml").read_text()

# Fields of ray.io/v1; Kubernetes drops one that it does not know without a word.
JOB_FIELDS = {
    "activeDeadlineSeconds",
    "backoffLimit",
    "entrypoint",
    "preRunningDeadlineSeconds",
    "rayClusterSpec",
    "shutdownAfterJobFinishes",
    "submissionMode",
    "submitterConfig",
    "ttlSecondsAfterFinished",
}
CLUSTER_FIELDS = {
    "authOptions",
    "autoscalerOptions",
    "enableInTreeAutoscaling",
    "headGroupSpec",
    "rayVersion",
    "workerGroupSpecs",
}
GROUP_FIELDS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    return yaml.safe_load(TEXT)


@pytest.fixture(scope="module")
def cluster(job: dict[str, Any]) -> dict[str, Any]:
    return job["spec"]["rayClusterSpec"]


def pods(cluster: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        yield group["template"]["spec"]


def configuration(job: dict[str, Any]) -> RunConfig:
    words = shlex.split(job["spec"]["entrypoint"])
    said = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    return load_run_config(overrides=said)


def test_every_field_is_one_of_the_custom_resource(job, cluster):
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(job["spec"]) == JOB_FIELDS
    assert set(cluster) == CLUSTER_FIELDS
    assert set(cluster["headGroupSpec"]) <= GROUP_FIELDS | {"serviceType"}
    assert all(set(group) == GROUP_FIELDS for group in cluster["workerGroupSpecs"])


def test_a_lost_cluster_is_replaced_and_a_finished_one_goes_away(job):
    spec = job["spec"]
    assert spec["backoffLimit"] >= 1
    assert spec["shutdownAfterJobFinishes"] is True  # the time to live needs it
    assert spec["ttlSecondsAfterFinished"] > 0
    assert spec["activeDeadlineSeconds"] > spec["preRunningDeadlineSeconds"] > 0


def test_the_head_computes_nothing_and_is_never_on_spot(cluster):
    head = cluster["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    affinity = head["template"]["spec"]["affinity"]["nodeAffinity"]
    terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert {rule["operator"] for term in terms for rule in term["matchExpressions"]} == {"NotIn"}
    (container,) = head["template"]["spec"]["containers"]
    assert "nvidia.com/gpu" not in container["resources"]["limits"]


def test_workers_may_go_to_spot_nodes_with_gpus(cluster):
    (group,) = cluster["workerGroupSpecs"]
    pod = group["template"]["spec"]
    assert {toleration["key"] for toleration in pod["tolerations"]} >= {"nvidia.com/gpu"}
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert pod["terminationGracePeriodSeconds"] > 30  # Ray drains a node for 30 s


def test_the_gangs_asked_for_are_what_the_autoscaler_may_bring(job, cluster):
    config = configuration(job)
    assert cluster["enableInTreeAutoscaling"] is True
    gpus = sum(
        group["maxReplicas"]
        * int(group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"])
        for group in cluster["workerGroupSpecs"]
    )
    assert config.cluster.gangs == gpus // config.cluster.gang.world_size
    assert (config.cluster.address, config.model.device) == ("auto", "cuda")


def test_the_entrypoint_is_a_command_of_ours_with_options_it_has(job):
    program, name, *words = shlex.split(job["spec"]["entrypoint"])
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    assert program == "videogen"
    known = {option for parameter in group.commands[name].params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known


def test_the_dashboard_stays_inside_and_asks_for_a_token(cluster):
    assert cluster["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert cluster["authOptions"] == {"mode": "token"}
    assert not re.search(r"LoadBalancer|NodePort|Ingress|hostPort|hostNetwork", TEXT)


def test_secrets_are_referred_to_and_never_written_down(cluster):
    for pod in pods(cluster):
        (container,) = pod["containers"]
        assert [source["secretRef"]["name"] for source in container["envFrom"]]
        names = {variable["name"] for variable in container["env"]}
        assert not {name for name in names if re.search("SECRET|TOKEN|ACCESS_KEY|PASSWORD", name)}
    assert not re.search(r"AKIA|ASIA|stringData|secret_access_key", TEXT)


def test_nothing_runs_as_root_and_everywhere_is_one_image(cluster):
    assert all(pod["securityContext"]["runAsNonRoot"] for pod in pods(cluster))
    assert len({pod["containers"][0]["image"] for pod in pods(cluster)}) == 1


def test_shared_memory_is_large_enough_for_rays_object_store(cluster):
    for pod in pods(cluster):
        mounted = {
            volume["mountPath"]: volume["name"] for volume in pod["containers"][0]["volumeMounts"]
        }
        volumes = {volume["name"]: volume["emptyDir"] for volume in pod["volumes"]}
        assert volumes[mounted["/dev/shm"]]["medium"] == "Memory"


def test_the_version_of_ray_is_the_pinned_one(cluster):
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert f"ray=={cluster['rayVersion']}" in pins
