"""Inbounds: what a proxy does with those who call its application. Pure.

Settings by caller are found in order, the most specific match first: see `inbound_rules` for how each kind merges.
"""

from collections.abc import Iterable, Mapping

import attrs

from mesh.config import defaults, translation
from mesh.config.inbound_rules import EVERYBODY
from mesh.config.merging import permissions
from mesh.config.policies import PolicyIndex, Selected
from mesh.config.snapshot import InboundListener
from mesh.model.security import TlsParameters
from mesh.model.traffic import Protocol, TlsMode
from mesh.policy.authorization import Permissions
from mesh.policy.fault_injection import Fault
from mesh.policy.rate_limit import CallerRateLimit, Rate
from mesh.policy.timeout import CallerTimeouts
from mesh.resources.dataplane import Inbound
from mesh.resources.policy import Conf


@attrs.frozen(eq=False, kw_only=True)
class Inbounds:
    """The inbounds of one proxy: which policies select it, by kind, and whether it has an identity."""

    policies: PolicyIndex
    selected: Mapping[str, Selected]
    service: str
    secured: bool

    def listener(self, inbound: Inbound) -> InboundListener:
        """Build the port on which others reach the application."""
        tls = self._at("MeshTLS", inbound)
        requests = inbound.protocol is not Protocol.TCP  # Of opaque connections nobody knows where requests begin.
        return InboundListener(
            name=inbound.name,
            address=inbound.address,
            application=inbound.application,
            protocol=inbound.protocol,
            service=self.service,
            tls_mode=translation.tls_mode(tls) if self.secured else TlsMode.OFF,
            tls_parameters=translation.tls_parameters(tls) if self.secured else TlsParameters(),
            permissions=self._permissions(inbound) if self.secured else None,
            timeouts=translation.timeouts(self._at("MeshTimeout", inbound), defaults.INBOUND_TIMEOUTS),
            caller_timeouts=tuple(self._caller_timeouts(inbound)) if requests else (),
            circuit_breaking=translation.circuit_breaking(self._at("MeshCircuitBreaker", inbound)),
            connection_rate=self._connection_rate(inbound),
            rate_limits=tuple(self._rate_limits(inbound)) if requests else (),
            faults=tuple(self._faults(inbound)) if requests else (),
        )

    def _at(self, kind: str, inbound: Inbound) -> Conf:
        return self.policies.at(kind, self.selected[kind], inbound)

    def _permissions(self, inbound: Inbound) -> Permissions:
        kind = "MeshTrafficPermission"
        entries = self.policies.entries(kind, self.selected[kind], inbound)
        return permissions((entry.policy.display_name, entry.default) for entry in entries)

    def _caller_timeouts(self, inbound: Inbound) -> Iterable[CallerTimeouts]:
        for caller in self.policies.matched_rules("MeshTimeout", self.selected["MeshTimeout"], inbound):
            if caller.match != EVERYBODY:
                timeouts = translation.timeouts(caller.conf, defaults.INBOUND_TIMEOUTS)
                yield CallerTimeouts(match=caller.match, timeouts=timeouts)

    def _rate_limits(self, inbound: Inbound) -> Iterable[CallerRateLimit]:
        for caller in self.policies.matched_rules("MeshRateLimit", self.selected["MeshRateLimit"], inbound):
            # Whoever says nothing of requests leaves them to the next that matches.
            if "http" in caller.conf["local"]:
                yield CallerRateLimit(match=caller.match, limit=translation.rate_limit(caller.conf["local"]["http"]))

    def _connection_rate(self, inbound: Inbound) -> Rate | None:
        return translation.connection_rate(self._at("MeshRateLimit", inbound).get("local", {}).get("tcp", {}))

    def _faults(self, inbound: Inbound) -> Iterable[Fault]:
        kind = "MeshFaultInjection"
        for entry in self.policies.entries(kind, self.selected[kind], inbound):
            for conf in entry.default.get("http", ()):
                yield translation.fault(entry.match, conf)
