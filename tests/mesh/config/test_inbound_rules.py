"""What counts for whom at one inbound. `idle` tells who wrote what."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mesh.config.inbound_rules import EVERYBODY, by_caller, covers, entries_at, for_everybody, specificity
from mesh.config.matching import ListenerSection, in_order
from mesh.config.merging import merge, permissions
from mesh.model.names import SpiffeId
from mesh.policy.authorization import Authorizer, MatchKind, PeerMatch, Permissions, Verdict
from mesh.resources.loading import load_resource
from mesh.resources.resource import Resource

HTTP = ListenerSection(name="http", port=80)


def exact(path: str, **more: Any) -> dict[str, Any]:
    return {"spiffeID": {"type": "Exact", "value": f"spiffe://{path}"}, **more}


def prefix(path: str, **more: Any) -> dict[str, Any]:
    return {"spiffeID": {"type": "Prefix", "value": f"spiffe://{path}"}, **more}


SNI = {"sni": {"type": "Exact", "value": "x"}}


def policy(name: str, *rules: tuple[str, list[dict[str, Any]]], section: str = "") -> Resource:
    """Make a MeshTimeout with rules of an idle timeout and the matches that they are for."""
    spec = {
        "targetRef": {"kind": "Dataplane", "sectionName": section} if section else {"kind": "Mesh"},
        "rules": [
            {"default": {"http": {"requestTimeout": idle}}, **({"matches": matches} if matches else {})}
            for idle, matches in rules
        ],
    }
    return load_resource({"type": "MeshTimeout", "name": name, "spec": spec}, file="t")


def request_s(conf: Any) -> float:
    seconds: float = conf["http"]["requestTimeout"]
    return seconds


def test_each_match_is_an_entry_the_most_specific_first() -> None:
    rules = [
        ("1s", []),
        ("2s", [SNI, prefix("d/a")]),
        ("3s", [exact("d/a/b"), prefix("d/")]),
        ("4s", [prefix("d/", **SNI)]),
        ("5s", [exact("d/a/c", **SNI)]),
    ]
    entries = entries_at([policy("a", *rules)], HTTP)
    # By the kind of the SPIFFE ID, then by whether there is a server name; prefixes of any length are equal here.
    assert [request_s(entry.default) for entry in entries] == [5.0, 3.0, 4.0, 2.0, 3.0, 2.0, 1.0]
    assert [entry.index for entry in entries] == [4, 2, 3, 1, 2, 1, 0]


def test_equal_entries_stand_in_the_order_of_their_policies() -> None:
    policies = in_order([policy("a", ("1s", [])), policy("b", ("2s", []))])
    entries = entries_at(policies, HTTP)
    assert [entry.policy.name for entry in entries] == ["b", "a"]
    assert request_s(merge(entry.default for entry in for_everybody(entries))) == 1.0


def test_entries_are_those_of_the_inbound() -> None:
    policies = [policy("a", ("1s", []), section="http"), policy("b", ("2s", []), section="admin")]
    assert [entry.policy.name for entry in entries_at(policies, HTTP)] == ["a"]


def test_settings_for_a_caller_come_from_every_rule_that_means_all_like_it() -> None:
    found = by_caller(
        entries_at(
            [
                policy("a", ("1s", []), ("2s", [prefix("d/a/")]), ("3s", [prefix("d/")]), ("4s", [exact("d/b/1")])),
            ],
            HTTP,
        )
    )
    by_id = {rule.match.spiffe_id: request_s(rule.conf) for rule in found}
    assert by_id == {"spiffe://d/b/1": 4.0, "spiffe://d/a/": 2.0, "spiffe://d/": 3.0, "": 1.0}
    assert list(by_id) == ["spiffe://d/b/1", "spiffe://d/a/", "spiffe://d/", ""]
    assert [entry.index for entry in found[0].entries] == [0, 2, 3]


def test_without_rules_for_everybody_nothing_stands_at_the_end() -> None:
    (only,) = by_caller(entries_at([policy("a", ("1s", [SNI]))], HTTP))
    assert only.match == PeerMatch(sni="x")


def test_server_names_are_compared_in_lower_case() -> None:
    (only,) = by_caller(entries_at([policy("a", ("1s", [{"sni": {"type": "Exact", "value": "Shop.X"}}]))], HTTP))
    assert only.match == PeerMatch(sni="shop.x")


ids = st.sampled_from(["", "spiffe://d/", "spiffe://d/a", "spiffe://d/a/b", "spiffe://d/ab", "spiffe://e/"])
matches = st.builds(
    PeerMatch, spiffe_id_kind=st.sampled_from(MatchKind), spiffe_id=ids, sni=st.sampled_from(["", "x", "y"])
)
callers = st.tuples(
    st.sampled_from(["spiffe://d/a", "spiffe://d/a/b", "spiffe://d/ab", "spiffe://e/c"]), st.sampled_from("xyz")
)


def fits(match: PeerMatch, caller: tuple[str, str]) -> bool:
    """The same again, stupidly."""
    who, sni = caller
    if match.sni and match.sni != sni:
        return False
    return (
        who == match.spiffe_id
        if match.spiffe_id and match.spiffe_id_kind is MatchKind.EXACT
        else who.startswith(match.spiffe_id)
    )


@given(matches, matches, callers)
@settings(max_examples=100, deadline=None)
def test_who_fits_a_match_fits_those_that_cover_it(wide: PeerMatch, narrow: PeerMatch, caller: tuple[str, str]) -> None:
    if covers(wide, narrow) and fits(narrow, caller):
        assert fits(wide, caller)
    assert covers(wide, wide)
    assert covers(EVERYBODY, narrow)
    if covers(wide, narrow) and covers(narrow, wide):
        assert specificity(wide) == specificity(narrow)


written_matches = st.sampled_from(
    [exact("d/a"), exact("d/a/b"), prefix("d/"), prefix("d/a"), SNI, prefix("d/a", **SNI)]
)
rules = st.lists(
    st.tuples(st.sampled_from(["1s", "2s", "3s"]), st.lists(written_matches, max_size=2)), min_size=1, max_size=4
)


@given(st.lists(rules, min_size=1, max_size=3), callers)
@settings(max_examples=80, deadline=None)
def test_the_first_that_matches_a_caller_holds_all_that_is_said_of_its_like(
    written: list[list[tuple[str, list[dict[str, Any]]]]], caller: tuple[str, str]
) -> None:
    policies = in_order([policy(f"p{number}", *rules) for number, rules in enumerate(written)])
    entries = entries_at(policies, HTTP)
    found = next((rule for rule in by_caller(entries) if fits(rule.match, caller)), None)
    fitting = [entry for entry in entries if fits(entry.match, caller)]
    assert (found is None) == (not fitting)
    if found is not None:
        strongest = max(specificity(entry.match) for entry in fitting)
        assert specificity(found.match) == strongest
        # Of the rules that are as specific as that, the strongest policy's last rule wins.
        own = [entry for entry in entries if entry.match == found.match]
        assert request_s(found.conf) == request_s(own[-1].default)


@given(st.lists(matches, max_size=3), st.lists(matches, max_size=3), st.lists(matches, max_size=3), callers)
@settings(max_examples=80, deadline=None)
def test_a_denial_wins_over_any_permission(
    deny: list[PeerMatch], shadow: list[PeerMatch], allow: list[PeerMatch], caller: tuple[str, str]
) -> None:
    parts = {"deny": tuple(deny), "allowWithShadowDeny": tuple(shadow), "allow": tuple(allow)}
    together = permissions([("", parts)])
    apart = permissions([("", {name: (peer,)}) for name, peers in parts.items() for peer in peers][::-1])
    who, sni = SpiffeId.parse(caller[0]), caller[1]
    verdict = Authorizer(together).decide(who, sni).verdict
    assert verdict is Authorizer(apart).decide(who, sni).verdict
    if any(fits(match, caller) for match in deny) or not any(fits(match, caller) for match in (*allow, *shadow)):
        assert verdict is Verdict.DENIED
    else:
        assert verdict is not Verdict.DENIED
    assert Authorizer(Permissions()).decide(who, sni).verdict is Verdict.DENIED
