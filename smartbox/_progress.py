"""Progress bars on standard error, shown only when asked for."""

from contextlib import contextmanager


@contextmanager
def progress_bar(description, total, *, enabled):
    """Yield ``advance(steps, note="")``; a no-op where ``enabled`` is false."""
    if not enabled:
        yield lambda steps=1, note="": None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = [
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    ]
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total, note="")
        yield lambda steps=1, note="": progress.update(task, advance=steps, note=note)
