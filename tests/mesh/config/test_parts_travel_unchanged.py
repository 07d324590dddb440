"""What was decoded is encoded to the bytes that were sent: else one configuration would have two versions."""

import pytest

from mesh.config.snapshot import (
    Backend,
    Cluster,
    InboundListener,
    OutboundListener,
    Route,
    decode_part,
    encode_part,
    part_key,
)
from mesh.model.names import Address
from mesh.policy.fault_injection import Abort, Delay, Fault, ResponseBandwidth
from mesh.policy.load_balancing import LoadBalancing, SlowStart
from mesh.policy.outlier_detection import OutlierDetection
from mesh.policy.retry import RetryPolicy
from mesh.policy.retry_budget import RetryBudget

HERE = Address("10.0.0.1", 80)
FAULT = Fault(
    abort=Abort(status=500, percent=30),
    delay=Delay(delay_s=0.5, percent=30),
    response_bandwidth=ResponseBandwidth(bytes_per_s=1000.0, percent=100),
)
BALANCING = LoadBalancing(
    active_request_bias=2,
    panic_percent=0,
    overprovisioning_percent=120,
    slow_start=SlowStart(window_s=30.0, aggression=2, weight_percent_min=5),
)
RETRY = RetryPolicy(budget=RetryBudget(percent=20, rate_per_s_min=1))


@pytest.mark.parametrize(
    "part",
    [
        InboundListener(name="80", address=HERE, application=HERE, faults=(FAULT,)),
        Cluster(
            name="stock",
            load_balancing=BALANCING,
            outlier_detection=OutlierDetection(success_rate_standard_deviation_factor=2),
        ),
        OutboundListener(
            name="o", address=HERE, routes=(Route(name="r", backends=(Backend(cluster="s"),), retry=RETRY),)
        ),
    ],
    ids=lambda part: type(part).__name__,
)
def test_whole_numbers_where_others_may_stand_do_not_change_on_the_way(part):
    sent = encode_part(part)
    assert encode_part(decode_part(part_key(part), sent)) == sent
