"""`batchyard dispatch`: the dispatcher alone."""

from cli.part import check_database, settings_of_part


def dispatch() -> None:
    """Validate, repeat lost wake-ups, settle jobs and prune. Several may run; one of them leads."""
    from tasks import dispatcher

    settings = settings_of_part()
    check_database(settings)
    dispatcher.run(settings)
