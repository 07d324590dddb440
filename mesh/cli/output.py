"""What commands print: results on stdout, everything else on stderr; colour only on a terminal without NO_COLOR."""

import os
import sys

import click

from mesh.model.errors import ConfigError


def say(text: str) -> None:
    """Tell the user something that is not the result."""
    click.echo(text, err=True)


def fail(error: BaseException) -> int:
    """Print what is wrong, one line a violation; return the exit code for bad usage or files."""
    if isinstance(error, ConfigError):
        for violation in error.violations:
            say(f"{click.style('error', fg='red')}: {violation}" if color() else f"error: {violation}")
    else:
        say(f"error: {error}")
    return 2


def color() -> bool:
    """May standard error be coloured?"""
    return sys.stderr.isatty() and "NO_COLOR" not in os.environ
