"""Fixtures of the whole suite, one file per concern under `tests/fixtures/`."""

pytest_plugins = [
    "tests.fixtures.bindings",
    "tests.fixtures.interrupts",
    "tests.fixtures.minilm",
    "tests.fixtures.whisper_tiny_en",
    "tests.fixtures.services",
    "tests.fixtures.silero",
    "tests.fixtures.stack",
]
