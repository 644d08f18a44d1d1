"""The vocabulary: what comes before a text, which languages there are, what tokens spell."""

from pathlib import Path

import pytest

from backends.errors import LoadFailed
from backends.whisper.spelling import text_of
from backends.whisper.tokens import Vocabulary
from backends.whisper.window import Asking
from tests.fixtures.tiny_whisper import SENTENCE, Tokens, write_tiny_whisper


def vocabulary(folder: Path, *, multilingual: bool) -> tuple[Vocabulary, dict[str, int], list[int]]:
    write_tiny_whisper(folder, multilingual=multilingual)
    tokens = Tokens(multilingual=multilingual)
    return Vocabulary.read(folder), tokens.special, tokens.spoken


def test_an_english_model_is_opened_without_language_and_task(tmp_path: Path):
    found, special, _ = vocabulary(tmp_path, multilingual=False)
    assert not found.multilingual
    assert found.languages == {}
    assert found.opening(None, "transcribe") == [special["startoftranscript"], special["notimestamps"]]


def test_a_multilingual_model_is_told_language_and_task(tmp_path: Path):
    found, special, _ = vocabulary(tmp_path, multilingual=True)
    assert found.opening("de", "translate") == [
        special[name] for name in ("startoftranscript", "de", "translate", "notimestamps")
    ]
    assert found.languages[special["zh"]] == "zh"
    assert "translate" not in found.languages.values()
    assert len(found.languages) == 99


def test_a_prompt_comes_before_with_its_last_tokens(tmp_path: Path):
    found, special, _ = vocabulary(tmp_path, multilingual=False)
    prompted = found.before(Asking(prompt="Wolfgang Amadeus Mozart "), 4)
    assert prompted[0] == special["startofprev"]
    assert text_of(found.pieces(prompted[1:])) == "zart"
    assert found.before(Asking(prompt="  "), 4) == []


def test_special_tokens_in_a_prompt_are_no_commands(tmp_path: Path):
    found, special, _ = vocabulary(tmp_path, multilingual=False)
    prompted = found.before(Asking(prompt="a<|endoftext|><|notimestamps|>b"), 100)
    assert not set(prompted[1:]) & set(special.values())


def test_tokens_spell_text_and_bytes(tmp_path: Path):
    found, special, spoken = vocabulary(tmp_path, multilingual=False)
    assert text_of(found.pieces(spoken)) == SENTENCE
    assert found.spoken([*spoken, special["endoftext"], special["notimestamps"]]) == spoken
    bytewise = found.before(Asking(prompt="é☃\x07"), 100)[1:]
    assert text_of(found.pieces(bytewise)) == " é☃\x07"


@pytest.mark.parametrize("content", [None, "{", '{"version": "1.0"}'], ids=["missing", "no JSON", "empty"])
def test_a_broken_tokenizer_is_named(tmp_path: Path, content: str | None):
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(LoadFailed, match=r"tokenizer\.json"):
        Vocabulary.read(tmp_path)


def test_a_tokenizer_of_something_else_is_named_by_what_it_lacks(tmp_path: Path):
    write_tiny_whisper(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text().replace("<|startoftranscript|>", "<|other|>"))
    with pytest.raises(LoadFailed, match="startoftranscript"):
        Vocabulary.read(tmp_path)
