from __future__ import annotations

import pytest

from onyxrank.cli.app import run


@pytest.fixture
def call(capsys):
    """Run a command; gives status, standard output and the lines of standard error."""

    def call(*arguments):
        status = run([str(argument) for argument in arguments])
        done = capsys.readouterr()
        return status, done.out, done.err.splitlines()

    return call
