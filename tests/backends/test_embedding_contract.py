"""What every runtime that serves `/v1/embeddings` makes of its requests, in real engines."""

import random

import numpy as np
import pytest

from backends.types import Done
from tests.backends.contract_fixtures import fixtures_over
from tests.backends.contract_models import MODELS
from tests.backends.embedding_asks import MAX_TOKENS, TEXT, EmbeddingAsks, cosine, text, vectors
from tests.backends.engine_driver import Driver, part, result

model, folder, spec, asks, driver = fixtures_over([one for one in MODELS if one.asks is EmbeddingAsks])


def test_an_answer_tells_its_tokens_and_gives_unit_vectors(driver: Driver) -> None:
    (answer,) = driver.compute([part(driver.new_key(), input=[text(1), text(2)])])
    assert isinstance(answer, Done)
    embedding = result(answer)
    assert embedding.tokens == answer.units > 0
    assert embedding.dimensions == driver.engine.info["dimensions"]
    np.testing.assert_allclose(np.linalg.norm(vectors(embedding), axis=1), 1, atol=1e-2)


def test_the_result_of_an_input_does_not_depend_on_its_company_in_a_request(driver: Driver) -> None:
    alone = vectors(driver.embed(input=text(1)))[0]
    crowd = [text(i, words=1 + i % 30) for i in range(2, 40)]
    among = vectors(driver.embed(input=[*crowd, text(1), text(1)]))
    assert cosine(alone, among[-2]) > 0.9995
    assert cosine(alone, among[-1]) > 0.9995
    assert cosine(alone, among[0]) < 0.9995


@pytest.mark.parametrize("overlong", ["truncate", "chunk_mean"])
def test_an_overlong_input_is_cut_when_asked(driver: Driver, overlong: str) -> None:
    long_text = " ".join(random.Random(3).choices(TEXT.split(), k=4 * MAX_TOKENS))
    embedding = driver.embed(input=long_text, overlong=overlong)
    assert np.isfinite(vectors(embedding)).all()
    np.testing.assert_allclose(np.linalg.norm(vectors(embedding), axis=1), 1, atol=1e-2)
    if overlong == "truncate":
        assert embedding.tokens == MAX_TOKENS
    else:
        assert embedding.tokens >= 4 * MAX_TOKENS


def test_token_ids_are_taken_as_inputs(driver: Driver) -> None:
    one = driver.embed(input=[1, 2, 3])
    several = driver.embed(input=[[1, 2, 3], [3, 2]])
    assert one.tokens == 3
    assert several.tokens == 5
    assert cosine(vectors(one)[0], vectors(several)[0]) > 0.9995


def test_fewer_dimensions_are_the_first_ones_scaled_to_length_one(driver: Driver) -> None:
    whole = vectors(driver.embed(input=text(5)))[0]
    cut = vectors(driver.embed(input=text(5), dimensions=4))[0]
    assert cut.shape == (4,)
    np.testing.assert_allclose(cut, whole[:4] / np.linalg.norm(whole[:4]), atol=2e-2)
    assert np.linalg.norm(cut) == pytest.approx(1, abs=1e-5)


def test_the_encoding_of_the_reply_does_not_change_what_is_stored(driver: Driver) -> None:
    plain = driver.embed(input=text(6), encoding_format="float")
    encoded = driver.embed(input=text(6), encoding_format="base64")
    assert cosine(vectors(plain)[0], vectors(encoded)[0]) > 0.9999
