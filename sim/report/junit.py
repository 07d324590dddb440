"""The checks as a JUnit test suite, which every build server reads."""

from xml.etree import ElementTree

from sim.report.result import RunResult


def junit_of(result: RunResult) -> bytes:
    """Write one test case a check; what is broken says when, near what, and which trace shows it."""
    failures = sum(not check.ok for check in result.checks)
    attributes = {"name": result.scenario, "tests": str(len(result.checks)), "failures": str(failures)}
    suite = ElementTree.Element("testsuite", attributes | {"time": f"{result.wall_s:.3f}"})
    for check in result.checks:
        case = ElementTree.SubElement(suite, "testcase", {"classname": result.scenario, "name": check.name})
        if not check.ok:
            failure = ElementTree.SubElement(case, "failure", {"message": f"{check.value}: {check.detail}"})
            facts = (("near", check.near), ("requests", ", ".join(check.requests)), ("trace", check.trace))
            failure.text = "\n".join(f"{name}: {value}" for name, value in facts if value)
    text: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return text
