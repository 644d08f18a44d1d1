"""Lists of jobs: pages without gaps, and filters that leave out what is not asked for."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from store import job_pages
from store.job_pages import JobFilter
from store.states import JobState

WaitFor = Callable[..., Any]
NewJobOf = Callable[..., int]

ALL = JobFilter()


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_pages_follow_each_other_without_gap(wait_for: WaitFor, new_job: NewJobOf, order: str) -> None:
    ids = [new_job(1, view=view) for view in ("batch", "job", "batch", "call", "batch")]
    seen: list[int] = []
    after, has_more = None, True
    while has_more:
        rows, has_more = wait_for(job_pages.page, 1, ALL, after, 2, order)
        seen += [row.id for row in rows]
        after = rows[-1].suffix
    assert seen == (ids if order == "asc" else ids[::-1])


def test_pages_are_of_one_project(wait_for: WaitFor, new_job: NewJobOf) -> None:
    new_job(1)
    assert wait_for(job_pages.page, 2, ALL, None, 10) == ([], False)
    assert wait_for(job_pages.page, 1, ALL, "unknown", 10) == ([], False)


def test_each_filter_leaves_out_what_it_does_not_name(
    conn: psycopg.Connection[Any], wait_for: WaitFor, new_job: NewJobOf
) -> None:
    plain, call = new_job(1), new_job(1, view="call", model="other", endpoint="/v1/other")
    again = new_job(1, view="job", retry_of=plain)
    conn.execute("UPDATE job SET created_at = now() - interval '2 days' WHERE id = %s", (plain,))
    conn.execute("UPDATE job SET state = 'completed', ended_at = now() WHERE id = %s", (again,))
    yesterday = datetime.now(UTC) - timedelta(days=1)

    def listed(**asked: Any) -> set[int]:
        rows, _ = wait_for(job_pages.page, 1, JobFilter(**asked), None, 10)
        return {row.id for row in rows}

    assert listed(views=["batch", "job"]) == {plain, again}
    assert listed(states=[JobState.QUEUED]) == {plain, call}
    assert listed(states=[JobState.QUEUED, JobState.COMPLETED]) == {plain, call, again}
    assert listed(model="other") == listed(endpoint="/v1/other") == {call}
    assert listed(created_before=yesterday) == {plain}
    assert listed(created_after=yesterday) == {call, again}
    assert listed(retry_of=plain) == {again}
    assert listed(states=[JobState.COMPLETED], model="other") == set()
