"""Progress on stderr: a bar with rate and time left on a terminal, a line now and then elsewhere."""

import time
from collections import deque
from types import TracebackType
from typing import Self

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

# The time left is told once so much is done: the first of a few long recordings comes late, and from the
# short ones before it hours would be foreseen.
FORESEEABLE = 0.01
LINE_SECONDS = 10.0  # between lines where there is no terminal
SAMPLE_SECONDS = 0.1  # updates that come faster are passed over
RATE_SECONDS = 20.0


class Meter:
    """One thing after the other, each with a label, a count and perhaps a total. A context."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(stderr=True, quiet=quiet)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._label = ""
        self._unit = ""
        self._rate_seconds = RATE_SECONDS
        self._last_line = 0.0
        self._samples: deque[tuple[float, float]] = deque()

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._quiet:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.fields[figures]}"),
                console=self._console,
                transient=True,
                redirect_stdout=False,  # stdout is for results, and may be a pipe
                redirect_stderr=False,
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def stage(self, label: str, unit: str = "", *, rate_seconds: float = RATE_SECONDS) -> None:
        """Begin the next thing; `unit` is what is counted ("texts", "MB" for bytes). `rate_seconds`: the rate
        is that of the last so many, longer where the count grows in leaps."""
        self._label, self._unit, self._rate_seconds = label, unit, rate_seconds
        self._samples.clear()
        self._last_line = time.monotonic()
        if self._bar is None:
            self.say(f"{label} …")
            return
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(label, total=None, figures="")

    def update(
        self, done: float, total: float | None = None, *, note: str | None = None, aside: str | None = None
    ) -> None:
        """How far it has come; call it as often as you like. `note` is shown while nothing is counted,
        `aside` before what is."""
        now = time.monotonic()
        if self._samples and now - self._samples[-1][0] < SAMPLE_SECONDS:
            return
        self._samples.append((now, done))
        while self._samples[0][0] < now - self._rate_seconds and len(self._samples) > 2:
            self._samples.popleft()
        if note is not None and not done:
            figures = note
        else:
            figures = ", ".join(filter(None, (aside, self._figures(done, total))))
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total, figures=figures)
        elif now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            self.say(f"{self._label}: {figures}")

    def tell(self, text: str) -> None:
        """A line of the result, on stdout; the bar makes room for it."""
        if self._bar is not None:
            self._bar.stop()
        typer.echo(text)
        if self._bar is not None:
            self._bar.start()

    def say(self, text: str) -> None:
        """A line that stays, on stderr."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _figures(self, done: float, total: float | None) -> str:
        parts = [_amount(done, total, self._unit)]
        (first, before), (last, now) = self._samples[0], self._samples[-1]
        if last - first > 1.0 and now > before:
            rate = (now - before) / (last - first)
            parts.append(f"{_number(rate, self._unit)}/s")
            if total is not None and total > done >= FORESEEABLE * total:
                parts.append(f"{duration((total - done) / rate)} left")
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """`8 s`, `12 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def counted(count: int, noun: str) -> str:
    """`1 text`, `1,200 texts`."""
    return f"{count:,} {noun}" + "s" * (count != 1)


def _number(value: float, unit: str) -> str:
    if unit == "MB":
        return f"{value / 1e6:,.1f} MB"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.1f}"


def _amount(done: float, total: float | None, unit: str) -> str:
    text = _number(done, unit)
    if total is not None:
        text += f" of {_number(total, unit)}"
    return text if unit == "MB" else f"{text} {unit}".rstrip()
