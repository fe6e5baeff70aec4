"""Ray on this machine and, where an address is given, the cluster there."""

from __future__ import annotations

import os
from pathlib import Path

from videogen_cluster.inspection import ClusterReport, RayReport, inspect_cluster, inspect_ray
from videogen_pipelines.doctor.checks import Family, Finding, Probe, failed, ok, skipped, warning
from videogen_pipelines.doctor.once import Once

TIMEOUT_S = 9.0
TOKEN_FILE = Path("~/.ray/auth_token")
_TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
_SHOWN = 5


def ray_family(address: str | None) -> Family:
    """Runs beside the other families: Ray is looked at in processes of its own."""
    ray = Once(lambda: inspect_ray(TIMEOUT_S))
    probes = [
        Probe("version", lambda: ok(f"ray {ray().version}")),
        Probe("dashboard", lambda: ray.then(check_dashboard, "ray version")),
        Probe("token", check_token),
    ]
    if address is None:
        probes.append(Probe("cluster", lambda: skipped("no --address: runs start their own Ray")))
        return Family("ray", tuple(probes), remote=True)
    cluster = Once(lambda: inspect_cluster(address, TIMEOUT_S))
    probes += [
        Probe("cluster", lambda: check_cluster(cluster(), ray().version)),
        Probe("leftovers", lambda: cluster.then(check_leftovers, "ray cluster")),
    ]
    return Family("ray", tuple(probes), remote=True)


def check_dashboard(report: RayReport) -> Finding:
    """What the head of a cluster needs for jobs and metrics; runs on one machine do without."""
    if report.dashboard_error is None:
        return ok("the job server and the metrics can run here")
    return warning(
        f"the job server and the metrics cannot run here: {report.dashboard_error}",
        "pip install 'ray[default]' where the head runs; videogen generate works without",
    )


def check_token() -> Finding:
    """Where Ray would find the token of a cluster, never the token itself."""
    mode = os.environ.get("RAY_AUTH_MODE", "not set")
    sources = [name for name in _TOKEN_VARIABLES if os.environ.get(name)]
    if TOKEN_FILE.expanduser().is_file():
        sources.append(str(TOKEN_FILE))
    found = f"RAY_AUTH_MODE is {mode}; token: {sources[0] if sources else 'none'}"
    if mode == "token" and not sources:
        return failed(found, "ray get-auth-token --generate on the head, and the same token here")
    return ok(found)


def check_cluster(report: ClusterReport, ray_version: str) -> Finding:
    """What is at the address, and whether it speaks the same Ray."""
    if report.kind == "job server":
        found = f"{report.address}: job server of ray {report.ray_version}"
        if report.ray_version == ray_version:
            return ok(found)
        return failed(f"{found}, and ray {ray_version} here", "install one version on both sides")
    found = f"{report.address}: {report.nodes} nodes, {report.cpus:g} CPUs, {report.gpus:g} GPUs"
    if report.cpus > 0 or report.gpus > 0:
        return ok(found)
    return warning(found, "wait for workers, or look with `ray status` why none come")


def check_leftovers(report: ClusterReport) -> Finding:
    """Placement groups and ranks whose job has ended, and that still hold their GPUs."""
    if report.holdings is None:
        return skipped("seen only by members of the cluster", "run doctor --address auto there")
    leaked = [holding for holding in report.holdings if holding.leaked]
    if not leaked:
        return ok(f"none; {len(report.holdings)} placement groups and ranks belong to live jobs")
    names = ", ".join(f"{h.kind} {h.name} of job {h.job}" for h in leaked[:_SHOWN])
    more = f" and {len(leaked) - _SHOWN} more" if len(leaked) > _SHOWN else ""
    return warning(
        f"{names}{more}",
        "restart the cluster, or call ray.util.remove_placement_group on them; until then their "
        "CPUs and GPUs are not free",
    )
