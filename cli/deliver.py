"""`batchyard deliver`: the deliverer alone."""

from cli.part import check_database, settings_of_part


def deliver() -> None:
    """Send webhook events to their receivers until they have arrived. Any number may run."""
    from tasks import deliver

    settings = settings_of_part()
    check_database(settings)
    deliver.run(settings)
