"""What a spec may say is what the backends read, and what they do not read is refused at load."""

from typing import Any, get_args

import pytest

from backends import embeddings
from backends.bert.model_folder import Pooling
from backends.errors import LoadFailed
from backends.registry import FAMILIES
from backends.spec_values import check_values
from configs.families import FAMILY_RULES, BertOptions, EmbeddingDefaults
from configs.models import ModelSpec


def choices(rules: Any, name: str) -> set[Any]:
    literal, _ = get_args(rules.model_fields[name].annotation)
    return set(get_args(literal))


def test_the_rules_know_the_families_and_runtimes_that_there_are_in_order() -> None:
    known = {name: list(family.runtimes) for name, family in FAMILIES.items()}
    assert {name: list(rules.runtimes) for name, rules in FAMILY_RULES.items()} == known


def test_the_rules_allow_the_values_that_the_backends_know() -> None:
    assert choices(BertOptions, "pooling") == set(get_args(Pooling))
    assert choices(EmbeddingDefaults, "overlong") == set(get_args(embeddings.Overlong))
    assert set(EmbeddingDefaults.model_fields) < set(embeddings.FIELDS)


@pytest.mark.parametrize(
    ("family", "values", "message"),
    [
        ("echo", {"defaults": {"overlogn": "truncate"}}, r"defaults.overlogn: .* 'overlong'"),
        ("echo", {"defaults": {"overlong": "cut"}}, "defaults.overlong: "),
        ("echo", {"defaults": {"dimensions": -1}}, "defaults.dimensions: "),
        ("bert", {"defaults": {"model": "other"}}, "defaults.model: "),
        ("bert", {"options": {"pooling": "cls", "poolin": "mean"}}, r"options.poolin: .* 'pooling'"),
        ("bert", {"options": {"normalize": "yes"}}, "options.normalize: "),
        ("echo", {"options": {"dimensions": True}}, "options.dimensions: "),
    ],
)
def test_a_value_that_makes_no_sense_fails_the_load(
    family: str, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(LoadFailed, match=message) as caught:
        check_values(ModelSpec(name="m", family=family, **values), FAMILY_RULES[family])
    assert caught.value.code == "model_load_failed"


@pytest.mark.parametrize("family", FAMILY_RULES)
def test_null_is_the_same_as_leaving_a_value_out(family: str) -> None:
    defaults = dict.fromkeys(FAMILY_RULES[family].defaults.model_fields)
    check_values(ModelSpec(name="m", family=family, defaults=defaults), FAMILY_RULES[family])
