"""Fields of Envoy's configuration that many messages share, as the JSON form of protobuf has them."""

from typing import Any

from mesh.model.names import Address


def typed(message: str, **fields: Any) -> dict[str, Any]:
    """Return an Any of `envoy.<message>`."""
    return {"@type": f"type.googleapis.com/envoy.{message}", **fields}


def seconds(span_s: float) -> str:
    """Return a Duration."""
    return f"{span_s:.6f}s"


def percent(value: float) -> dict[str, Any]:
    """Return a FractionalPercent."""
    return {"numerator": round(value * 10_000), "denominator": "MILLION"}


def socket_address(address: Address) -> dict[str, Any]:
    """Return an Address."""
    return {"socket_address": {"address": address.host, "port_value": address.port}}
