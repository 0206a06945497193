"""Every error that the engine raises on purpose.

OnyxrankError
├── InvalidInput (also ValueError)   the caller's history or items
├── BundleError                      the folder given to load
├── ProviderUnavailable              the hardware asked for is not what runs
├── MissingExtra (also ImportError)  an optional dependency is not installed
├── Overloaded                       no room for the request now
├── DeadlineExceeded                 no time left for the request
└── NonFiniteScore                   the model answered NaN or infinity

Messages name the place (item index and field, file, provider) and what to do. They never carry the text of a
history or an item: histories are personal, and messages end up in logs.
"""

from __future__ import annotations

from typing import ClassVar

GATE_REFUSED = 3
"""Exit status of a command that ends because the quality gate refused a variant."""


class OnyxrankError(Exception):
    """Root of all errors of this package.

    Attributes:
        exit_status: exit status of the command line when it ends with this error.

    """

    exit_status: ClassVar[int] = 1

    def __reduce__(self) -> tuple[object, ...]:
        # Process pools pickle errors. By default an exception is made again from `args` alone, without the further
        # arguments that subclasses take.
        return _rebuild, (type(self), self.args, self.__dict__)


class InvalidInput(OnyxrankError, ValueError):
    """A history or an item cannot be ranked as given.

    Attributes:
        index: position of the item or event at fault in the caller's list, or None if none of them alone is at fault.
        field: name of the field or argument at fault, such as ``"title"`` or ``"history"``.

    """

    def __init__(self, message: str, *, field: str, index: int | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.index = index


class BundleError(OnyxrankError):
    """A bundle is missing, damaged, altered, or written by a newer onyxrank."""


class ProviderUnavailable(OnyxrankError):
    """An execution provider was asked for by name and is not really running."""


class MissingExtra(OnyxrankError, ImportError):
    """An optional part of onyxrank needs packages that are not installed."""

    def __init__(self, extra: str, purpose: str, missing: str | None = None) -> None:
        module = f" ({missing} is not installed)" if missing else ""
        super().__init__(f"{purpose} needs the extra '{extra}'{module}: pip install 'onyxrank[{extra}]'")
        self.extra = extra


class Overloaded(OnyxrankError):
    """The engine has no room for this request now; try again later.

    Attributes:
        retry_after_s: seconds after which there should be room, estimated from the tokens that are too many and the
            speed of the last runs; None before the first run.

    """

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(OnyxrankError):
    """The request's deadline passed before its work was done."""


class NonFiniteScore(OnyxrankError):
    """The model answered NaN or infinity for an item.

    Attributes:
        index: position of the item in the caller's list.

    """

    def __init__(self, message: str, *, index: int) -> None:
        super().__init__(message)
        self.index = index


def _rebuild(kind: type[OnyxrankError], arguments: tuple[object, ...], state: dict[str, object]) -> OnyxrankError:
    """Make a pickled error again without its `__init__`, whose arguments are not in `arguments`."""
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    return error
