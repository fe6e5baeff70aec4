"""`S3Options`: sizes and times of the traffic with an object store."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True)
class S3Options:
    """What a storage may take for one request, for all tries of one, and for its lease.

    Args:
        max_attempts: tries inside the client library, which waits seconds at most between them.
        give_up_s: after this long of failing tries, an operation fails.
        first_contact_s: the same before the store has ever answered: it may not be there at all.
        backoff_base_s: the first wait is a random share of it; it doubles until `backoff_cap_s`.
        multipart_bytes: larger objects go up in parts of `part_bytes`, `num_threads` at a time.
        renew_s: the holder of the lease says this often that it lives.
        ttl_s: a holder silent for that long has lost the lease.
        settle_s: without compare-and-swap, wait so long for others before believing to hold it.
    """

    connect_timeout_s: float = 5.0
    read_timeout_s: float = 60.0
    max_attempts: int = 3
    max_connections: int = 32
    give_up_s: float = 120.0
    first_contact_s: float = 15.0
    backoff_base_s: float = 0.25
    backoff_cap_s: float = 10.0
    multipart_bytes: int = 64 * MIB
    part_bytes: int = 16 * MIB
    num_threads: int = 4
    renew_s: float = 5.0
    ttl_s: float = 20.0
    settle_s: float = 2.0
