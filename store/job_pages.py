"""Lists of jobs: filtered, in pages, by age."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg import AsyncConnection

from store.ids import View
from store.jobs import SELECT_JOB, JobRow
from store.paging import fetch_page
from store.states import FINAL_JOB_STATES, JobState


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """Which jobs a list holds; None is all. Times are of submission, `created_before` is left out itself."""

    views: Collection[View] | None = None
    states: Collection[JobState] | None = None
    model: str | None = None
    endpoint: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    retry_of: int | None = None

    def conditions(self) -> list[str]:
        """One for each filter that is set but the states, so that the planner sees what is asked, and
        nothing else."""
        tests = {
            "views": "view = ANY (%(views)s)",
            "model": "model = %(model)s",
            "endpoint": "endpoint = %(endpoint)s",
            "created_after": "created_at >= %(created_after)s",
            "created_before": "created_at < %(created_before)s",
            "retry_of": "retry_of = %(retry_of)s",
        }
        return [test for name, test in tests.items() if getattr(self, name) is not None]

    @property
    def is_of_open_jobs(self) -> bool:
        return self.states is not None and FINAL_JOB_STATES.isdisjoint(self.states)

    def values(self) -> dict[str, Any]:
        return vars(self) | {
            "views": list(self.views or ()),
            "states": [str(state) for state in self.states or ()],
        }


async def page(
    conn: AsyncConnection[Any],
    project_id: int,
    wanted: JobFilter,
    after_suffix: str | None,
    limit: int,
    order: Literal["asc", "desc"] = "desc",
) -> tuple[list[JobRow], bool]:
    """Up to `limit` jobs by age, after the one of `after_suffix`, and whether there are more.

    An unknown `after_suffix` gives an empty page.
    """
    statement = (_of_open_jobs if wanted.is_of_open_jobs else _of_jobs)(wanted, order, after_suffix)
    values = wanted.values() | {"project": project_id, "after": after_suffix}
    return await fetch_page(conn, JobRow, statement, values, limit)


def _of_jobs(wanted: JobFilter, order: str, after_suffix: str | None) -> str:
    conditions = ["project_id = %(project)s", *wanted.conditions()]
    if wanted.states is not None:
        conditions.append("state = ANY (%(states)s)")
    conditions += _beyond(order, after_suffix)
    return f"{SELECT_JOB} WHERE {' AND '.join(conditions)} ORDER BY id {order} LIMIT %(rows)s"


def _beyond(order: str, after_suffix: str | None) -> list[str]:
    if after_suffix is None:
        return []
    sign = ">" if order == "asc" else "<"
    return [f"id {sign} (SELECT id FROM job WHERE suffix = %(after)s AND project_id = %(project)s)"]


def _of_open_jobs(wanted: JobFilter, order: str, after_suffix: str | None) -> str:
    """Open jobs may be few among many that have ended, or many: their index (ix_job_open) has each state in
    order. The sum keeps the planner from the index of projects, where all that has ended lies between."""
    conditions = " AND ".join(
        ["project_id + 0 = %(project)s", *wanted.conditions(), *_beyond(order, after_suffix)]
    )
    by_state = " UNION ALL ".join(
        f"(SELECT id FROM job WHERE state = '{JobState(state)}' AND ended_at IS NULL AND {conditions} "
        f"ORDER BY id {order} LIMIT %(rows)s)"
        for state in sorted(set(wanted.states or ()))
    )
    first = f"SELECT id FROM ({by_state}) AS open ORDER BY id {order} LIMIT %(rows)s"
    return f"{SELECT_JOB} WHERE id = ANY (ARRAY ({first})) ORDER BY id {order}"
