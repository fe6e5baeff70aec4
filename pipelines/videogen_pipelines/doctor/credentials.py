"""Where the credentials for an object store come from; never what they are."""

from __future__ import annotations

import os

from videogen_pipelines.doctor.checks import Finding, failed, ok
from videogen_pipelines.redact import redact

_FIX = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where the instance or "
    "the pod has a role"
)


def check_credentials() -> Finding:
    """Which of the usual places has credentials, the region and the endpoint."""
    from videogen.storage.s3.credentials import credential_source

    source = credential_source()
    if source is None:
        return failed("no credentials in the environment, a profile or a role", _FIX)
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "the profile's"
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    where = f", endpoint {redact(endpoint)}" if endpoint else ""
    return ok(f"from {source}, region {region}{where}")
