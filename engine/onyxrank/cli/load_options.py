"""Options of a command that loads a ranker, derived from `LoadOptions`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import fields
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

import typer

from onyxrank.loading.options import LoadOptions

Command = TypeVar("Command", bound=Callable[..., None])

_MIB = 2**20
_NO_PROFILE = "none"


def with_load_options(defaults: LoadOptions) -> Callable[[Command], Command]:
    """Let a command that takes ``load``, a `LoadOptions`, have an option for each of its fields.

    What a field counts in bytes the option counts in MiB: ``item_cache_bytes`` becomes ``--item-cache-mb``. The
    profile ``none`` is None.

    Args:
        defaults: what the options are where they are not given.

    """

    def decorate(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True).parameters
        derived = [_parameter(name, defaults) for name in _options()]

        @functools.wraps(command)
        def with_options(**given: Any) -> None:
            chosen = {field: _value(field, given.pop(option)) for option, field in _options().items()}
            command(**given, load=LoadOptions(**chosen))

        shown: Any = with_options
        parameters = [parameter for name, parameter in own.items() if name != "load"] + derived
        shown.__signature__ = inspect.Signature(parameters)
        shown.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        result: Command = shown
        return result

    return decorate


def _options() -> dict[str, str]:
    """Names of the options and the fields that they are for."""
    return {field.name.replace("_bytes", "_mb"): field.name for field in fields(LoadOptions)}


def _parameter(option: str, defaults: LoadOptions) -> inspect.Parameter:
    field = _options()[option]
    default = getattr(defaults, field)
    kind, help_ = get_args(get_type_hints(LoadOptions, include_extras=True)[field])
    if field == "profile":
        kind = str
    return inspect.Parameter(
        option,
        inspect.Parameter.KEYWORD_ONLY,
        default=default // _MIB if option != field else default,
        annotation=Annotated[kind, typer.Option(help=help_)],
    )


def _value(field: str, given: Any) -> Any:
    if field.endswith("_bytes"):
        return given * _MIB
    return None if field == "profile" and given == _NO_PROFILE else given
