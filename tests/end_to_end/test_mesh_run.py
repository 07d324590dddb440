"""`mesh run` as a user runs it: output, exit codes, and the same event hash in any process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIRST = ROOT / "scenarios" / "examples" / "first.yaml"


def mesh_run(*arguments: str, hash_seed: str = "0") -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mesh", "run", *arguments]
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def event_hash(*arguments: str, hash_seed: str = "0") -> str:
    ended = mesh_run(*arguments, "-o", "json", hash_seed=hash_seed)
    assert ended.returncode in (0, 1), ended.stderr
    result: str = json.loads(ended.stdout)["event_hash"]
    return result


def test_json_is_one_object_with_the_documented_keys() -> None:
    ended = mesh_run(str(FIRST), "--until", "15s", "-o", "json")
    result = json.loads(ended.stdout)
    assert {"scenario", "seed", "event_hash", "virtual_s", "wall_s", "hops", "checks", "totals"} <= result.keys()
    assert {"name", "ok", "value", "detail"} <= result["checks"][0].keys()


def test_failed_check_is_exit_code_1() -> None:
    ended = mesh_run(str(FIRST), "--until", "15s", "--set", "checks[0].expect=p50(look) < 1us")
    assert ended.returncode == 1
    assert "FAIL" in ended.stdout


def test_bad_files_are_exit_code_2_with_all_errors_and_no_traceback(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        FIRST.read_text().replace("50/s", "50").replace("call: stock", "call: stok").replace("timeline", "timelin")
    )
    ended = mesh_run(str(bad))
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    for part in ("bad.yaml:9:", "did you mean 'stock'", "'timeline'", "60/s"):
        assert part in ended.stderr


def test_absent_file_is_exit_code_2() -> None:
    ended = mesh_run("no-such-file.yaml")
    assert ended.returncode == 2
    assert "no-such-file.yaml" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_same_seed_same_hash_in_any_process_on_a_loaded_machine() -> None:
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        loaded = event_hash(str(FIRST), hash_seed="1")
    finally:
        burner.kill()
        burner.wait()
    assert event_hash(str(FIRST), hash_seed="2") == loaded
    assert event_hash(str(FIRST), "--seed", "1") != loaded


@pytest.mark.slow
def test_retailer_keeps_its_promises() -> None:
    ended = mesh_run("scenarios/examples/retailer.yaml", "-o", "json")
    result = json.loads(ended.stdout)
    assert ended.returncode == 0, [check for check in result["checks"] if not check["ok"]]


@pytest.mark.slow
def test_real_tls_runs_over_the_simulated_network_and_is_deterministic() -> None:
    arguments = (str(FIRST), "--until", "12s", "--set", "tls=real")
    assert event_hash(*arguments, hash_seed="1") == event_hash(*arguments, hash_seed="2")
