"""Lists of jobs: filtered, in pages, by age."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg import AsyncConnection
from psycopg.rows import class_row

from store.ids import View
from store.jobs import SELECT_JOB, JobRow
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
        """One for each filter that is set, so that the planner sees what is asked, and nothing else."""
        tests = {
            "views": "view = ANY (%(views)s)",
            "states": "state = ANY (%(states)s)",
            "model": "model = %(model)s",
            "endpoint": "endpoint = %(endpoint)s",
            "created_after": "created_at >= %(created_after)s",
            "created_before": "created_at < %(created_before)s",
            "retry_of": "retry_of = %(retry_of)s",
        }
        found = [test for name, test in tests.items() if getattr(self, name) is not None]
        if self.states is not None and FINAL_JOB_STATES.isdisjoint(self.states):
            found.append("ended_at IS NULL")  # there is an index of what is open
        return found

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
    beyond = ">" if order == "asc" else "<"
    conditions = ["project_id = %(project)s", *wanted.conditions()]
    if after_suffix is not None:
        conditions.append(
            f"id {beyond} (SELECT id FROM job WHERE suffix = %(after)s AND project_id = %(project)s)"
        )
    statement = f"{SELECT_JOB} WHERE {' AND '.join(conditions)} ORDER BY id {order} LIMIT %(rows)s"
    values = wanted.values() | {"project": project_id, "after": after_suffix, "rows": limit + 1}
    async with conn.cursor(row_factory=class_row(JobRow)) as cursor:
        await cursor.execute(statement, values)
        rows = await cursor.fetchall()
    return rows[:limit], len(rows) > limit
