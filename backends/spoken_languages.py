"""What a model that transcribes can be asked for, as far as its languages say it."""

from collections.abc import Collection

from backends.errors import InvalidBody
from backends.transcription import Task


def check_languages(task: Task, language: str | None, known: Collection[str], *, translates: bool) -> None:
    """Refuse what a model cannot do that knows the languages `known` (codes such as en). `language` is the
    one asked for, None: it is to be found out; `translates`: the model can translate into English.

    Raises `InvalidBody`. The API calls this where a spec says what its model knows, else the engine does.
    """
    if task == "translate" and not translates:
        message = "the model knows English alone and cannot translate"
        raise InvalidBody(message, code="translation_not_supported", param="model")
    if language is not None and language not in known:
        message = f"the model does not know '{language}'; it knows {', '.join(sorted(known))}"
        raise InvalidBody(message, code="unsupported_language", param="language")
