"""The table of all endpoints."""

from mesh.control.api.applying import applying_endpoints
from mesh.control.api.dataplane_config import config_endpoints
from mesh.control.api.dataplane_outbounds import outbound_endpoints
from mesh.control.api.dataplane_rules import rule_endpoints
from mesh.control.api.endpoint import Endpoint
from mesh.control.api.insights import insight_endpoints
from mesh.control.api.openapi import openapi_endpoint
from mesh.control.api.overviews import overview_endpoints
from mesh.control.api.resources import resource_endpoints
from mesh.control.api.services import service_endpoints
from mesh.control.api.system import system_endpoints
from mesh.control.api.tokens import token_endpoints


def endpoints() -> tuple[Endpoint, ...]:
    """Return every endpoint of the API; where two paths fit a request, the earlier counts."""
    table = (
        *system_endpoints(),
        *token_endpoints(),
        *applying_endpoints(),
        *insight_endpoints(),
        *overview_endpoints(),
        *rule_endpoints(),
        *outbound_endpoints(),
        *config_endpoints(),
        *service_endpoints(),
        *resource_endpoints(),
    )
    return (*table, openapi_endpoint(table))
