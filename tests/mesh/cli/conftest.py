"""Commands run in this process."""

import pytest
from command_line import Ended, Mesh

from mesh.cli.main import run


@pytest.fixture
def mesh(capsys: pytest.CaptureFixture[str]) -> Mesh:
    """Return a function that runs `mesh` with arguments."""

    def call(*arguments: object) -> Ended:
        code = run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Ended(code, printed.out, printed.err)

    return call
