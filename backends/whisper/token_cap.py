"""How long a text may get: as long as at twice the rate of quick speech.

A token is a word or half of it in English, and as little as a part of a letter in other scripts.
"""

from backends.whisper.window import Window

ENGLISH = "en"
PER_SECOND, PER_SECOND_OTHERS, MORE = 8, 20, 12


def most_tokens(window: Window, language: str | None) -> int:
    """Tokens of a window's text, without special ones. `language`: None where it is not known yet."""
    rate = PER_SECOND if language == ENGLISH else PER_SECOND_OTHERS
    return int(window.seconds * rate) + MORE
