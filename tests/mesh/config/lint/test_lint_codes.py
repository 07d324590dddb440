"""Every code finds its own example, and not the mended one. Examples with a scenario are read in tests/mesh/cli."""

import re

import pytest

from mesh.config.lint.engine import CODE_BY_NAME, FAMILIES, lint
from mesh.config.lint.finding import Code, Finding, Severity
from mesh.resources.loading import load_resources

PLAIN = [code for code in CODE_BY_NAME.values() if "type: Scenario" not in code.example]


def findings(text: str) -> tuple[Finding, ...]:
    return lint(load_resources({"policies.yaml": text}))


@pytest.mark.parametrize("code", PLAIN, ids=lambda code: code.code)
def test_example_has_the_mistake(code: Code) -> None:
    found = [finding for finding in findings(code.example) if finding.code is code]
    assert found
    for finding in found:
        assert finding.message
        assert finding.place.resource.source.file == "policies.yaml"


@pytest.mark.parametrize("code", PLAIN, ids=lambda code: code.code)
def test_better_file_is_clean(code: Code) -> None:
    found = findings(code.better)
    assert [finding for finding in found if finding.code is code] == []
    # What is shown as the way to do it has no other mistake either.
    worse = [finding for finding in found if finding.code.severity is not Severity.INFO]
    assert [(finding.code.code, finding.message) for finding in worse] == []


@pytest.mark.parametrize("code", CODE_BY_NAME.values(), ids=lambda code: code.code)
def test_code_is_documented(code: Code) -> None:
    assert re.fullmatch(r"TM[1-9]\d\d", code.code)
    for text in (code.title, code.why, code.fix, code.example, code.better):
        assert text == text.strip()
        assert text
    assert len(code.title) <= 80
    assert code.why.endswith(".")
    assert code.fix.endswith((".", ".)", ": 20}.", "}."))


def test_codes_are_distinct() -> None:
    codes = [code.code for family in FAMILIES for code in family.CODES]
    assert len(codes) == len(set(codes))
