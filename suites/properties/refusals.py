"""What a contract refuses: arguments that do not fit are answered with an error, and not with a number."""

from collections.abc import Callable, Sequence
from typing import Any

from suites.properties.checks import check
from suites.properties.domain import Lenient, outside, turn


def refused(
    what: str,
    call: Callable[..., Any],
    *arguments: Any,
    says: Sequence[str] = (),
    usual: bool = False,
    errors: type[Exception] | tuple[type[Exception], ...] = ValueError,
    **named: Any,
) -> None:
    """Fail unless a call raises ValueError; a turn of its property, see `domain`.

    Another exception is an answer too: it is strict of the contract to ask for this one.

    Args:
        what: what does not fit, as a message names it.
        call: what is called with the other arguments.
        arguments: in their order.
        says: what the message of the error has to name.
        usual: whether others take it and mean something by it, so that to take it is not wrong by itself.
        errors: the exceptions that the contract asks for, where it is not ValueError alone.
        named: by name.
    """
    __tracebackhide__ = True
    with turn():
        try:
            call(*arguments, **named)
        except errors as error:
            missing = [word for word in says if word not in str(error)]
            check(not missing, f"{what}: the error does not name {missing}: {error}")
            return
        except Exception as error:
            if outside(error) is not None:
                raise
            raise Lenient(f"{what}: answered with {type(error).__name__}, in the contract with ValueError") from error
        if usual:
            raise Lenient(f"{what}: accepted, which the contract refuses")
        check(False, f"{what} was accepted")
