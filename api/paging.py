"""Query parameters of lists, as the official client sends them."""

from typing import Annotated, Literal

from fastapi import Query

After = Annotated[str | None, Query(description="id of the last object of the page before", max_length=64)]
Order = Annotated[Literal["asc", "desc"], Query(description="by time of creation")]
