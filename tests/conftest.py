"""Fixtures of the whole suite, one file per concern under `tests/fixtures/`."""

pytest_plugins = ["tests.fixtures.services"]
