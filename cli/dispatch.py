"""`batchyard dispatch`: the dispatcher alone."""

from cli.environment import settings_from


def dispatch() -> None:
    """Validate, repeat lost wake-ups, settle jobs and prune. Several may run; one of them leads."""
    from configs import logging
    from tasks import dispatcher

    settings = settings_from()
    logging.configure(settings)
    dispatcher.run(settings)
