"""`mesh faults`: what a scenario's timeline can do to a mesh, from the verbs themselves."""

import inspect

import click

from mesh.cli.connecting import FORMS
from mesh.cli.tables import Column, print_result, table
from mesh.model.errors import ConfigError, Violation
from mesh.resources.documents import Value, suggest
from sim.faults.catalogue import GROUPS, VERB_BY_WORD
from sim.scenario.verb import Verb


@click.command("faults")
@click.argument("word", metavar="[VERB]", required=False)
@click.option("--output", "-o", "form", type=click.Choice(FORMS), default="table", help="How it is printed.")
def command(word: str | None, form: str) -> int:
    """List what a timeline can do: faults and changes. With a VERB: what it models, its keys, where it can be done.

    \b
    Examples:
      mesh faults
      mesh faults half-open
    """
    if word is None:
        print_result(form, [_described(verb, group) for group, verbs in GROUPS.items() for verb in verbs], _render_all)
        return 0
    verb = VERB_BY_WORD.get(word)
    if verb is None:
        hint = suggest(word, VERB_BY_WORD) or "all verbs: mesh faults"
        raise ConfigError([Violation(message=f"no verb is called '{word}'", hint=hint)])
    group = next(name for name, verbs in GROUPS.items() if verb in verbs)
    print_result(form, _described(verb, group) | {"schema": verb.schema()}, lambda: _render_one(verb))
    return 0


def _described(verb: type[Verb], group: str) -> dict[str, Value]:
    keys: list[Value] = [key for key in verb.allowed_keys() if key not in ("at", "name", verb.word)]
    return {"verb": verb.word, "group": group, "does": verb.about, "reach": verb.reach.value, "keys": keys}


def _render_all() -> str:
    rows = [[verb.word, group, verb.about, verb.reach.value] for group, verbs in GROUPS.items() for verb in verbs]
    return table(
        ["VERB", "GROUP", Column("DOES", cut=True), Column("BESIDES THE SIMULATION", cut=True, first=True)], rows
    )


def _render_one(verb: type[Verb]) -> str:
    keys = [key for key in verb.allowed_keys() if key not in ("at", "name")]
    return "\n".join(
        [
            inspect.getdoc(inspect.getmodule(verb)) or verb.about,
            "",
            f"keys      at, {', '.join(keys)}, name"
            + (f" (needs {', '.join(verb.required)})" if verb.required else ""),
            f"besides   {verb.reach.value}" + (" (--on local)" if verb.reach.value.startswith("real") else ""),
            f"example   scenarios/examples/faults/{verb.word}.yaml" if verb.hurts else "",
        ]
    ).rstrip()
