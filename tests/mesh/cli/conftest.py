"""Commands run in this process, and a control plane for them to talk to."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Ended, Mesh
from fake_control_plane import FakeControlPlane, serving

from mesh.cli.main import run


@pytest.fixture
def mesh(capsys: pytest.CaptureFixture[str]) -> Mesh:
    """Return a function that runs `mesh` with arguments."""

    def call(*arguments: object) -> Ended:
        code = run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return Ended(code, printed.out, printed.err)

    return call


@pytest.fixture(autouse=True)
def _own_contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the contexts of whoever runs the tests out of them."""
    monkeypatch.setenv("MESH_CONFIG", str(tmp_path / "mesh-config.yaml"))
    for variable in ("MESH_CONTROL_PLANE", "MESH_TOKEN", "MESH_CA_CERT_FILE", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeControlPlane]:
    """A control plane, and commands that talk to it."""
    with serving(FakeControlPlane()) as plane:
        plane.answer("GET", "/", {"product": "trio-mesh", "version": "0.1-preview"})
        monkeypatch.setenv("MESH_CONTROL_PLANE", plane.address)
        yield plane
