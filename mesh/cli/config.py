"""`mesh config control-planes`: the control planes that commands can talk to, and the one in use."""

import os
from collections.abc import Mapping
from contextlib import closing
from http import HTTPStatus
from pathlib import Path
from typing import Any

import attrs
import click

from mesh.cli.api_client import ApiClient, RequestRefused
from mesh.cli.connecting import context_names, form_option
from mesh.cli.contexts import (
    ADD_HINT,
    Context,
    check_address,
    choose_context,
    config_path,
    load_contexts,
    save_contexts,
)
from mesh.cli.failures import CommandFailed
from mesh.cli.inputs import Inputs
from mesh.cli.names import read_name
from mesh.cli.output import say, warn
from mesh.cli.tables import Cell, Column, Columns, print_result, table
from mesh.model.errors import ConfigError, Violation
from mesh.resources.resource import NAME

CHECK_TIMEOUT_S = 10.0
PRODUCTS = ("trio-mesh", "Kuma")
LOOPBACK = ("http://127.", "http://localhost", "http://[::1]")


@click.group("config")
def command() -> None:
    """Choose the control plane that commands talk to.

    \b
    Examples:
      mesh config control-planes add --name prod --address https://cp.example:5682 \\
          --ca-cert-file ca.pem --token-file admin.token
      mesh config control-planes use prod

    Without any, commands talk to http://127.0.0.1:5681. MESH_CONTROL_PLANE (a name or a URL), MESH_CA_CERT_FILE,
    MESH_TOKEN and MESH_CONFIG (the file) override what is kept.
    """


@command.group("control-planes")
def control_planes() -> None:
    """Add, list, choose and remove control planes.

    \b
    Example:
      mesh config control-planes list
    """


@control_planes.command("add")
@click.option("--name", required=True, help="How commands call it.")
@click.option("--address", required=True, metavar="URL", help="Where its API is, as https://cp.example:5682.")
@click.option("--ca-cert-file", type=click.Path(path_type=Path), default=None, help="Its ca.pem, to recognise it.")
@click.option(
    "--token-file", type=click.Path(path_type=Path), default=None, help="Where your user token is; it stays there."
)
@click.option("--auth-type", type=click.Choice(["tokens"]), default=None, help="As in kumactl; with --auth-conf.")
@click.option("--auth-conf", multiple=True, metavar="token=TOKEN", help="As in kumactl: keeps the token itself.")
@click.option("--overwrite", is_flag=True, help="Replace the one of this name.")
@click.option("--skip-check", is_flag=True, help="Do not ask it whether it is there and knows you.")
def add(
    name: str,
    address: str,
    ca_cert_file: Path | None,
    token_file: Path | None,
    auth_type: str | None,
    auth_conf: tuple[str, ...],
    overwrite: bool,
    skip_check: bool,
) -> int:
    """Add a control plane and use it from now.

    \b
    Example:
      mesh config control-planes add --name prod --address https://cp.example:5682 \\
          --ca-cert-file ca.pem --token-file admin.token
    """
    inputs = Inputs()
    inputs.read(read_name, name, NAME, option="--name")
    url = inputs.read(check_address, address, option="--address")
    token = inputs.read(_token_of, auth_type, auth_conf)
    for option, file in (("--ca-cert-file", ca_cert_file), ("--token-file", token_file)):
        if file is not None and not file.is_file():
            inputs.refuse([Violation(path=option, message=f"there is no file {file}")])
    if token_file is not None and auth_conf:
        inputs.refuse([Violation(path="--token-file", message="there is a token in --auth-conf", hint="give one")])
    inputs.check()
    context = Context(
        name=name,
        address=url.value,
        ca_cert_file=str(ca_cert_file.resolve()) if ca_cert_file else "",
        token=token.value,
        token_file=str(token_file.resolve()) if token_file else "",
    )
    path = config_path(os.environ)
    contexts = load_contexts(path).add(context, overwrite=overwrite)
    if (context.token or context.token_file) and not context.address.startswith(("https:", *LOOPBACK)):
        warn("the token will travel unencrypted; use https://HOST:5682")
    if not skip_check:
        say(_check(context))
    save_contexts(path, contexts)
    say(f"added control plane {name}; commands use it from now")
    return 0


def _token_of(auth_type: str | None, auth_conf: tuple[str, ...]) -> str:
    """Return the token of kumactl's two options. Raises: ConfigError, which does not quote it."""
    if not auth_conf:
        if auth_type:
            raise ConfigError([Violation(path="--auth-type", message="needs --auth-conf token=TOKEN")])
        return ""
    key, _, token = auth_conf[0].partition("=")
    if len(auth_conf) > 1 or key != "token" or not token.strip():
        raise ConfigError([Violation(path="--auth-conf", message="takes one token", hint="write token=TOKEN")])
    return token.strip()


def _check(context: Context) -> str:
    """Ask a control plane who it is and who we are; return that in words. Raises: CommandFailed, ConfigError."""
    with closing(ApiClient(context, timeout_s=CHECK_TIMEOUT_S)) as client:
        index = client.get("/")
        me = _ask_who_i_am(client, context)
    product = index.get("product") if isinstance(index, dict) else None
    if product not in PRODUCTS:
        raise CommandFailed(f"what answers at {context.address} is no control plane", hint="--skip-check adds it")
    groups = ", ".join(group for group in me.get("groups") or [] if group != "mesh-system:authenticated")
    who = f"; you are {me['name']}{f' ({groups})' if groups else ''}" if me.get("name") else ""
    return f"{product} {index.get('version')} at {context.address}{who}"


def _ask_who_i_am(client: ApiClient, context: Context) -> Mapping[str, Any]:
    """Return what the control plane knows of us. Raises: RequestRefused when it does not take our token."""
    try:
        return client.find("/who-am-i") or {}
    except RequestRefused as error:
        if context.bearer_token() or error.status not in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise
        warn("without a token it lets nobody in; add it again with --overwrite --token-file FILE")
        return {}


@control_planes.command("use")
@click.argument("name", shell_complete=context_names)
def use(name: str) -> int:
    """Use another control plane from now.

    \b
    Example:
      mesh config control-planes use prod
    """
    path = config_path(os.environ)
    save_contexts(path, load_contexts(path).use(name))
    say(f"commands use control plane {name} from now")
    return 0


@control_planes.command("switch")
@click.option("--name", required=True, shell_complete=context_names, help="Which one.")
@click.pass_context
def switch(ctx: click.Context, name: str) -> int:
    """Like `use`, in kumactl's words.

    \b
    Example:
      mesh config control-planes switch --name prod
    """
    code: int = ctx.invoke(use, name=name)
    return code


@control_planes.command("remove")
@click.argument("name", shell_complete=context_names)
def remove(name: str) -> int:
    """Forget a control plane.

    \b
    Example:
      mesh config control-planes remove staging
    """
    path = config_path(os.environ)
    contexts = load_contexts(path).remove(name)
    save_contexts(path, contexts)
    say(f"removed control plane {name}" + ("" if contexts.current else f"; choose one: {ADD_HINT}, or use NAME"))
    return 0


@control_planes.command("list")
@form_option
def list_all(form: str) -> int:
    """List the control planes. Tokens are not shown.

    \b
    Example:
      mesh config control-planes list -o json
    """
    contexts = load_contexts(config_path(os.environ))
    items = [{"active": context.name == contexts.current, **_shown(context)} for context in contexts.all]
    columns: Columns = ["ACTIVE", "NAME", "ADDRESS", Column("AUTHENTICATION", cut=True)]
    print_result(form, items, lambda: table(columns, [_row(item) for item in items]))
    return 0


@control_planes.command("current")
@form_option
def current(form: str) -> int:
    """Show the control plane that commands talk to, environment included.

    \b
    Example:
      MESH_CONTROL_PLANE=prod mesh config control-planes current
    """
    context = choose_context(None, os.environ)
    print_result(form, _shown(context), lambda: context.name or context.address)
    return 0


def _shown(context: Context) -> dict[str, Any]:
    authentication = "token" if context.token else f"token in {context.token_file}" if context.token_file else "none"
    shown = attrs.asdict(context, filter=lambda attribute, value: attribute.name in ("name", "address"))
    return {**shown, "caCertFile": context.ca_cert_file, "authentication": authentication}


def _row(item: Mapping[str, Any]) -> list[str | Cell]:
    return [Cell("*", "green") if item["active"] else "", item["name"], item["address"], item["authentication"]]
