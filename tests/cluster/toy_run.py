"""A run of the toy workload on a cluster it joins, as a program that can be killed.

It prints a JSON line for everything it hears, with the time it heard it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def main(address: str, folder: str, settings: dict[str, Any]) -> None:
    from tests.cluster import conftest
    from videogen_cluster.session import ray_session

    out = sys.stdout  # a session keeps it for what is said on purpose

    def say(event: str, **more: Any) -> None:
        out.write(json.dumps({"event": event, "at": time.time(), **more}) + "\n")
        out.flush()

    with ray_session(address) as cluster:
        from ray import cloudpickle

        from videogen_cluster.driver import Driver, EngineOptions
        from videogen_cluster.listener import Listener
        from videogen_cluster.placement import Layout

        cloudpickle.register_pickle_by_value(conftest)

        class Speaker(Listener):
            def completed(self, decision: Any) -> None:
                say("completed", item=decision.item_id, attempts=decision.attempts)

            def dead_lettered(self, decision: Any) -> None:
                say("dead_lettered", item=decision.item_id)

            def requeued(self, decision: Any) -> None:
                say("requeued", item=decision.item_id, started=decision.started)

            def gang_building(self, gang: int) -> None:
                say("gang_building", gang=gang)

            def gang_ready(self, gang: int) -> None:
                say("gang_ready", gang=gang)

            def gang_lost(self, gang: int, failure: Any) -> None:
                say(
                    "gang_lost",
                    gang=gang,
                    error_class=failure.error_class,
                    detected_s=failure.detected_s,
                    node=failure.node,
                )

            def gang_retired(self, gang: int, reason: str) -> None:
                say("gang_retired", gang=gang)

            def node_joined(self, node_id: str, name: str) -> None:
                say("node_joined", node=node_id)

            def node_left(self, node_id: str, name: str) -> None:
                say("node_left", node=node_id)

        options = EngineOptions(**settings.get("options", {}))
        layout = Layout(**settings.get("layout", {}))
        workload = conftest.ToyWorkload(Path(folder))
        items = {f"clip-{n}": settings["payload"] for n in range(settings["count"])}
        report = Driver(workload, layout, cluster, options, Speaker()).run(items.items())
        say(
            "end",
            completed=report.completed,
            dead_lettered=report.dead_lettered,
            redone=report.redone,
            gangs_lost=report.gangs_lost,
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
