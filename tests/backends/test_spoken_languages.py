"""What a model's languages refuse, and in which words."""

import pytest

from backends.errors import InvalidBody
from backends.spoken_languages import check_languages


def test_a_language_that_the_model_does_not_know_is_refused_with_those_that_it_knows() -> None:
    with pytest.raises(InvalidBody) as refused:
        check_languages("transcribe", "de", {"fr", "en"}, translates=True)
    assert refused.value.message == "the model does not know 'de'; it knows en, fr"
    assert (refused.value.code, refused.value.param) == ("unsupported_language", "language")


def test_a_model_that_cannot_translate_says_so_before_it_looks_at_the_language() -> None:
    with pytest.raises(InvalidBody) as refused:
        check_languages("translate", "de", ["en"], translates=False)
    assert (refused.value.code, refused.value.param) == ("translation_not_supported", "model")


def test_what_the_model_can_do_passes() -> None:
    check_languages("transcribe", None, ["en"], translates=False)
    check_languages("transcribe", "en", ["en"], translates=False)
    check_languages("translate", "de", ["de", "en"], translates=True)
