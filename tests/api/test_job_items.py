"""Items and results of jobs, while they run and after."""

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.fixtures.jobs import BAD, GOOD, finished, results, submit
from tests.fixtures.stack import Stack


@pytest.fixture
def http(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{stack.url}/v1", timeout=30) as client:
        yield client


def test_items_are_listed_with_what_became_of_them(http: httpx.Client) -> None:
    job = finished(http, submit(http, [GOOD, BAD, GOOD])["id"])
    page = http.get(f"/jobs/{job['id']}/items").json()
    assert [(item["id"], item["custom_id"], item["state"]) for item in page["data"]] == [
        (0, "item-0", "succeeded"), (1, "item-1", "errored"), (2, "item-2", "succeeded"),
    ]  # fmt: skip
    good, bad, _ = page["data"]
    assert (good["attempts"], good["strikes"], good["strike_reason"], good["error"]) == (1, 0, None, None)
    assert good["units"] > 0
    assert bad["error"]["code"] == "empty_input"
    assert (page["first_id"], page["last_id"], page["has_more"]) == (0, 2, False)
    assert http.get(f"/jobs/{job['id']}/items/item-1").json() == bad
    assert job["attempts"] == 1


def test_items_are_paged_and_chosen_by_state(http: httpx.Client) -> None:
    job = finished(http, submit(http, [BAD, GOOD, BAD, GOOD, BAD])["id"])

    def page(**params: object) -> tuple[list[int], bool]:
        found = http.get(f"/jobs/{job['id']}/items", params=params).json()  # type: ignore[arg-type]
        return [item["id"] for item in found["data"]], found["has_more"]

    assert page(state="errored", limit=2) == ([0, 2], True)
    assert page(state="errored", limit=2, after=2) == ([4], False)
    assert page(state="succeeded,errored") == ([0, 1, 2, 3, 4], False)
    assert page(state="pending") == ([], False)


def test_a_cancelled_job_says_so_of_each_item_that_never_ran(http: httpx.Client) -> None:
    job = submit(http, [GOOD] * 300, model="echo-slow")
    while http.get(f"/jobs/{job['id']}").json()["status"] == "validating":
        time.sleep(0.01)
    http.post(f"/jobs/{job['id']}/cancel")
    finished(http, job["id"])
    item = http.get(f"/jobs/{job['id']}/items/item-299").json()
    assert (item["state"], item["attempts"], item["error"]["code"]) == ("cancelled", 0, "batch_cancelled")


def test_results_are_read_while_the_job_runs_and_going_on_misses_none(http: httpx.Client) -> None:
    """`after` is the number at the end of the last line's id."""
    job_id = submit(http, [GOOD] * 120, model="echo-slow")["id"]
    seen: list[int] = []
    while_running = 0
    until = time.monotonic() + 90
    ended = False
    while not ended:
        assert time.monotonic() < until
        ended = http.get(f"/jobs/{job_id}").json()["status"] == "completed"
        lines = results(http, job_id, after=seen[-1] if seen else -1)
        seen += [int(line["id"].rpartition("_")[2]) for line in lines]
        while_running += 0 if ended else len(lines)
        time.sleep(0.05)
    assert seen == list(range(120))
    assert while_running > 0


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("items?state=asleep", 400, "invalid_value"),
        ("items?limit=0", 400, "invalid_value"),
        ("items?limit=1001", 400, "invalid_value"),
        ("items?after=99999999999", 400, "invalid_value"),
        ("items?after=x", 400, "invalid_value"),
        ("items/nobody", 404, "item_not_found"),
        ("items/%00", 404, "item_not_found"),
        ("items/a/b%2Fc", 404, "item_not_found"),
        ("items/" + "x" * 5000, 404, "item_not_found"),
        ("results?after=99999999999", 400, "invalid_value"),
        ("results?include_retries=perhaps", 400, "invalid_value"),
        ("results?response_format=docx", 400, "invalid_value"),
        ("results?formats=srt,docx", 400, "invalid_value"),
        ("results?max_lines=0", 400, "invalid_value"),
        ("transcripts?formats=docx", 400, "invalid_value"),
        ("transcripts", 400, "endpoint_not_supported"),
    ],
)
def test_items_that_cannot_be(http: httpx.Client, path: str, status: int, code: str) -> None:
    job = finished(http, submit(http, [GOOD])["id"])
    reply = http.get(f"/jobs/{job['id']}/{path}")
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
