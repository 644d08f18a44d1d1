"""Where a sentence ends in what Whisper writes."""

import pytest

from backends.whisper.sentences import sentence_ends


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        (" It rained. We stayed.", [11]),
        (' He said, "Go!" She went.', [15]),
        (" What?! Well… no.", [7, 13]),
        (" Mr. Hale and J. S. Bach met.", []),
        (" It cost 3.50 at example.com. So what", [29]),
        (" Only one. ", []),
        ("今日は。明日は", [4]),
        ("", []),
    ],
)
def test_sentences_end_where_something_follows_their_full_stop(text: str, ends: list[int]):
    assert sentence_ends(text) == ends
