"""The server of the tests is as strict as S3, and the proxy does what it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from tests.s3.proxy import FaultProxy
from tests.s3.server import S3Server, crc32, make_client


def status(call: Callable[..., Any], **arguments: Any) -> int:
    try:
        return call(**arguments)["ResponseMetadata"]["HTTPStatusCode"]
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.fixture
def place(s3_server: S3Server) -> dict[str, str]:
    return {"Bucket": s3_server.bucket, "Key": s3_server.uri().rpartition("/")[2]}


def test_conditions_are_enforced(s3_server: S3Server, place: dict[str, str]) -> None:
    client = s3_server.client()
    put = client.put_object
    assert status(put, **place, Body=b"1", IfMatch='"0"') == 404
    assert status(put, **place, Body=b"1", IfNoneMatch="*") == 200
    assert status(put, **place, Body=b"2", IfNoneMatch="*") == 412
    etag = client.head_object(**place)["ETag"]
    assert status(put, **place, Body=b"3", IfMatch='"0"') == 412
    assert status(put, **place, Body=b"3", IfMatch=etag) == 200
    assert status(put, **place, Body=b"4", IfMatch=etag) == 412


def test_conditions_are_enforced_for_uploads_in_parts(
    s3_server: S3Server, place: dict[str, str]
) -> None:
    client = s3_server.client()
    upload = client.create_multipart_upload(**place)["UploadId"]
    part = client.upload_part(**place, UploadId=upload, PartNumber=1, Body=b"1")
    done = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    assert status(client.head_object, **place) == 404  # invisible until complete
    client.put_object(**place, Body=b"theirs")
    arguments = {**place, "UploadId": upload, "MultipartUpload": done, "IfNoneMatch": "*"}
    assert status(client.complete_multipart_upload, **arguments) == 412
    client.delete_object(**place)
    assert status(client.complete_multipart_upload, **arguments) == 200


def test_damaged_bodies_are_refused(s3_server: S3Server, place: dict[str, str]) -> None:
    put = s3_server.client().put_object
    named = {"ChecksumAlgorithm": "CRC32"}
    assert status(put, **place, Body=b"1", **named, ChecksumCRC32=crc32(b"2")) == 400
    assert status(put, **place, Body=b"1", **named, ChecksumCRC32=crc32(b"1")) == 200


def test_faults_hit_what_they_name_and_are_counted(
    s3_server: S3Server, fault_proxy: FaultProxy, place: dict[str, str]
) -> None:
    client = make_client(fault_proxy.endpoint)
    fault_proxy.add("refuse", method="PUT", path=place["Key"], status=412)
    assert status(client.get_object, **place) == 404
    assert status(client.put_object, **place, Body=b"x") == 412
    assert status(client.put_object, **place, Body=b"x") == 200
    assert fault_proxy.counts == {"refuse 412": 1, "pass": 2}
    assert fault_proxy.count("PUT", place["Key"]) == 2


def test_a_lost_reply_was_done_and_a_lost_request_was_not(
    s3_server: S3Server, fault_proxy: FaultProxy, place: dict[str, str]
) -> None:
    client, direct = make_client(fault_proxy.endpoint), s3_server.client()
    for action, found in (("lose_request", 404), ("truncate_request", 404), ("lose_reply", 200)):
        seen: list[int] = []

        def look(seen: list[int] = seen) -> None:
            seen.append(status(direct.head_object, **place))

        fault_proxy.add(action, method="PUT")
        fault_proxy.add("pass", method="PUT", before=look)
        client.put_object(**place, Body=b"x" * 999)  # the library tries again
        assert seen == [found]
        direct.delete_object(**place)


def test_a_cut_network_comes_back(
    s3_server: S3Server, fault_proxy: FaultProxy, place: dict[str, str]
) -> None:
    from botocore.exceptions import ConnectionClosedError

    client = make_client(fault_proxy.endpoint)
    fault_proxy.cut()
    with pytest.raises((ConnectionClosedError, ReadTimeoutError)):
        client.put_object(**place, Body=b"x")
    assert status(s3_server.client().head_object, **place) == 404
    fault_proxy.mend()
    assert status(client.put_object, **place, Body=b"x") == 200
