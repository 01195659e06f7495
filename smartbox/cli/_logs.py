"""The log file of a run, and progress as JSON for programs that start one; ``docs/progress.md`` lists the events."""

import json
import logging
import sys
import warnings
from contextlib import contextmanager, suppress

LOG = "bench.log"
_logger = logging.getLogger("smartbox")


class JsonLines(logging.Formatter):
    """A JSON object a record: its ``event``, or the text of a note."""

    def format(self, record):
        event = getattr(record, "event", None) or {"event": "note", "text": record.getMessage()}
        return json.dumps({"time": round(record.created, 3), **event})


@contextmanager
def logged(path, *, as_json=False):
    """Within the block what is told to the logger, and each warning, goes to the end of a file, and as JSON to standard error if
    wanted. A log that cannot be written does not stop a run.
    """
    plain = logging.Formatter("%(asctime)s %(message)s", datefmt="%Y-%m-%d %H:%M:%S")
    handlers, refused = [], None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append((logging.FileHandler(path, encoding="utf-8"), plain))
    except OSError as error:
        refused = f"there will be no log: cannot open {path} ({error.strerror})."
    if as_json:
        handlers.append((logging.StreamHandler(sys.stderr), JsonLines()))
    level = _logger.level
    _logger.setLevel(logging.INFO)
    for handler, form in handlers:
        handler.setFormatter(form)
        handler.handleError = lambda record: None
        _logger.addHandler(handler)
    usual = warnings.showwarning

    def show(message, *rest, **more):
        tell("warning", f"warning: {message}")
        if not as_json:
            usual(message, *rest, **more)

    warnings.showwarning = show
    try:
        if refused:
            warnings.warn(refused, stacklevel=3)
        yield
    except BaseException as error:
        tell("ended", f"ended by {type(error).__name__}: {error}", error=type(error).__name__)
        raise
    finally:
        warnings.showwarning = usual
        _logger.setLevel(level)
        for handler, _ in handlers:
            _logger.removeHandler(handler)
            with suppress(OSError):  # what is left to be written may find the disk full
                handler.close()


def tell(event, text, **figures):
    """A record with an event of its own."""
    _logger.info("%s", text, extra={"event": {"event": event, "text": text, **figures}})
