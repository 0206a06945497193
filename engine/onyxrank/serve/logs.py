"""The server's log: JSON lines on standard error, without any text of a shopper or an item.

What is logged of a request is its route (never its path or query), status, seconds and counts. Of an exception it is
the type and the places in the code: messages of exceptions can quote what caused them.
"""

from __future__ import annotations

import json
import logging
import traceback
from datetime import datetime, timezone
from typing import Any

logger = logging.getLogger("onyxrank.serve")
_LONGEST_CHAIN = 10
_FRAMES = 8


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, event, and the fields given in `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
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
    """An exception without its message: types of the chain, and where it came from."""
    chain: list[str] = []
    cause: BaseException | None = error
    while cause is not None and len(chain) < _LONGEST_CHAIN:
        chain.append(type(cause).__name__)
        cause = cause.__cause__ or cause.__context__
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return {"exception": chain, "at": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]}


def log(event: str, level: int = logging.INFO, **fields: Any) -> None:
    """Write one line."""
    if logger.isEnabledFor(level):
        # Made here: `Logger.log` would look for its caller, which takes longer than the rest and is not told.
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
"""For `logging.config.dictConfig`."""
