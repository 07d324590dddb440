"""`mesh inspect rules` on files alone."""

import json
from pathlib import Path
from typing import Any

import click.testing
import pytest
import yaml

from mesh.cli.inspect_rules import command
from mesh.model.errors import ConfigError

DATAPLANE = """
type: Dataplane
name: web-1
labels: {app: web}
networking: {address: 10.0.0.1, inbound: [{port: 80, servicePort: 8080, name: http, protocol: http}]}
"""
POLICIES = """
type: MeshTimeout
name: to-all
spec: {to: [{targetRef: {kind: Mesh}, default: {connectionTimeout: 111s}}]}
---
type: MeshTimeout
name: tried-out
labels: {kuma.io/effect: shadow}
spec: {to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 20m}}]}
---
type: MeshTimeout
name: at-web
spec:
  targetRef: {kind: Dataplane, labels: {app: web}}
  rules: [{default: {http: {requestTimeout: 1500ms}}}]
"""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "dataplane.yaml").write_text(DATAPLANE)
    (tmp_path / "policies.yaml").write_text(POLICIES)
    return tmp_path


def run(*arguments: str, stdin: str | None = None) -> click.testing.Result:
    return click.testing.CliRunner().invoke(command, arguments, input=stdin, standalone_mode=False)


def document(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "-o", "json")
    assert result.return_value == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_it_prints_what_the_policies_come_to(files: Path) -> None:
    origin = {"kind": "MeshTimeout", "mesh": "default", "name": "to-all", "index": 0}
    at_web = {"kind": "MeshTimeout", "mesh": "default", "name": "at-web", "index": 0}
    rule = {"matches": [], "conf": {"http": {"requestTimeout": "1.5s"}}, "origins": [at_web]}
    found = document("-f", str(files), "--dataplane", "web-1")
    assert found["dataplane"] == {"mesh": "default", "name": "web-1"}
    assert found["to"] == [
        {
            "policy": "MeshTimeout",
            "kind": "Mesh",
            "name": "default",
            "section": "",
            "conf": {"connectionTimeout": "1m51s"},
            "origins": [origin],
        }
    ]
    assert found["inbound"] == [
        {
            "inbound": {"name": "http", "port": 80},
            "policies": [{"policy": "MeshTimeout", "rules": [rule], "entries": [rule]}],
        }
    ]
    assert found["proxy"] == []


def test_yaml_and_json_say_the_same(files: Path) -> None:
    arguments = ("-f", str(files / "policies.yaml"), "-f", str(files / "dataplane.yaml"), "--dataplane", "web-1")
    assert yaml.safe_load(run(*arguments).stdout) == document(*arguments)


def test_shadow_policies_are_told_of_and_shown_on_demand(files: Path) -> None:
    plain = run("-f", str(files), "--dataplane", "web-1")
    assert "'tried-out' labels: a shadow policy does not count" in plain.stderr
    shadow = document("-f", str(files), "--dataplane", "web-1", "--shadow")
    assert shadow["to"][0]["conf"] == {"connectionTimeout": "1m51s", "idleTimeout": "20m0s"}


def test_it_reads_standard_input(files: Path) -> None:
    result = run("-f", "-", "--dataplane", "web-1", "-o", "json", stdin=f"{DATAPLANE}---{POLICIES}")
    assert json.loads(result.stdout) == document("-f", str(files), "--dataplane", "web-1") | {
        "warnings": json.loads(result.stdout)["warnings"]
    }


def test_everything_that_is_wrong_in_the_files_is_said_at_once(files: Path) -> None:
    (files / "dataplane.yaml").write_text(DATAPLANE.replace("address", "adress"))
    (files / "policies.yaml").write_text(POLICIES.replace("kind: Mesh}", "kind: Mess}").replace("111s", "111"))
    result = run("-f", str(files), "--dataplane", "web-1")
    assert isinstance(result.exception, ConfigError)
    assert {Path(violation.file).name for violation in result.exception.violations} == {
        "dataplane.yaml",
        "policies.yaml",
    }
    assert len(result.exception.violations) >= 4


def test_a_proxy_that_is_not_there_is_an_error_with_a_suggestion(files: Path) -> None:
    result = run("-f", str(files), "--dataplane", "web-2")
    assert isinstance(result.exception, ConfigError)
    assert "did you mean 'web-1'" in str(result.exception)


def test_policies_may_share_a_name_with_a_warning(files: Path) -> None:
    (files / "again.yaml").write_text(POLICIES.replace("111s", "112s"))
    result = run("-f", str(files), "--dataplane", "web-1", "-o", "json")
    assert "MeshTimeout 'to-all' is there twice: both count here" in result.stderr
    to_all, again = json.loads(result.stdout)["to"][0]["origins"]
    assert to_all == again == {"kind": "MeshTimeout", "mesh": "default", "name": "to-all", "index": 0}


def test_other_meshes_are_other_worlds(files: Path) -> None:
    (files / "dataplane.yaml").write_text(f"{DATAPLANE}---{DATAPLANE}mesh: shop\n")
    found = document("-f", str(files), "--dataplane", "web-1", "--mesh", "shop")
    assert found["dataplane"] == {"mesh": "shop", "name": "web-1"}
    assert found["to"] == []
