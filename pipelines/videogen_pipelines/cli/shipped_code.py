"""Whether the code that a job runs is the code that it was submitted with."""

from __future__ import annotations


def check_code() -> None:
    """Refuse to run as a Ray job that was submitted with other code than this.

    Raises:
        ClusterError: the digests differ.
    """
    from videogen_cluster.jobs import this_job

    expected = this_job().code
    if expected is None:
        return
    from videogen_cluster.handshake import code_digest
    from videogen_cluster.session import ClusterError

    if expected != code_digest():
        raise ClusterError(
            f"videogen: got code {code_digest()} on the cluster, expected {expected} as where the "
            "job was submitted. Fix: submit with --ship always, or install the same code there."
        )
