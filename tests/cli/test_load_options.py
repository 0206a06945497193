"""Options of a command are those of `LoadOptions`, whatever these are."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from onyxrank import InvalidInput, Ranker
from onyxrank.cli.load_options import with_load_options
from onyxrank.cli.serve import command as serve
from onyxrank.loading.options import SERVER_OPTIONS, LoadOptions


@pytest.fixture
def run():
    """A command of the options alone; gives what it was called with."""
    seen = []

    @with_load_options(SERVER_OPTIONS)
    def command(name: Annotated[str, typer.Argument()], *, load: LoadOptions) -> None:
        seen.append((name, load))

    app = typer.Typer()
    app.command()(command)

    def call(*arguments):
        result = CliRunner().invoke(app, arguments)
        return result, seen

    return call


def test_without_options_they_are_the_defaults(run):
    result, seen = run("shop")
    assert result.exit_code == 0, result.output
    assert seen == [("shop", SERVER_OPTIONS)]


def test_every_option_reaches_its_field(run):
    result, seen = run(
        *("shop", "--provider", "cpu", "--variant", "fp32", "--threads", "2", "--sessions", "3"),
        *("--micro-batch-tokens", "512", "--profile", "none", "--queue-tokens", "9000"),
        *("--history-cache-mb", "1", "--item-cache-mb", "0"),
    )
    assert result.exit_code == 0, result.output
    assert seen[0][1] == LoadOptions(
        provider="cpu",
        variant="fp32",
        threads=2,
        sessions=3,
        micro_batch_tokens=512,
        profile=None,
        queue_tokens=9000,
        history_cache_bytes=2**20,
        item_cache_bytes=0,
    )


def test_what_the_options_refuse_the_command_refuses(run):
    result, seen = run("shop", "--threads", "0")
    assert isinstance(result.exception, InvalidInput)
    assert not seen


@pytest.mark.parametrize("taker", [serve, Ranker.load], ids=["serve", "Ranker.load"])
def test_every_interface_has_every_option(taker):
    names = {name.replace("_mb", "_bytes") for name in inspect.signature(taker).parameters}
    assert {field.name for field in fields(LoadOptions)} <= names


def test_a_ranker_is_loaded_with_keywords_and_misspelt_ones_are_errors(tiny_bundle):
    with Ranker.load(tiny_bundle, threads=1, micro_batch_tokens=64) as ranker:
        assert (ranker.info()["threads"], ranker.info()["micro_batch_tokens"]) == (1, 64)
    with pytest.raises(TypeError, match="thraeds"):
        Ranker.load(tiny_bundle, thraeds=1)
    assert replace(SERVER_OPTIONS, queue_tokens=LoadOptions().queue_tokens) == LoadOptions()
