"""The key with which tokens are signed, read from a control plane's data folder."""

from pathlib import Path

from mesh.cli.files import check_data_folder, read_text
from mesh.control.bootstrap import FOLDER, TOKEN_KEY_FILE
from mesh.identity.tokens import SigningKey
from mesh.model.errors import ConfigError, IdentityError, Violation


def read_signing_key(data_dir: Path) -> SigningKey:
    """Return the control plane's signing key. Raises: ConfigError naming the file, never quoting it."""
    path = check_data_folder(data_dir) / FOLDER / TOKEN_KEY_FILE
    pem = read_text(path, what="the signing key", hint="it is there once `mesh control-plane --data` has run")
    try:
        return SigningKey.decode(1, pem)
    except IdentityError as error:
        hint = "bring it back from a copy: tokens signed with another key are refused"
        raise ConfigError([Violation(file=str(path), message=str(error), hint=hint)]) from None
