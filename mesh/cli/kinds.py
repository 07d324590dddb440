"""Kinds as they are typed (`meshtimeouts`, `meshtimeout`, `MeshTimeout`, `mt`), and where the API serves them."""

import click

from mesh.cli.api_client import path_of
from mesh.model.errors import ConfigError, Violation
from mesh.resources.documents import suggest
from mesh.resources.registry import KINDS, explain_unknown, find_kind
from mesh.resources.resource import Kind


def read_kind(word: str, *, policy: bool = False) -> Kind:
    """Return the kind that `word` names. Raises: ConfigError with a suggestion; with `policy`, for what is no policy too."""
    kind = find_kind(word)
    if kind is None:
        message, hint = explain_unknown(word)
        if message.startswith("unknown"):
            guess = suggest(word, _words())
            hint = f"{guess} all kinds: mesh schema".strip()
            if word.lower() == "policies":
                hint = "list those of every kind with mesh inspect policies"
        raise ConfigError([Violation(message=message, hint=hint)])
    if policy and not kind.policy:
        raise ConfigError([Violation(message=f"a {kind.name} is not a policy", hint="see mesh inspect --help")])
    return kind


def path_of_kind(kind: Kind, mesh: str, name: str = "") -> str:
    """Return the path of a kind's list, or of one resource of it."""
    scope = ("meshes", mesh) if kind.mesh_scoped else ()
    return path_of(*scope, kind.path, *((name,) if name else ()))


class KindWord(click.ParamType[str]):
    """An argument that names a kind; shells complete it."""

    name = "kind"

    def __init__(self, *, policies: bool = False) -> None:
        self._policies = policies

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[click.shell_completion.CompletionItem]":
        from click.shell_completion import CompletionItem

        kinds = [kind for kind in KINDS if kind.policy or not self._policies]
        return [CompletionItem(kind.path) for kind in kinds if kind.path.startswith(incomplete.lower())]


def _words() -> list[str]:
    return [word for kind in KINDS for word in (kind.name, kind.path, kind.name.lower())]
