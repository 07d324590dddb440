"""What commands print: results on stdout, everything else on stderr; colour only on a terminal without NO_COLOR."""

import os
import sys

import click


def say(text: str) -> None:
    """Tell the user something that is not the result."""
    click.echo(text, err=True)


def warn(text: str) -> None:
    """Tell the user something that may be a mistake."""
    say(f"{click.style('warning', fg='yellow') if color() else 'warning'}: {text}")


def fail(error: BaseException) -> int:
    """Print what is wrong, one line a violation; return the exit code for bad usage or files."""
    from mesh.model.errors import ConfigError  # Not at the top: `mesh --help` has no errors to tell, and no time.

    prefix = click.style("error", fg="red") if color() else "error"
    if isinstance(error, ConfigError):
        for violation in error.violations:
            say(f"{prefix}: {violation}")
    else:
        say(f"{prefix}: {error}")
    return 2


def color() -> bool:
    """May standard error be coloured?"""
    return sys.stderr.isatty() and "NO_COLOR" not in os.environ
