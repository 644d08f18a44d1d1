"""Where sentences end in what Whisper writes, which has punctuation but no line breaks."""

import re

# A full stop and its kin, closing quotes and brackets, then a space; scripts that have no spaces have full
# stops of their own.
_END = re.compile(r"""(?:[.?!…]+["'”’»)\]]*(?=\s)|[。！？｡]+["”’」』）]*)""")  # noqa: RUF001
# What a full stop may follow inside a sentence: titles, and single letters (J. S. Bach).
_NO_END = re.compile(r"(?:^|[\s(\"“'‘])(?:Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|vs|[A-Z])\.$")  # noqa: RUF001


def sentence_ends(text: str) -> list[int]:
    """How many characters of `text` come before each end of a sentence that something follows; a sentence
    begins with the space before it."""
    ends = (match.end() for match in _END.finditer(text))
    return [end for end in ends if text[end:].strip() and not _NO_END.search(text, 0, end)]
