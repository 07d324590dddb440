"""Which control plane a command talks to: contexts kept in a file, overridden by the environment and by options.

The file may hold a token, so it is written for its owner alone (0600), whole or not at all. A token goes only to the
address it was added with: an address from the environment gets the token from the environment.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import attrs

from mesh.cli.files import read_text
from mesh.model.errors import ConfigError, Violation
from mesh.resources.documents import parse_documents, suggest
from mesh.resources.scalars import Text
from mesh.resources.schema import Field, ListOf, Record, check

DEFAULT_ADDRESS = "http://127.0.0.1:5681"
# What overrides the file: its path, a context's name or a URL, the token, the certificate that vouches for a URL.
CONFIG_VARIABLE = "MESH_CONFIG"
CONTROL_PLANE_VARIABLE = "MESH_CONTROL_PLANE"
TOKEN_VARIABLE = "MESH_TOKEN"
CA_VARIABLE = "MESH_CA_CERT_FILE"
ADD_HINT = "mesh config control-planes add --name NAME --address URL"


@attrs.frozen(kw_only=True)
class Context:
    """One control plane and how to prove oneself to it. A token file is read at each use, so a renewed token works."""

    name: str = ""  # empty: not from the file
    address: str  # scheme://host:port, and perhaps a path
    ca_cert_file: str = ""
    token: str = attrs.field(default="", repr=False)
    token_file: str = ""

    def bearer_token(self) -> str:
        """Return the token to show, empty for none. Raises: ConfigError when its file cannot be read."""
        if not self.token_file:
            return self.token
        return read_text(Path(self.token_file), what="the token", hint="name another with --token-file").strip()


@attrs.frozen(kw_only=True)
class Contexts:
    """The contexts of a file, in the order they were added, and the one in use."""

    current: str = ""
    all: tuple[Context, ...] = ()

    def get(self, name: str) -> Context:
        """Return a context. Raises: ConfigError when there is none of that name."""
        for context in self.all:
            if context.name == name:
                return context
        names = [context.name for context in self.all]
        known = f"there are: {', '.join(names)}" if names else f"add one: {ADD_HINT}"
        hint = f"{suggest(name, names)} {known}".strip()
        raise ConfigError([Violation(message=f"no control plane is named {name!r}", hint=hint)])

    def add(self, context: Context, *, overwrite: bool) -> "Contexts":
        """Return the contexts with one more, in use from now. Raises: ConfigError when the name is taken."""
        others = tuple(other for other in self.all if other.name != context.name)
        if len(others) < len(self.all) and not overwrite:
            message = f"a control plane named {context.name!r} is there already"
            raise ConfigError([Violation(path="--name", message=message, hint="add --overwrite to replace it")])
        return Contexts(current=context.name, all=(*others, context))

    def use(self, name: str) -> "Contexts":
        """Return the contexts with another one in use. Raises: ConfigError when there is none of that name."""
        return attrs.evolve(self, current=self.get(name).name)

    def remove(self, name: str) -> "Contexts":
        """Return the contexts without one. Raises: ConfigError when there is none of that name."""
        gone = self.get(name)
        rest = tuple(context for context in self.all if context is not gone)
        return Contexts(current="" if self.current == name else self.current, all=rest)


def config_path(environ: Mapping[str, str]) -> Path:
    """Return where contexts are kept."""
    if path := environ.get(CONFIG_VARIABLE):
        return Path(path)
    if folder := environ.get("XDG_CONFIG_HOME"):
        return Path(folder) / "mesh" / "config.yaml"
    return Path(environ.get("HOME") or Path.home()) / ".mesh" / "config"


def choose_context(name: str | None, environ: Mapping[str, str]) -> Context:
    """Return the control plane to talk to: by option, by environment, the one in use, or the one on this machine.

    Raises: ConfigError.
    """
    word = name or environ.get(CONTROL_PLANE_VARIABLE, "")
    if "://" in word:
        address = check_address(word, option="--context" if name else CONTROL_PLANE_VARIABLE)
        return _with_token(Context(address=address, ca_cert_file=environ.get(CA_VARIABLE, "")), environ)
    contexts = load_contexts(config_path(environ))
    word = word or contexts.current
    return _with_token(contexts.get(word) if word else Context(address=DEFAULT_ADDRESS), environ)


def load_contexts(path: Path) -> Contexts:
    """Read the file; none at all is an empty one. Raises: ConfigError with every violation."""
    if not path.exists():
        return Contexts()
    documents, violations = parse_documents(read_text(path, what="the contexts"), file=str(path))
    contexts = Contexts()
    for document in documents[:1]:
        contexts, found = check(document, (), _FILE)
        violations += found
    if violations:
        raise ConfigError(violations)
    return contexts


def save_contexts(path: Path, contexts: Contexts) -> None:
    """Write the file so that nobody else can read it, and so that it is never half written. Raises: ConfigError."""
    from mesh.cli.tables import to_yaml

    document = {
        "current": contexts.current,
        "controlPlanes": [
            {key: value for key, value in _written(context).items() if value} for context in contexts.all
        ],
    }
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh.unlink(missing_ok=True)
        # Created closed: a file opened up and then restricted could be read in between.
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(to_yaml(document))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        hint = f"name another file with {CONFIG_VARIABLE}"
        message = f"cannot keep the contexts: {error.strerror}"
        raise ConfigError([Violation(file=str(path), message=message, hint=hint)]) from error


def check_address(text: str, *, option: str) -> str:
    """Return the URL of a control plane's API without a slash at its end. Raises: ConfigError naming the option."""
    hint = "write http://HOST:5681 or https://HOST:5682"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), 0
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or port == 0
        or not text.isascii()
        or any(map(str.isspace, text))
    ):
        raise ConfigError([Violation(path=option, message=f"{text!r} is not the URL of a control plane", hint=hint)])
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigError([Violation(path=option, message="takes no user name, query or fragment", hint=hint)])
    return text.rstrip("/")


def _with_token(context: Context, environ: Mapping[str, str]) -> Context:
    token = environ.get(TOKEN_VARIABLE, "").strip()
    return attrs.evolve(context, token=token, token_file="") if token else context


def _written(context: Context) -> dict[str, str]:
    return {
        "name": context.name,
        "address": context.address,
        "caCertFile": context.ca_cert_file,
        "token": context.token,
        "tokenFile": context.token_file,
    }


_TEXT = Text(what="text", empty=True, size_max=65536)
_CONTEXT = Record(
    {
        "name": Field(Text(what="a name"), required=True),
        "address": Field(Text(what="the URL of a control plane"), required=True),
        "caCertFile": Field(_TEXT, default=""),
        "token": Field(_TEXT, default=""),
        "tokenFile": Field(_TEXT, default=""),
    },
    build=lambda fields: Context(
        name=fields["name"],
        address=fields["address"],
        ca_cert_file=fields["caCertFile"],
        token=fields["token"],
        token_file=fields["tokenFile"],
    ),
    what="a control plane with name and address",
)
_FILE = Record(
    {"current": Field(_TEXT, default=""), "controlPlanes": Field(ListOf(_CONTEXT), default=())},
    build=lambda fields: Contexts(current=fields["current"], all=fields["controlPlanes"]),
    what="a mapping with current and controlPlanes",
)
