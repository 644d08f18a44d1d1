"""How tokens spell a text, byte by byte."""

from backends.whisper.spelling import text_of, token_ends


def test_a_character_of_several_tokens_is_complete_with_the_last_of_them():
    euro = "€".encode()
    pieces = [b" a", euro[:1], euro[1:2], euro[2:] + b"b"]
    assert text_of(pieces) == " a€b"
    assert token_ends(pieces) == [2, 2, 2, 4]


def test_bytes_that_are_no_character_still_end_in_the_text():
    pieces = [b"a", b"\xe2\x82", b"b", b"\xff\xe2"]
    ends = token_ends(pieces)
    assert ends == sorted(ends)
    assert ends[-1] == len(text_of(pieces))
