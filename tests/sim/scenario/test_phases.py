"""`phases` of a scenario file."""

import pytest

FAULT = "timeline: [{at: 10s, for: 5s, partition: [a, b]}]\n"


def test_phases_are_read(loader):
    phases = loader.read(FAULT + "phases: {heal: 20s, core: random, within: 15s}").phases
    assert (phases.heal_s, phases.core, phases.within_s, phases.due_s) == (20.0, ("random",), 15.0, 35.0)


def test_everything_is_the_core_by_default(loader):
    phases = loader.read(FAULT + "phases: {heal: 20s}").phases
    assert (phases.core, phases.within_s) == (("all",), 30.0)


def test_core_may_be_named(loader):
    assert loader.read(FAULT + "phases: {heal: 20s, core: [web-1, stock, db]}").phases.core == ("web-1", "stock", "db")


def test_without_the_section_nothing_is_healed_before_the_end(loader):
    assert loader.read(FAULT).phases is None


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("{core: all}", "'heal' is missing"),
        ("{heal: 40s}", "the core may take until 70s, the run ends at 60s"),
        ("{heal: 5s}", "'partition a|b' begins at 10s, when the core is to be left alone"),
        ("{heal: 20s, core: some}", "unknown value 'some'"),
        ("{heal: 20s, core: [wep, stock, db]}", "unknown zone, service or instance 'wep' (did you mean 'web'?)"),
        ("{heal: 20s, core: [web, db]}", "the core holds no instance of 'stock'"),
        ("{heal: 20s, wihtin: 3s}", "unknown key 'wihtin' (did you mean 'within'?)"),
    ],
)
def test_wrong_phases_are_refused(loader, written, complaint):
    complaints = loader.complaints(FAULT + f"phases: {written}")
    assert any(complaint in text for text in complaints), complaints


def test_core_may_not_be_healed_during_the_warm_up(loader):
    complaints = loader.complaints("warmup: 30s\nphases: {heal: 20s}")
    assert any("must come after the warm-up (30s)" in text for text in complaints), complaints
