"""`mesh up`: whose folder it empties, what it says when its control plane cannot start, what it proposes."""

import socket
import time
from pathlib import Path

import pytest
from command_line import Mesh

from mesh.cli.requests_to_try import requests_to_try
from mesh.cli.scratch_folder import MARKER, scratch_folder
from mesh.model.errors import ConfigError
from sim.scenario.loader import load_scenario
from sim.workload.deployment import edges_of, instances_of

EXAMPLES = Path(__file__).parents[3] / "scenarios" / "examples"


def refusal(path: Path) -> str:
    with pytest.raises(ConfigError) as refused, scratch_folder(path):
        pass
    return str(refused.value)


def test_folder_is_made_and_its_own_leavings_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder"
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    with scratch_folder(path) as folder:
        assert folder == path
        (folder / "sub").mkdir()
        (folder / "sub" / "file").touch()
        (folder / "link").symlink_to(outside)
    assert (folder / "sub" / "file").exists()
    with scratch_folder(path) as folder:
        assert [entry.name for entry in folder.iterdir()] == [MARKER]
    assert (outside / "kept").exists()


def test_empty_folder_is_taken(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder:
        assert (folder / MARKER).is_file()


def test_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("ten years")
    assert refusal(tmp_path) == (
        f"--data: {tmp_path} holds files that `mesh up` did not write"
        " (name a new or empty folder, or empty this one yourself)"
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    assert refusal(file) == f"--data: {file} is a file, not a folder (name a folder or a new one)"
    assert file.read_text() == "kept"


def test_folder_in_use_is_refused(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder:
        (folder / "state").touch()
        assert refusal(tmp_path) == (f"--data: another `mesh up` is using {tmp_path} (end it, or name another folder)")
        assert (folder / "state").exists()


def test_options_are_checked_before_anything_is_touched(mesh: Mesh, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    ended = mesh("up", tmp_path / "none.yaml", "--address", "10.0.0.1:5678", "--data", file)
    assert ended.code == 2
    assert ended.errors == [
        "--address: 10.0.0.1:5678 is not on loopback (write 127.0.0.1:5678: the mesh stays on this machine)",
        f"no scenario at {tmp_path / 'none.yaml'} (name one: mesh up FILE)",
        f"--data: {file} is a file, not a folder (name a folder or a new one)",
    ]


def test_control_plane_that_cannot_start_is_told_at_once(mesh: Mesh, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        began = time.monotonic()
        ended = mesh("up", EXAMPLES / "first.yaml", "--data", tmp_path, "--address", f"127.0.0.1:{port}")
    assert ended.code == 2
    assert time.monotonic() - began < 30
    log = tmp_path / "logs" / "control-plane.log"
    assert len(ended.errors) == 1
    assert ended.errors[0].startswith(
        f"{log}: the control plane ended at its start: cannot listen on 127.0.0.1:{port}: port {port} is in use by "
    )
    assert "Traceback" not in ended.stderr
    assert [name.name for name in tmp_path.iterdir() if (name / "token").exists()] == []


def test_requests_start_at_the_edges_then_one_instance_a_service() -> None:
    scenario = load_scenario(EXAMPLES / "retailer.yaml")
    members = [*instances_of(scenario), *edges_of(scenario)]
    requests = requests_to_try(scenario, [(member, f"127.10.0.{n}") for n, member in enumerate(members, 1)])
    ways = [way for _, way in requests]
    assert ways[:3] == ["shoppers-eu-1 -> web", "shoppers-eu-2 -> web", "web-1 -> accounts"]
    assert len(ways) == len(set(ways)) <= 12
    callers = {way.partition(" -> ")[0] for way in ways[2:]}
    assert all(caller.endswith("-1") for caller in callers)
    assert requests[0][0].startswith("http://127.10.0.21:10001/")
