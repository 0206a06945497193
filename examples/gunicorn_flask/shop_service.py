"""A ranker inside a Flask app under gunicorn's worker processes; started as in ``gunicorn.conf.py``."""

from __future__ import annotations

from pathlib import Path

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue

from onyxrank import InvalidInput, Ranker

app = Flask(__name__)


def open_ranker(bundle: Path, threads: int) -> None:
    """Load the bundle in this process: a ranker's threads do not live through a fork."""
    app.extensions["ranker"] = Ranker.load(bundle, threads=threads)


def close_ranker() -> None:
    """Free what `open_ranker` took."""
    ranker = app.extensions.pop("ranker", None)
    if ranker is not None:
        ranker.close()


@app.post("/rank")
def rank() -> ResponseReturnValue:
    """Rank the JSON body's ``items`` for its ``history``, best first."""
    body = request.get_json()
    ranker: Ranker = app.extensions["ranker"]
    return jsonify(ranker.rank(body.get("history", []), body["items"], body.get("top_k")).as_records())


@app.get("/health")
def health() -> ResponseReturnValue:
    """What is loaded and what it runs on."""
    return jsonify(app.extensions["ranker"].info())


@app.errorhandler(InvalidInput)
def invalid(error: InvalidInput) -> ResponseReturnValue:
    """Tell the caller which item and field; the message never holds a text of theirs."""
    return jsonify(detail=str(error), index=error.index, field=error.field), 422
