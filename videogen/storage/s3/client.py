"""Makes the boto3 client: timeouts, retries, and counting what the store answers."""

from __future__ import annotations

import functools
import logging
from typing import Any

from videogen.errors import StorageError
from videogen.storage.counters import COUNTED_REPLIES, StorageCounters
from videogen.storage.s3.failure import endpoint, redacted
from videogen.storage.s3.options import S3Options

_TRIES = "videogen_tries"


def make_client(options: S3Options, counters: StorageCounters) -> Any:
    """A client for the endpoint, region and credentials of the usual AWS environment and profile.

    Raises:
        StorageError: the environment names an impossible endpoint, region or profile.
    """
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    _silence_botocore()
    config = Config(
        connect_timeout=options.connect_timeout_s,
        read_timeout=options.read_timeout_s,
        max_pool_connections=options.max_connections,
        retries={"mode": "standard", "total_max_attempts": options.max_attempts},
        # Checksums are sent as plain header fields: not every store knows trailing ones.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_supported",
    )
    try:
        client = _session().client("s3", config=config)
    except (BotoCoreError, ValueError) as error:
        problem = redacted(str(error))
    else:
        _count(client, counters)
        return client
    # Raised out here, so that no traceback shows the original with its endpoint.
    raise StorageError(
        f"S3: got an environment that boto3 refuses ({problem}), expected a valid endpoint, "
        f"region and profile. Fix: check {endpoint()}, AWS_DEFAULT_REGION and AWS_PROFILE."
    )


def _session() -> Any:
    """A session of its own, because they are not for several threads, but with shared models."""
    import boto3
    import botocore.session

    core = botocore.session.get_session()
    core.register_component("data_loader", _loader())
    return boto3.Session(botocore_session=core)


@functools.cache
def _loader() -> Any:
    """Reads and keeps the descriptions of the protocol: a tenth of a second for each client."""
    import botocore.session

    return botocore.session.get_session().get_component("data_loader")


def _silence_botocore() -> None:
    # At DEBUG it logs signed headers with session tokens in them.
    logger = logging.getLogger("botocore")
    if logger.level < logging.WARNING:
        logger.setLevel(logging.WARNING)


def _count(client: Any, counters: StorageCounters) -> None:
    def on_request(request: Any, **_: Any) -> None:
        tries = request.context.get(_TRIES, 0)
        request.context[_TRIES] = tries + 1
        if tries:
            counters.add("retries")

    def on_response(response_dict: dict[str, Any] | None, **_: Any) -> None:
        status = (response_dict or {}).get("status_code")
        if status in COUNTED_REPLIES:
            counters.add(str(status))

    client.meta.events.register("request-created.s3", on_request)
    client.meta.events.register("response-received.s3", on_response)
