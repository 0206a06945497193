"""Writes the server's log as JSON lines on standard error, without any text of a shopper or an item.

A request is logged with its route, but never its path or query, with its status, its time and counts. An exception is
logged with its type and the places in the code, but without its message, which can quote what caused it.
"""

from __future__ import annotations

import json
import logging
import traceback
from datetime import datetime, timezone
from typing import Any

logger = logging.getLogger("onyxrank.serve")
_LONGEST_CHAIN = 10
"""Most exceptions of a chain of causes that a line names."""
_FRAMES = 8
"""Innermost places in the code that a line names."""


class JsonLines(logging.Formatter):
    """Writes each record as one JSON object on a line: time, level, event, process, and the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for a record."""
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage() if record.name != "uvicorn.error" or not record.exc_info else "exception",
            "process": record.process,
        }
        fields.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[1] is not None:
            fields.update(of_exception(record.exc_info[1]))
        return json.dumps(fields, ensure_ascii=True)


def of_exception(error: BaseException) -> dict[str, Any]:
    """Describe an exception without its message: by the types in its chain of causes, and where it came from."""
    chain: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(chain) < _LONGEST_CHAIN:
        chain.append(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return {"exception": chain, "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]}


def log(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Write one line.

    Args:
        event: what happened, in a word or two.
        level: level of `logging`.
        fields: further fields of the line, as JSON values.

    """
    if logger.isEnabledFor(level):
        # `Logger.log` would look for its caller, which takes longer than the rest and is not logged.
        record = logging.LogRecord(logger.name, level, "", 0, event, (), None)
        record.fields = fields
        logger.handle(record)


CONFIG: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "onyxrank.serve.logs.JsonLines"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stderr"}},
    "loggers": {
        "uvicorn": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "onyxrank.serve": {"handlers": ["stderr"], "level": "INFO", "propagate": False},
    },
}
"""Configuration of logging for uvicorn, in the form that `logging.config.dictConfig` takes."""
