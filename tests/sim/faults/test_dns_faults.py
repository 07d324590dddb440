"""How the faults of DNS are read and drawn, and what an external service is in a scenario."""

import pytest

from sim.faults.network.dns_failure import DnsFailure
from sim.faults.network.name_fault import NameFaultActive
from sim.faults.network.stale_dns import StaleDns
from sim.network.names import Code
from sim.scenario.distributions import Constant
from sim.scenario.topology import External
from tests.sim.faults.small_scenario import TEXT, drawn_entries, refusal_of, scenario_with, small_mesh, verb_of
from tests.sim.faults.small_scenario import TEXT as SMALL

NOTHING = "{at: 1s, kill: stock-1}"


def test_entries_are_read() -> None:
    assert verb_of("{at: 1s, dns-failure: all, answer: servfail}") == DnsFailure(names=(), code=Code.SERVFAIL)
    assert verb_of("{at: 1s, dns-failure: [bank, api.bank.example], delay: 3s, share: 50%, zone: west}") == DnsFailure(
        names=("bank", "api.bank.example"), delay=Constant(3.0), share=0.5, zone="west"
    )
    assert verb_of("{at: 1s, stale-dns: bank, zone: east}") == StaleDns(names=("bank",), zone="east")


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("{at: 1s, dns-failure: bank}", "needs answer or delay"),
        ("{at: 1s, dns-failure: bnk, answer: nxdomain}", "did you mean 'bank'"),
        ("{at: 1s, dns-failure: shop, answer: nxdomain}", "'shop' is no external service or host name"),
        ("{at: 1s, dns-failure: all, answer: refused}", "unknown value 'refused'"),
        ("{at: 1s, dns-failure: all, answer: nxdomain, zone: mars}", "unknown zone 'mars'"),
        ("{at: 1s, dns-failure: all, answer: nxdomain, zone: east, authority: true}", "exclude each other"),
        ("{at: 1s, stale-dns: []}", "must name at least one"),
    ],
)
def test_wrong_entries_are_refused(entry: str, complaint: str) -> None:
    assert complaint in refusal_of(entry)


def test_without_external_services_nothing_is_drawn() -> None:
    assert set(map(str, drawn_entries(DnsFailure, without="bank"))) == {"None"}
    assert set(map(str, drawn_entries(StaleDns, without="bank"))) == {"None"}


def test_a_service_stands_for_its_host_name() -> None:
    mesh = small_mesh("{at: 1s, dns-failure: bank, answer: nxdomain}")
    active = mesh.scenario.timeline[0].verb.begin(mesh, "outage")
    assert isinstance(active, NameFaultActive)
    assert active.installed.fault.names == ("api.bank.example",)
    assert not active.bit()
    mesh.world.network.resolver("east").answer("api.bank.example", "shop-1")
    assert active.bit()
    assert active.spare(frozenset(["shop-1"]))
    assert mesh.world.network.resolver("east").answer("api.bank.example", "shop-1")[0].code is Code.FOUND
    active.end()
    assert mesh.world.network.names.faults == ()


def test_stale_answers_are_those_of_the_beginning() -> None:
    mesh = small_mesh("{at: 1s, stale-dns: all}")
    network = mesh.world.network
    before = network.names.truth("api.bank.example").addresses
    mesh.scenario.timeline[0].verb.begin(mesh, "stale")
    network.set_name("api.bank.example", ["10.9.9.9"])
    assert network.resolver("west").answer("api.bank.example", "shop-1")[0].addresses == before


def test_an_external_service_is_outside_the_mesh_and_has_a_name() -> None:
    scenario = scenario_with(NOTHING)
    assert scenario.service("bank").external == External(hostname="api.bank.example", ttl_s=30.0)
    external = [resource for resource in scenario.resources if resource.kind == "MeshExternalService"]
    assert [resource.name for resource in external] == ["bank"]
    mesh = small_mesh(NOTHING)
    assert list(mesh.outsiders) == ["bank-1"]
    assert "bank-1" not in mesh.members
    addresses = mesh.world.network.names.truth("api.bank.example").addresses
    assert addresses == (mesh.outsiders["bank-1"].host.address,)
    mesh.start_instance("bank", "east")
    assert len(mesh.world.network.names.truth("api.bank.example").addresses) == 2


def test_a_mesh_external_service_of_ones_own_is_kept() -> None:
    own = (
        "---\n{type: MeshExternalService, name: bank, spec: {match: {type: HostnameGenerator, port: 8080, protocol: http}, "
        "endpoints: [{address: other.example, port: 8080}]}}\n"
    )
    from pathlib import Path

    from sim.scenario.loader import parse_scenario

    scenario = parse_scenario(SMALL.replace("TIMELINE", NOTHING) + own, file="small.yaml", folder=Path())
    assert len([resource for resource in scenario.resources if resource.kind == "MeshExternalService"]) == 1


@pytest.mark.parametrize(
    ("external", "complaint"),
    [
        ("{external: Bank, ", "'Bank' is not a host name"),
        ("{external: bank, ", "'bank' is not a host name"),
        ("{external: {ttl: 3s}, ", "'name' is missing"),
        ("{external: {name: a.example, tll: 3s}, ", "unknown key 'tll'"),
    ],
)
def test_wrong_names_of_external_services_are_refused(
    external: str, complaint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = TEXT.replace("{external: api.bank.example, ", external)
    monkeypatch.setattr("tests.sim.faults.small_scenario.TEXT", text)
    assert complaint in refusal_of(NOTHING)


def test_an_external_service_calls_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    text = TEXT.replace("steps: [{work: 2ms}]}}}\ntimeline", "steps: [{call: stock GET /}]}}}\ntimeline")
    monkeypatch.setattr("tests.sim.faults.small_scenario.TEXT", text)
    assert "needs a sidecar" in refusal_of(NOTHING)
