"""`/v1/files` through the official client."""

import openai
import pytest
from openai import OpenAI

from tests.fixtures.batches import GOOD, upload


def test_files_are_paged_in_either_order(client: OpenAI) -> None:
    made = [upload(client, [b"x"], purpose="evals") for _ in range(5)]
    newest = [file.id for file in client.files.list(purpose="evals", limit=2)]
    oldest = [file.id for file in client.files.list(purpose="evals", limit=2, order="asc")]
    assert newest == made[::-1]
    assert oldest == made


def test_a_file_comes_back_as_it_was_sent_and_can_be_deleted(client: OpenAI) -> None:
    data = bytes(range(256)) * 5000
    file = client.files.create(
        file=("däta \u2603.bin", data),
        purpose="user_data",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert (file.bytes, file.filename, file.status) == (len(data), "däta \u2603.bin", "processed")
    assert file.expires_at == file.created_at + 3600
    assert client.files.content(file.id).content == data
    assert client.files.wait_for_processing(file.id).id == file.id
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.content(file.id)
    with pytest.raises(openai.NotFoundError):
        client.files.delete(file.id)


def test_files_of_batches_expire_after_thirty_days(client: OpenAI) -> None:
    file = client.files.retrieve(upload(client, [GOOD]))
    assert file.expires_at == file.created_at + 30 * 24 * 3600
