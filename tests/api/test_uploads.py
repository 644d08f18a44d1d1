"""`/v1/uploads` through the official client."""

import hashlib
import io

import openai
import pytest
from openai import OpenAI


def test_an_upload_in_parts_becomes_a_file(client: OpenAI) -> None:
    data = bytes(range(256)) * 1000
    done = client.uploads.upload_file_chunked(
        file=data,
        filename="large.bin",
        bytes=len(data),
        mime_type="application/octet-stream",
        purpose="user_data",
        part_size=100_000,
        md5=hashlib.md5(data).hexdigest(),
    )
    assert done.status == "completed"
    assert done.file is not None
    assert client.files.content(done.file.id).content == data


def test_parts_that_do_not_add_up_are_refused(client: OpenAI) -> None:
    upload = client.uploads.create(bytes=10, filename="a", mime_type="text/plain", purpose="user_data")
    part = client.uploads.parts.create(upload.id, data=io.BytesIO(b"12345"))
    with pytest.raises(openai.BadRequestError) as short:
        client.uploads.complete(upload.id, part_ids=[part.id])
    with pytest.raises(openai.BadRequestError) as wrong:
        client.uploads.complete(upload.id, part_ids=[part.id, part.id], md5="0" * 32)
    with pytest.raises(openai.BadRequestError) as unknown:
        client.uploads.complete(upload.id, part_ids=["part_x"])
    assert {short.value.code, wrong.value.code, unknown.value.code} == {"upload_mismatch"}
    assert client.uploads.cancel(upload.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError) as late:
        client.uploads.complete(upload.id, part_ids=[part.id])
    assert late.value.code == "upload_not_pending"
