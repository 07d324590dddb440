"""What a command failed with, and the exit code for it.

0 ok, 1 a check failed or the control plane did not do it, 2 bad usage or file, 3 our own bug, 130 interrupted.
"""

from mesh.cli.output import fail
from mesh.model.errors import ConfigError, IdentityError, MeshError


class CommandFailed(MeshError):
    """Somebody else's: the control plane could not be reached, or said no. What was typed is right, so trying later may help."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(f"{message} ({hint})" if hint else message)
        self.message = message
        self.hint = hint


def exit_code_of(error: BaseException) -> int | None:
    """Say what is wrong and return the exit code; nothing for what is our own bug, which is to be raised again."""
    if isinstance(error, BaseExceptionGroup):
        return _exit_code_of_group(error)
    if isinstance(error, CommandFailed):
        fail(error)
        return 1
    if isinstance(error, ConfigError | IdentityError):
        return fail(error)
    return None


def _exit_code_of_group(group: BaseExceptionGroup[BaseException]) -> int | None:
    """Tasks that failed together: what an operator can mend is said plainly, an interrupt is one, the rest is ours."""
    if group.subgroup(KeyboardInterrupt) is not None:
        return 130
    _, ours = group.split((ConfigError, IdentityError, CommandFailed))
    if ours is not None:
        return None
    return max(exit_code_of(error) or 0 for error in _leaves(group))


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves
