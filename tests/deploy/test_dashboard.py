"""The dashboard asks for metrics that runs have, by labels that these have."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from videogen_cluster import metrics

DEPLOY = Path(__file__).parents[2] / "cluster/deploy"
DASHBOARD = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
METRIC = re.compile(r"\bray_[a-z_]+")
SELECTOR = re.compile(r"(ray_[a-z_]+)\{([^}]*)\}")
GROUPING = re.compile(r"sum by \(([a-z_, ]+)\) \((?:rate\()?(ray_[a-z_]+)")
OF_RAY = {"SessionName"}


def known_labels() -> dict[str, set[str]]:
    """Name in Prometheus -> labels of it."""
    found: dict[str, set[str]] = {}
    for name, (_, tags, *_) in {**metrics._COUNTERS, **metrics._GAUGES}.items():
        found[f"ray_{metrics.PREFIX}{name}"] = {*tags, *OF_RAY}
    for name, (_, tags, _) in metrics._HISTOGRAMS.items():
        for suffix in ("bucket", "sum", "count"):
            found[f"ray_{metrics.PREFIX}{name}_{suffix}"] = {*tags, *OF_RAY, "le"}
    return found


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_expression_uses_metrics_and_labels_that_there_are(expression: str):
    labels = known_labels()
    names = METRIC.findall(expression)
    assert names and set(names) <= set(labels)
    for name, selector in SELECTOR.findall(expression):
        assert set(re.findall(r"(\w+)=", selector)) <= labels[name]
    for groups, name in GROUPING.findall(expression):
        assert {group.strip() for group in groups.split(",")} <= labels[name]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_counters_are_rated_or_summed_and_brackets_are_closed(expression: str):
    assert expression.count("(") == expression.count(")")
    assert expression.count("{") == expression.count("}")
    assert all("[" in expression for _ in re.findall(r"rate\(", expression))


def test_every_metric_of_a_run_is_shown():
    shown = set(METRIC.findall(" ".join(EXPRESSIONS)))
    wanted = {f"ray_{metrics.PREFIX}{name}" for name in (*metrics._COUNTERS, *metrics._GAUGES)}
    wanted |= {f"ray_{metrics.PREFIX}{name}_bucket" for name in metrics._HISTOGRAMS}
    assert wanted <= shown


def test_what_people_ask_for_has_a_panel():
    titles = " ".join(panel["title"].lower() for panel in PANELS)
    for words in (
        "clips by state",
        "throughput",
        "time left",
        "attempts by error class",
        "gangs by state",
        "step latency",
        "stage latency",
        "bytes",
        "replies of the store",
        "gpu-seconds",
        "traffic in gangs",
    ):
        assert words in titles


def test_panels_have_ids_of_their_own_and_do_not_overlap():
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    cells = [
        (x, y)
        for panel in PANELS
        for grid in [panel["gridPos"]]
        for x, y in itertools.product(
            range(grid["x"], grid["x"] + grid["w"]), range(grid["y"], grid["y"] + grid["h"])
        )
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_the_data_source_is_chosen_where_it_is_shown():
    sources = {panel["datasource"]["uid"] for panel in PANELS}
    assert sources == {"${datasource}"}
    assert {v["name"] for v in DASHBOARD["templating"]["list"]} == {"datasource", "session"}


def test_prometheus_finds_the_nodes_where_ray_lists_them():
    config = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    (files,) = (entry["files"] for entry in job["file_sd_configs"])
    assert files == ["/tmp/ray/prom_metrics_service_discovery.json"]
