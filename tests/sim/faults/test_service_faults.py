"""Faults of applications and of load: what is refused, what the fuzzer draws, what is left alone when a core heals."""

import attrs
import pytest
from small_scenario import TEXT, small_mesh

from mesh.model.errors import ConfigError
from mesh.resources.documents import parse_documents
from sim.faults.catalogue import LOAD, SERVICES
from sim.runner import run_scenario
from sim.scenario.draw import STRENGTH_MAX, Draw
from sim.scenario.loader import parse_scenario
from sim.scenario.names import Names

LOADED = TEXT.replace(
    "timeline: [TIMELINE]",
    """\
  db: {kind: postgresql, instances: {west: 1}, work: 1ms}
workload:
  users: {rate: 20/s, headers: {x-user: [ann, bob]}, journeys: {j: [GET stock/]}}
  clients: {model: closed, users: 10, think: {mean: 500ms}, journeys: {k: [GET stock/]}}
timeline: [TIMELINE]
""",
)


def read(entry, tmp_path, text=LOADED):
    return parse_scenario(text.replace("TIMELINE", entry), file="small.yaml", folder=tmp_path)


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("slow: stock, factor: 0", "timeline[0].factor: must be above 0"),
        ("slow: stok, factor: 2", "unknown service or instance 'stok' (did you mean 'stock'?)"),
        ("slow: stock", "'factor' is missing"),
        ("fail: db, errors: {503: 1%}", "fail is for http services; 'db' is a postgresql service"),
        ("fail: stock, errors: {99: 1%}", "unknown error '99'"),
        ("grey: stock, factor: 1, share: 10%", "timeline[0].factor: must be above 1"),
        ("grey: stock, factor: 9", "needs callers or share (slow makes it slow for everybody)"),
        ("grey: stock, factor: 9, callers: [shp]", "unknown caller 'shp' (did you mean 'shop'?)"),
        ("grey: db, factor: 9, callers: [shop]", "a database does not know its callers (write share: 10%)"),
        ("fail-fast: db", "fail-fast is for http services"),
        ("stuck: nobody", "unknown service or instance 'nobody'"),
        ("crash-loop: stock, backoff: 5s, backoff_max: 1s", "must not be below backoff"),
        ("spike: userz, factor: 2", "unknown workload 'userz' (did you mean 'users'?)"),
        ("spike: users, factor: 1", "timeline[0].factor: must be above 1"),
        ("herd: users", "'for' is missing"),
        ("herd: stock, for: 1s", "unknown workload 'stock' (workloads: users, clients)"),
        ("hot-key: users, share: 50%", "'header' is missing"),
        ("hot-key: users, header: 'x y', share: 50%", "'x y' is not the name of a header"),
        ("hot-key: users, header: x-request-id, share: 50%", "is written by the sender itself"),
        ("deploy: stock, order: sideways", "unknown value 'sideways' (allowed: oldest-first, newest-first)"),
        ("deploy: stock, at_once: 0", "must be at least 1, not 0"),
        ("deploy: stock, for: 2s", "unknown key 'for'"),
    ],
)
def test_wrong_entry_is_refused(tmp_path, entry, complaint):
    with pytest.raises(ConfigError) as refused:
        read(f"{{at: 1s, {entry}}}", tmp_path)
    assert complaint in "\n".join(str(violation) for violation in refused.value.violations)


@pytest.mark.parametrize("verb", [*SERVICES, *LOAD], ids=lambda verb: verb.word)
def test_whatever_the_fuzzer_draws_is_read(verb, tmp_path):
    documents, _ = parse_documents(LOADED.replace("TIMELINE", ""), file="small.yaml")
    names = Names.of(documents[0].data)
    drawn = [
        verb.drawn(Draw(names=names, place=place, strength=strength))
        for place in range(7)
        for strength in range(STRENGTH_MAX + 1)
    ]
    assert any(entry is not None for entry in drawn)
    for entry in drawn:
        if entry is not None:
            written = {"at": "1s", "for": "1s", **entry}
            text = ", ".join(f"{key}: {value}" for key, value in written.items()).replace("'", "")
            read(f"{{{text}}}", tmp_path)


def test_core_is_spared():
    mesh = small_mesh("{at: 1s, slow: shop, factor: 8}")
    active = mesh.scenario.timeline[0].verb.begin(mesh, "slow")
    assert active.spare(frozenset({"shop-1"}))
    assert mesh.condition_of("shop-1").factor == 1.0
    assert mesh.condition_of("shop-2").factor == 8.0
    active.end()
    assert mesh.condition_of("shop-2").factor == 1.0


def test_load_is_ended_as_a_whole():
    mesh = small_mesh("{at: 1s, pause: shop}")
    from sim.faults.load.spike import Spike

    assert not Spike(workload="users", factor=2.0).begin(mesh, "spike").spare(frozenset({"shop-1"}))


@pytest.mark.parametrize(
    "entry",
    [
        "spike: clients, factor: 3, for: 5s",
        "spike: users, factor: 3, for: 5s",
        "herd: users, for: 5s, over: 2s",
        "herd: clients, for: 5s",
        "hot-key: users, header: x-user, value: ann, share: 90%, for: 5s",
        "hot-key: users, header: x-new, share: 10%, for: 5s",
        "stuck: db, for: 1s",
        "crash-loop: stock, for: 9s",
        "crash-loop: db-1, for: 9s",
    ],
)
def test_nothing_is_left_behind(tmp_path, entry):
    text = LOADED.replace("GET /: {steps: [{work: 2ms}]}", "GET /: {steps: [{work: 2ms}, {call: db SELECT x}]}")
    scenario = attrs.evolve(read(f"{{at: 5s, {entry}}}", tmp_path, text), duration_s=25.0)
    result = run_scenario(scenario)
    assert result.ok, result.to_text()
    assert not [note for note in result.notes if "touched nothing" in note]


def test_users_come_back_spread_over_a_span(tmp_path):
    def visits(over):
        scenario = read(f"{{at: 5s, for: 10s, herd: clients{over}}}", tmp_path)
        return run_scenario(attrs.evolve(scenario, duration_s=20.0, workloads=scenario.workloads[1:]))

    at_once, spread = visits(""), visits(", over: 3s")
    assert at_once.event_hash != spread.event_hash
    assert at_once.ok
    assert spread.ok


def test_a_fault_that_touches_nothing_changes_no_arrival(tmp_path):
    plain = read("{at: 19s, stuck: shop}", tmp_path)
    result = run_scenario(attrs.evolve(plain, duration_s=20.0))
    assert [note for note in result.notes if "stuck shop: touched nothing" in note]
