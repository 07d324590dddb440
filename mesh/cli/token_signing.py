"""Who signs a token: the control plane that commands talk to, or we ourselves with a key that is at hand."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from mesh.cli.api_client import RequestRefused
from mesh.cli.connecting import connect, context_option
from mesh.cli.durations import read_duration
from mesh.cli.inputs import Inputs
from mesh.cli.signing_key import read_key_file, read_signing_key
from mesh.identity.token_authority import TokenKind
from mesh.identity.tokens import LIFETIME_S_MAX, LIFETIME_S_MIN, SigningKey
from mesh.model.errors import ConfigError, Violation

F = TypeVar("F", bound=Callable[..., Any])


@attrs.frozen(kw_only=True)
class Signing:
    """Who signs: the control plane of a context, unless a key is named. `kid` names a key that is kept offline."""

    data_dir: Path | None
    key_path: Path | None
    kid: str | None
    context: str | None

    @property
    def is_offline(self) -> bool:
        return self.data_dir is not None or self.key_path is not None

    def key(self, kind: TokenKind, mesh: str = "") -> SigningKey:
        """Return the key to sign with here. Raises: ConfigError."""
        if self.key_path is not None:
            return read_key_file(self.key_path, self.kid or "")
        assert self.data_dir is not None, "only for signing here"
        return read_signing_key(self.data_dir, kind=kind, mesh=mesh)

    def check(self) -> None:
        """Raises: ConfigError when options contradict one another."""
        if self.key_path is not None and self.data_dir is not None:
            raise _refusal("--signing-key-path", "there is a key in --data", "give one of them")
        if self.key_path is not None and not self.kid:
            raise _refusal(
                "--kid", "is missing", "write the serial or the id under which the control plane knows the key"
            )
        if self.kid and self.key_path is None:
            raise _refusal("--kid", "needs --signing-key-path", "name the file of the key")

    def ask(self, path: str, body: Mapping[str, Any], option_by_field: Mapping[str, str]) -> str:
        """Return the token that the control plane makes. Raises: ConfigError, CommandFailed."""
        try:
            return connect(self.context).post_text(path, body).strip()
        except RequestRefused as refused:
            if not refused.invalid:
                raise
            raise ConfigError(
                Violation(path=option_by_field.get(one.field, one.field), message=one.reason) for one in refused.invalid
            ) from refused


def signing_options(command: F) -> F:
    """Add the options that choose who signs, and how long the token is good."""
    folder, file = click.Path(path_type=Path), click.Path(path_type=Path)
    for option in (
        context_option,
        click.option("--valid-for", required=True, help="How long it is good, as 24h; at most 87600h, ten years."),
        click.option("--kid", default=None, help="The serial or id of that key."),
        click.option(
            "--signing-key-path", "key_path", type=file, default=None, help="Sign here, with this private key."
        ),
        click.option(
            "--data", "data_dir", type=folder, default=None, help="Sign here, from a control plane's data folder."
        ),
    ):
        command = option(command)
    return command


def read_lifetime(text: str) -> float:
    """Return the seconds of --valid-for. Raises: ConfigError."""
    return read_duration(text, option="--valid-for", min_s=LIFETIME_S_MIN, max_s=LIFETIME_S_MAX)


def read_key(inputs: Inputs, signing: Signing, kind: TokenKind, mesh: str = "") -> SigningKey | None:
    """Return the key to sign with here; None when the control plane signs, or when something is wrong."""
    if not inputs.read(signing.check).is_right or not signing.is_offline:
        return None
    key = inputs.read(signing.key, kind, mesh)
    return key.value if key.is_right else None


def _refusal(option: str, message: str, hint: str) -> ConfigError:
    return ConfigError([Violation(path=option, message=message, hint=hint)])
