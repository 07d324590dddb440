"""`mesh check`: what it prints where, its exit codes, and what it makes of scenarios."""

import json
import re
from pathlib import Path

import pytest
import yaml
from command_line import Mesh

from mesh.config.lint.engine import CODE_BY_NAME
from mesh.config.lint.finding import Code

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "scenarios" / "examples"
OF_SCENARIOS = [code for code in CODE_BY_NAME.values() if "type: Scenario" in code.example]

POLICIES = """# Two policies that do not go together.
type: MeshRetry
name: tries
spec:
  to:
    - targetRef: {kind: Mesh}
      default:
        http:
          numRetries: 2
          perTryTimeout: 9s
---
type: MeshTimeout
name: short
spec: {to: [{targetRef: {kind: Mesh}, default: {http: {requestTimeout: 8s}}}]}
"""
WARNED = "{type: MeshTLS, name: open, spec: {rules: [{default: {mode: Permissive}}]}}"
NOTED = "{type: MeshTimeout, name: t, labels: {kuma.io/effect: shadow}, spec: {rules: [{default: {idleTimeout: 3h}}]}}"


def write(folder: Path, text: str, name: str = "policies.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def codes(stdout: str) -> list[str]:
    return [finding["code"] for finding in json.loads(stdout)["findings"]]


def test_error_is_shown_with_its_place_its_reason_and_its_fix(
    mesh: Mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, POLICIES).name
    ended = mesh("check", path)
    assert ended.code == 1
    lines = ended.stdout.splitlines()
    assert lines[0] == f"{path}:10:11: error TM101 The per-try timeout is not below the request timeout"
    text = re.sub(r"\s+", " ", ended.stdout)
    assert "MeshRetry/tries spec.to[0].default.http.perTryTimeout" in text
    assert "a try may take 9s, the whole request 8s" in text
    assert f"with {path}:14:56 MeshTimeout/short spec.to[0].default.http.requestTimeout" in text
    assert "fix Make MeshRetry http.perTryTimeout a half" in text
    assert lines[-1].startswith("1 error, 0 warnings, ")
    assert lines[-1].endswith("in 2 documents")
    assert ended.stderr == ""


def test_json_tells_the_same(mesh: Mesh, tmp_path: Path) -> None:
    path = write(tmp_path, POLICIES)
    ended = mesh("check", path, "-o", "json")
    result = json.loads(ended.stdout)
    (finding,) = [finding for finding in result["findings"] if finding["code"] == "TM101"]
    assert (finding["file"], finding["line"], finding["column"]) == (str(path), 10, 11)
    assert finding["resource"] == {"type": "MeshRetry", "mesh": "default", "name": "tries"}
    assert finding["path"] == "spec.to[0].default.http.perTryTimeout"
    assert [other["line"] for other in finding["others"]] == [14]
    assert (result["totals"]["error"], result["totals"]["documents"]) == (1, 2)
    assert yaml.safe_load(mesh("check", path, "-o", "yaml").stdout) == result


@pytest.mark.parametrize(("text", "plain", "strict"), [(POLICIES, 1, 1), (WARNED, 0, 1), (NOTED, 0, 0)])
def test_exit_code_says_how_bad_it_is(mesh: Mesh, tmp_path: Path, text: str, plain: int, strict: int) -> None:
    path = write(tmp_path, text)
    assert mesh("check", path).code == plain
    assert mesh("check", path, "--strict").code == strict


def test_unreadable_files_are_bad_usage_and_all_said_at_once(mesh: Mesh, tmp_path: Path) -> None:
    wrong = write(tmp_path, "{type: MeshTimeout, name: t, spec: {to: [{targetRef: {kind: Mesh}, default: {x: 1}}]}}")
    ended = mesh("check", wrong, tmp_path / "none.yaml", write(tmp_path, "", "empty.yaml"))
    assert (ended.code, ended.stdout) == (2, "")
    assert len(ended.errors) == 3


def test_nothing_to_check_is_bad_usage(mesh: Mesh) -> None:
    assert mesh("check").code == 2


def test_codes_can_be_left_out(mesh: Mesh, tmp_path: Path) -> None:
    path = write(tmp_path, POLICIES)
    assert "TM101" not in codes(mesh("check", path, "--ignore", "tm207, TM101", "-o", "json").stdout)
    ended = mesh("check", path, "--ignore", "TM010")
    assert ended.code == 2
    assert "there is no code 'TM010'" in ended.errors[0]


def test_severity_is_the_least_that_is_reported(mesh: Mesh, tmp_path: Path) -> None:
    path = write(tmp_path, f"{WARNED}\n---\n{NOTED}")
    assert codes(mesh("check", path, "-o", "json").stdout) == ["TM515", "TM904"]
    assert codes(mesh("check", path, "-o", "json", "--severity", "warning").stdout) == ["TM515"]
    assert codes(mesh("check", path, "-o", "json", "--severity", "error").stdout) == []


def test_folder_means_its_files(mesh: Mesh, tmp_path: Path) -> None:
    first, second = POLICIES.split("---\n")
    write(tmp_path, first, "a.yaml")
    write(tmp_path, second, "b.yml")
    assert "TM101" in codes(mesh("check", tmp_path, "-o", "json").stdout)


def test_tables_fit_100_columns(mesh: Mesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    explained = [("--explain", code) for code in CODE_BY_NAME]
    for arguments in (("--list",), *explained, ("scenarios/examples/retailer.yaml",)):
        assert max(len(line) for line in mesh("check", *arguments).stdout.splitlines()) <= 100


def test_list_names_every_code(mesh: Mesh) -> None:
    ended = mesh("check", "--list")
    assert ended.code == 0
    assert [line.split()[0] for line in ended.stdout.splitlines()[1:]] == list(CODE_BY_NAME)
    assert [code["code"] for code in json.loads(mesh("check", "--list", "-o", "json").stdout)] == list(CODE_BY_NAME)


@pytest.mark.parametrize("code", CODE_BY_NAME.values(), ids=lambda code: code.code)
def test_explanation_has_reason_fix_and_examples(mesh: Mesh, code: Code) -> None:
    ended = mesh("check", "--explain", code.code.lower())
    assert ended.code == 0
    text = re.sub(r"\s+", " ", ended.stdout)
    assert text.startswith(f"{code.code} {code.severity.value}: {code.title}")
    assert "Fix: " in text
    assert "Found in:" in text
    assert "Mended" in text


def test_code_that_is_not_there_cannot_be_explained(mesh: Mesh) -> None:
    ended = mesh("check", "--explain", "TM1011")
    assert ended.code == 2
    assert "TM101" in ended.errors[0]


@pytest.mark.parametrize("code", OF_SCENARIOS, ids=lambda code: code.code)
def test_scenarios_tell_methods_order_and_capacity(mesh: Mesh, tmp_path: Path, code: Code) -> None:
    assert code.code in codes(mesh("check", write(tmp_path, code.example), "-o", "json").stdout)
    assert code.code not in codes(mesh("check", write(tmp_path, code.better), "-o", "json").stdout)


def test_finding_in_a_scenario_without_a_resource_of_its_own_is_placed_at_the_service(
    mesh: Mesh, tmp_path: Path
) -> None:
    text = """type: Scenario
format: 1
name: shop
duration: 10s
zones: [here]
services:
  shop: {instances: {here: 1}, endpoints: {GET /: {}}}
workload: {buyers: {rate: 1/s, journeys: {look: [GET shop/]}, timeout: 2s}}
---
type: MeshIdentity
name: everybody
spec: {selector: {dataplane: {matchLabels: {}}}, provider: {type: Bundled, bundled: {autogenerate: {enabled: true}}}}
"""
    path = write(tmp_path, text)
    (finding,) = json.loads(mesh("check", path, "-o", "json").stdout)["findings"]
    assert (finding["code"], finding["line"]) == ("TM505", 7)
    assert finding["affects"] == ["buyers -> shop:8080"]


def test_policies_that_the_timeline_applies_are_judged_too(mesh: Mesh, tmp_path: Path) -> None:
    write(tmp_path, POLICIES, "later.yaml")
    text = """type: Scenario
format: 1
name: shop
duration: 10s
zones: [here]
services: {shop: {instances: {here: 1}, endpoints: {GET /: {}}}}
workload: {buyers: {rate: 1/s, journeys: {look: [GET shop/]}, timeout: 2s}}
timeline: [{at: 5s, apply: later.yaml}]
"""
    result = json.loads(mesh("check", write(tmp_path, text, "shop.yaml"), "-o", "json").stdout)
    (finding,) = [finding for finding in result["findings"] if finding["code"] == "TM101"]
    assert (finding["file"], finding["line"]) == (str(tmp_path / "later.yaml"), 10)


def test_every_variant_of_a_scenario_must_be_readable(mesh: Mesh, tmp_path: Path) -> None:
    first = (EXAMPLES / "first.yaml").read_text().partition("---")[0]
    file = write(tmp_path, first + "variants: {plain: {}, other: {set: {services.stock.queu: 3}}}\n", "two.yaml")
    result = mesh("check", str(file))
    assert result.code == 2
    assert "variants.other.set[services.stock.queu]" in result.stderr


def test_first_example_is_clean(mesh: Mesh) -> None:
    assert codes(mesh("check", EXAMPLES / "first.yaml", "-o", "json").stdout) == []


def test_retailer_has_what_it_is_there_to_show_and_no_error(mesh: Mesh) -> None:
    """Its retries are bounded by maxRetries alone until the change under test, and its limits are wide."""
    ended = mesh("check", EXAMPLES / "retailer.yaml", "-o", "json")
    assert ended.code == 0
    assert set(codes(ended.stdout)) == {"TM103", "TM104", "TM301", "TM304", "TM502"}


def test_resources_of_the_readme_are_clean(mesh: Mesh, tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    files = re.findall(r"cat > (\w+\.yaml) <<'EOF'\n(.*?)EOF\n", text, re.DOTALL)
    assert files
    for name, content in files:
        write(tmp_path, content, name)
    ended = mesh("check", tmp_path, "-o", "json")
    assert (codes(ended.stdout), ended.code) == ([], 0)


def test_files_may_be_given_as_to_other_commands(mesh: Mesh, tmp_path: Path) -> None:
    file, other = write(tmp_path, POLICIES), write(tmp_path, NOTED, "noted.yaml")
    assert mesh("check", "-f", file, "-f", other).stdout == mesh("check", file, other).stdout
    assert mesh("check", file, "--output", "json").stdout == mesh("check", file, "-o", "json").stdout
