"""Localities: which endpoints of a service are near a caller, and when its traffic leaves its own zone. Pure.

Source: Kuma MeshLoadBalancingStrategy `localityAwareness` (plugin/v1alpha1/locality_aware.go, priority.go). Unlike it, other
zones stand by in one priority below where `crossZone` names no failover: Kuma's code then leaves them out.
"""

from collections.abc import Iterable, Mapping

import attrs

from mesh.config.snapshot import Endpoint
from mesh.resources.policy import Conf

LOCAL_PRIORITY = 0
OTHER_ZONES_PRIORITY = 1


@attrs.frozen(kw_only=True)
class Place:
    """Where a caller is: its zone, and its own values of the labels that affinity is decided by."""

    zone: str = ""
    labels: tuple[tuple[str, str], ...] = ()


@attrs.frozen(kw_only=True)
class _Affinity:
    """Endpoints of the caller's zone that share a label with it, and their weight against the others of the zone."""

    key: str
    value: str
    weight: int

    @property
    def locality(self) -> str:
        return f"{self.key}={self.value}"


def affinity_keys(strategies: Iterable[Conf]) -> frozenset[str]:
    """Return the labels of callers that some MeshLoadBalancingStrategies ask for."""
    return frozenset(
        tag["key"] for strategy in strategies for tag in _affinity_tags(strategy.get("localityAwareness", {}))
    )


def tag_keys(retries: Iterable[Conf]) -> frozenset[str]:
    """Return the tags of endpoints that the host selections of some MeshRetries ask for."""
    return frozenset(
        key
        for retry in retries
        for selection in retry.get("http", {}).get("hostSelection", ())
        for key in selection.get("tags", {})
    )


def placed(
    endpoints: Iterable[Endpoint],
    place: Place,
    strategy: Conf,
    *,
    spans_zones: bool = False,
    kept_tags: frozenset[str] = frozenset(),
) -> tuple[Endpoint, ...]:
    """Return the endpoints as a caller at `place` is to use them: nearer ones first, without those it may not use.

    Zones are told apart where a strategy says so, and for services that span them (MeshMultiZoneService) unless one says
    not. Endpoints without a zone are as near as any. `kept_tags`: keys of the endpoints' tags that go on to the proxy.
    """
    awareness = strategy.get("localityAwareness", {})
    aware = ("localityAwareness" in strategy or spans_zones) and not awareness.get("disabled", False)
    if not aware or not place.zone:
        return tuple(_trimmed(endpoint, kept_tags) for endpoint in endpoints)
    affinities = _affinities(awareness, dict(place.labels))
    weighted = bool(_affinity_tags(awareness))
    result = []
    for endpoint in endpoints:
        if not endpoint.zone or endpoint.zone == place.zone:
            near = _by_affinity(endpoint, affinities, weighted=weighted)
            result.append(_trimmed(near, kept_tags))
            continue
        priority = _priority_of_zone(endpoint.zone, place.zone, awareness)
        if priority is not None:
            far = attrs.evolve(endpoint, priority=priority, locality=endpoint.zone, locality_weight=int(weighted))
            result.append(_trimmed(far, kept_tags))
    return tuple(result)


def _trimmed(endpoint: Endpoint, kept_tags: frozenset[str]) -> Endpoint:
    tags = tuple(tag for tag in endpoint.tags if tag[0] in kept_tags)
    return endpoint if tags == endpoint.tags else attrs.evolve(endpoint, tags=tags)


def _affinity_tags(awareness: Conf) -> tuple[Conf, ...]:
    tags: tuple[Conf, ...] = awareness.get("localZone", {}).get("affinityTags", ())
    return tags


def _affinities(awareness: Conf, labels: Mapping[str, str]) -> tuple[_Affinity, ...]:
    """Return what the caller's own labels are worth; where no weights are written the first tag gets nine tenths, and so on."""
    tags = _affinity_tags(awareness)
    weights = [tag.get("weight", 9 * 10 ** (len(tags) - index - 1)) for index, tag in enumerate(tags)]
    return tuple(
        _Affinity(key=tag["key"], value=labels[tag["key"]], weight=weight)
        for tag, weight in zip(tags, weights, strict=True)
        if tag["key"] in labels
    )


def _by_affinity(endpoint: Endpoint, affinities: Iterable[_Affinity], *, weighted: bool) -> Endpoint:
    if not weighted:
        return endpoint
    tags = dict(endpoint.tags)
    for affinity in affinities:
        if tags.get(affinity.key) == affinity.value:
            return attrs.evolve(endpoint, locality=affinity.locality, locality_weight=affinity.weight)
    return attrs.evolve(endpoint, locality_weight=1)


def _priority_of_zone(zone: str, own_zone: str, awareness: Conf) -> int | None:
    """Return the priority of another zone's endpoints; None: they get nothing."""
    failover = awareness.get("crossZone", {}).get("failover", ())
    if not failover:
        return OTHER_ZONES_PRIORITY
    for position, rule in enumerate(failover):
        if "from" in rule and own_zone not in rule["from"]["zones"]:
            continue
        if _leads_to(rule["to"], zone):
            return OTHER_ZONES_PRIORITY + position
    return None


def _leads_to(target: Conf, zone: str) -> bool:
    match target["type"]:
        case "Any":
            return True
        case "Only":
            return zone in target.get("zones", ())
        case "AnyExcept":
            return zone not in target.get("zones", ())
        case _:
            return False


def overprovisioning_factor(percent: float) -> float:
    """Return the factor (in percent) by which healthy endpoints count more, so that traffic leaves below `percent` healthy.

    70 % give 142.86: with 70 % of the endpoints healthy, 70 x 1.4286 = 100 % of the traffic still stays.
    Kuma computes `uint32(100/percent) * 100`, which cuts off before it scales: 51 to 100 % act as 100 (traffic leaves at the
    first endpoint that fails), 34 to 50 % as 50. We follow its documentation, not that bug.
    Source: Kuma MeshLoadBalancingStrategy `failoverThreshold`; Envoy `overprovisioning_factor`.
    Raises: ValueError when `percent` is not above 0 and at most 100.
    """
    if not 0 < percent <= 100:
        raise ValueError(f"expects a percentage above 0 and at most 100, got {percent}")
    return 100 * 100 / percent
