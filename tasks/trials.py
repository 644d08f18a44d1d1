"""Trials of paused models, one of the dispatcher's steps: from time to time one of a model's jobs may be
claimed from, once. A part that passes lifts the pause (`tasks/strikes.py`)."""

import psycopg
import structlog

from store import models
from tasks.signals import Signals

log = structlog.get_logger(__name__)


class Trials:
    """Starts the trials that are due, and has jobs that came in during a pause say why they wait."""

    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    def step(self, conn: psycopg.Connection) -> bool:
        """True if there may be more jobs that do not say yet why they wait."""
        for trial in models.start_trials(conn):
            log.info("model.on_trial", model=trial.model, job=trial.suffix)
            self._signals.poke(trial.family)
        return models.tell_held(conn) == models.CANDIDATES
