"""`/v1/models` through the official client."""

from typing import Any

import openai
import pytest
from openai import OpenAI


def test_the_models_are_listed(client: OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}
    assert models["echo"].object == "model"
    assert models["echo"].status == "ready"  # type: ignore[attr-defined]
    assert "all-minilm-l6-v2" in models
    assert client.models.retrieve("echo").id == "echo"


def test_a_model_says_what_it_is_for(client: OpenAI) -> None:
    hears: Any = client.models.retrieve("tiny.en")
    assert (hears.id, hears.languages) == ("whisper-tiny.en", ["en"])
    assert "/v1/audio/transcriptions" in hears.endpoints
    embeds: Any = client.models.retrieve("all-minilm-l6-v2")
    assert (embeds.languages, embeds.endpoints) == (None, ["/v1/embeddings"])


def test_a_model_that_is_not_pulled_says_how_to_pull_it(client: OpenAI) -> None:
    model: Any = client.models.retrieve("all-minilm-l6-v2")
    assert model.status == "not_pulled"
    assert "batchyard models pull all-minilm-l6-v2" in model.detail


def test_a_broken_spec_is_listed_with_its_line_and_stops_no_other(client: OpenAI) -> None:
    broken: Any = client.models.retrieve("wrong")
    assert broken.status == "broken"
    assert "wrong.yaml line 3" in broken.detail
    stranger: Any = client.models.retrieve("stranger")
    assert stranger.status == "broken"
    assert stranger.detail.startswith("strange.yaml line 2: family: unknown family 'nothing'")
    with pytest.raises(openai.NotFoundError, match="line 3"):
        client.embeddings.create(model="wrong", input="a")


def test_a_model_that_is_not_there_is_a_not_found_error(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("nobody/has-this")
    assert caught.value.code == "model_not_found"
    assert caught.value.request_id
