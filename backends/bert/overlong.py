"""Inputs with more tokens than the model takes: refuse, shorten, or cut into windows."""

from backends.bert.tokenizer import BertTokenizer


def content_of(ids: list[int], tokenizer: BertTokenizer) -> tuple[list[int], list[int], list[int]]:
    """`ids` as (opening, content, closing). Ids that a caller sent without special tokens have neither."""
    opening, closing = tokenizer.opening, tokenizer.closing
    end = len(ids) - len(closing)
    if end >= len(opening) and ids[: len(opening)] == opening and ids[end:] == closing:
        return opening, ids[len(opening) : end], closing
    return [], ids, []


def shorten(ids: list[int], limit: int, tokenizer: BertTokenizer) -> list[int]:
    """The first `limit` tokens, the last of them still being the closing special tokens, as
    sentence-transformers truncates."""
    opening, content, closing = content_of(ids, tokenizer)
    return [*opening, *content[: room(limit, opening, closing)], *closing]


def windows(ids: list[int], limit: int, tokenizer: BertTokenizer) -> list[list[int]]:
    """Consecutive windows of at most `limit` tokens, each between its own special tokens."""
    opening, content, closing = content_of(ids, tokenizer)
    step = room(limit, opening, closing)
    return [[*opening, *content[start : start + step], *closing] for start in range(0, len(content), step)]


def room(limit: int, opening: list[int], closing: list[int]) -> int:
    """Tokens of content in a window of `limit` (at least one, so that a window always moves on)."""
    return max(1, limit - len(opening) - len(closing))
