"""Localities: when traffic leaves its own zone."""


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
