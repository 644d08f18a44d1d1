"""The contract that every runtime of every family keeps (backends/base.py), run in real engines."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from backends.errors import LoadFailed
from backends.types import Done, EmbeddingResult, Failed, Lane
from configs.models import ModelSpec
from tests.backends.contract_models import MAX_TOKENS, MODELS, ContractModel
from tests.backends.engine_driver import Driver, assert_dies_with_its_parent, driving, part, result

SENTENCE = "a slot keeps its engine loaded and feeds it with the parts of a job as they come"
WORDS = SENTENCE.split()


def model_params() -> Iterator[object]:
    for model in MODELS:
        marks = [getattr(pytest.mark, name) for name in model.marks]
        if not model.installed:
            marks.append(pytest.mark.skip(reason=f"{model.runtime} is not installed"))
        yield pytest.param(model, id=model.id, marks=marks)


@pytest.fixture(scope="module", params=model_params())
def model(request: pytest.FixtureRequest) -> ContractModel:
    assert isinstance(request.param, ContractModel)
    return request.param


@pytest.fixture(scope="module")
def folder(model: ContractModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp(model.id)


@pytest.fixture(scope="module")
def spec(model: ContractModel, folder: Path) -> ModelSpec:
    return model.make(folder)


@pytest.fixture(scope="module")
def driver(model: ContractModel, spec: ModelSpec, folder: Path) -> Iterator[Driver]:
    """One engine for the tests that leave it as they found it."""
    with driving(spec, model.runtime, folder) as driver:
        driver.ready()
        yield driver


def text(seed: int, words: int = 12) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def vectors(embedding: EmbeddingResult) -> np.ndarray:
    return np.frombuffer(embedding.vectors, dtype="<f4").reshape(-1, embedding.dimensions)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_every_part_is_answered_exactly_once(driver: Driver) -> None:
    sizes = [1, 2, 7, 1, 30, 1] * 15
    parts = [part(driver.new_key(), input=[text(i) for i in range(size)]) for size in sizes]
    answers = driver.compute(parts)  # the driver refuses a second answer
    assert [len(vectors(result(answer))) for answer in answers] == sizes
    assert not driver.engine.held
    assert not driver.engine.in_flight


def test_an_answer_tells_its_tokens_and_gives_unit_vectors(driver: Driver) -> None:
    (answer,) = driver.compute([part(driver.new_key(), input=[text(1), text(2)])])
    assert isinstance(answer, Done)
    embedding = result(answer)
    assert embedding.tokens == answer.units > 0
    assert embedding.dimensions == driver.engine.info["dimensions"]
    np.testing.assert_allclose(np.linalg.norm(vectors(embedding), axis=1), 1, atol=1e-2)


def test_the_result_of_an_input_does_not_depend_on_its_company(driver: Driver) -> None:
    alone = vectors(driver.embed(input=text(1)))[0]
    crowd = [text(i, words=1 + i % 30) for i in range(2, 40)]
    among = vectors(driver.embed(input=[*crowd, text(1), text(1)]))
    assert cosine(alone, among[-2]) > 0.9995
    assert cosine(alone, among[-1]) > 0.9995
    assert cosine(alone, among[0]) < 0.9995


def test_bad_parts_fail_alone_with_their_codes(driver: Driver) -> None:
    too_long = " ".join(WORDS * MAX_TOKENS)
    bad = {
        "invalid_json": part(driver.new_key(), body=b'{"input": NaN}'),
        "empty_input": part(driver.new_key(), input=["fine", ""]),
        "invalid_type": part(driver.new_key(), input=["fine", 3]),
        "invalid_request": part(driver.new_key(), input="fine", temperature=1),
        "context_length_exceeded": part(driver.new_key(), input=["fine", too_long]),
        "invalid_dimensions": part(driver.new_key(), input="fine", dimensions=100_000),
        "invalid_token_id": part(driver.new_key(), input=[2**31]),
        "invalid_value": part(driver.new_key(), input="fine", input_type="no such prefix"),
    }
    good = [part(driver.new_key(), input=text(i)) for i in range(len(bad))]
    mixed = [one for pair in zip(bad.values(), good, strict=True) for one in pair]
    answers = driver.compute(mixed)
    failures = [answer.error.code for answer in answers if isinstance(answer, Failed)]
    assert failures == list(bad)
    assert all(isinstance(driver.answers[one.key], Done) for one in good)


def test_an_error_names_the_field_at_fault(driver: Driver) -> None:
    assert driver.fail(input="").error.param == "input"
    assert driver.fail(input="x", dimensions=100_000).error.param == "dimensions"


@pytest.mark.parametrize("overlong", ["truncate", "chunk_mean"])
def test_an_overlong_input_is_cut_when_asked(driver: Driver, overlong: str) -> None:
    long_text = " ".join(random.Random(3).choices(WORDS, k=4 * MAX_TOKENS))
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


def test_interactive_parts_overtake_bulk_ones(driver: Driver) -> None:
    bulk = [part(driver.new_key(), input=[text(i, words=20) for i in range(k, k + 16)]) for k in range(300)]
    left = list(bulk)
    first_answer = len(driver.order)

    def some_answered() -> bool:
        driver.feed_room(left)
        return len(driver.order) > first_answer

    driver.wait(some_answered)
    urgent = part(driver.new_key(), lane=Lane.INTERACTIVE, input="who waits")
    driver.engine.feed([urgent])
    driver.compute(left)
    driver.wait(lambda: {one.key for one in bulk} <= driver.answers.keys())
    behind = driver.order[driver.order.index(urgent.key) + 1 :]
    assert len(behind) > len(bulk) // 3, "it waited for the parts that were there before it"


def test_cancelled_parts_are_answered_and_the_rest_goes_on(driver: Driver) -> None:
    parts = [part(driver.new_key(), input=[text(i, words=20)] * 8) for i in range(60)]
    driver.engine.feed(parts)  # more than there is room for: some wait, some are in flight
    cancelled = [one.key for one in parts[10:]]
    driver.engine.cancel(cancelled)
    driver.wait(lambda: all(one.key in driver.answers for one in parts))
    assert all(isinstance(driver.answers[one.key], Done) for one in parts[:10])
    codes = {one.error.code for key in cancelled if isinstance(one := driver.answers[key], Failed)}
    assert codes == {"cancelled"}
    assert driver.embed(input="still here").tokens > 0


def test_a_closed_feed_ends_the_run_after_the_last_part_and_may_open_again(driver: Driver) -> None:
    engine = driver.engine
    keys = {driver.new_key() for _ in range(20)}
    engine.feed([part(key, input=text(key)) for key in keys])
    engine.close_feed()
    assert engine.state == "draining"
    driver.wait(lambda: engine.state == "ready")
    assert keys <= driver.answers.keys()
    assert engine.room == 0
    engine.reopen_feed()
    assert vectors(driver.embed(input=text(1))).shape[0] == 1


def test_the_engine_survives_two_hundred_senseless_bodies(driver: Driver) -> None:
    dice = random.Random(20_261_124)
    bodies = [senseless_body(dice) for _ in range(200)]
    answers = driver.compute([part(driver.new_key(), body=body) for body in bodies])
    assert len(answers) == 200
    assert sum(isinstance(answer, Failed) for answer in answers) > 150
    assert driver.embed(input="still here").tokens > 0


def senseless_body(dice: random.Random) -> bytes:
    """Random bytes, a damaged request, or a request with one random value."""
    whole = json.dumps({"input": text(dice.randrange(1000)), "dimensions": 4}).encode()
    values: list[object] = [
        None,
        True,
        -1,
        0,
        1.5,
        1e300,
        2**70,
        "",
        "\x00",
        [],
        [[]],
        {},
        [None],
        ["a", 1],
        [[1], "a"],
        "x" * 9999,
    ]
    match dice.randrange(3):
        case 0:
            return dice.randbytes(dice.randrange(64))
        case 1:
            at = dice.randrange(len(whole))
            return whole[:at] + dice.randbytes(dice.randrange(3)) + whole[at + 1 :]
        case _:
            field = dice.choice(["input", "model", "dimensions", "encoding_format", "overlong", "user", "x"])
            return json.dumps({"input": "a", field: dice.choice(values)}).encode()


def test_a_model_without_its_files_is_refused_by_name(
    model: ContractModel, spec: ModelSpec, tmp_path: Path
) -> None:
    with driving(spec, model.runtime, tmp_path) as driver:
        with pytest.raises(LoadFailed) as caught:
            driver.ready()
        assert any(file.path in caught.value.message for file in spec.files_for(model.runtime))
        assert driver.engine.state == "dead"


PARENT = """
import sys, time
from pathlib import Path
from backends.engine import Engine
from configs.models import ModelSpec
spec, runtime, folder = sys.argv[1:]
engine = Engine(ModelSpec.model_validate_json(spec), runtime, Path(folder), [])
while engine.state != "ready":
    engine.receive()
    time.sleep(0.01)
print(engine.pid, file=sys.stderr, flush=True)
time.sleep(600)
"""


def test_an_engine_ends_with_its_killed_parent(model: ContractModel, spec: ModelSpec, folder: Path) -> None:
    assert_dies_with_its_parent(PARENT, spec.model_dump_json(), model.runtime, str(folder))
