"""An `S3Storage` behind the fault proxy, impatient so that tests are quick."""

from __future__ import annotations

import pytest

from tests.s3.proxy import FaultProxy
from tests.s3.server import S3Server
from videogen.storage.s3 import Capabilities, S3Options, S3Storage

MIB = 2**20
IMPATIENT = S3Options(
    connect_timeout_s=20,
    read_timeout_s=20,  # a busy machine may stand still for seconds
    max_attempts=1,
    give_up_s=5,
    first_contact_s=0.3,
    backoff_base_s=0.01,
    backoff_cap_s=0.05,
    multipart_bytes=6 * MIB,
    part_bytes=5 * MIB,  # S3 takes no smaller ones
    renew_s=0.1,
    ttl_s=1.5,
    settle_s=0.1,
)
ENFORCES = Capabilities(create_only=True, compare_and_swap=True)


@pytest.fixture
def options() -> S3Options:
    return IMPATIENT


@pytest.fixture
def storage(s3_env: S3Server, fault_proxy: FaultProxy) -> S3Storage:
    """A prefix of its own, known to enforce conditions; every request passes the proxy."""
    return S3Storage(s3_env.uri(), IMPATIENT, ENFORCES)


@pytest.fixture
def unknown(s3_env: S3Server, fault_proxy: FaultProxy) -> S3Storage:
    """The same before its probe."""
    return S3Storage(s3_env.uri(), IMPATIENT)


@pytest.fixture
def direct(s3_env: S3Server, fault_proxy: FaultProxy, storage: S3Storage) -> S3Storage:
    """The same prefix, past the proxy; what it reads is what is stored."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", s3_env.endpoint)
        other = S3Storage(storage.uri, IMPATIENT, ENFORCES)
        other.exists("makes-its-client-now")
    return other
