"""Reads `network` and `control_plane` of a scenario file."""

from pathlib import PurePath

from sim.scenario.distribution_reader import read_distribution
from sim.scenario.distributions import Constant
from sim.scenario.names import CONTROL_PLANES_MAX, Names
from sim.scenario.reading import Cursor
from sim.scenario.schema import keys, required_keys
from sim.scenario.topology import ControlPlaneModel, Link, LinkModel, NetworkModel


class TopologyReader:
    """Reads what one file's services run on. `folder` is where the file stands: histograms are named relative to it."""

    def __init__(self, names: Names, folder: PurePath) -> None:
        self.names = names
        self.folder = folder

    def network(self, cursor: Cursor) -> NetworkModel:
        entries = cursor.mapping(keys("network"))
        default = self._link_model(entries["default"]) if "default" in entries else LinkModel()
        links = [self._link(element) for element in entries["links"].elements()] if "links" in entries else []
        return NetworkModel(default=default, links=tuple(links))

    def _link(self, cursor: Cursor) -> Link:
        entries = cursor.mapping(keys("link"), required_keys("link"))
        zones = list(entries["between"].elements()) if "between" in entries else []
        for zone in zones:
            self.names.refuse_unknown_zone(zone)
        if "between" in entries and (len(zones) != 2 or zones[0].value == zones[1].value):
            entries["between"].refuse("must name two different zones")
        pair = [str(zone.value) for zone in zones[:2]] + ["", ""]
        between = entries.pop("between", None)
        model = self._link_model_of(entries)
        return Link(between=(pair[0], pair[1]), model=model) if between else Link(between=("", ""), model=model)

    def _link_model(self, cursor: Cursor) -> LinkModel:
        return self._link_model_of(cursor.mapping(keys("link_model")))

    def _link_model_of(self, entries: dict[str, Cursor]) -> LinkModel:
        return LinkModel(
            latency=read_distribution(entries["latency"], self.folder) if "latency" in entries else Constant(0.0),
            bandwidth=entries["bandwidth"].bandwidth() if "bandwidth" in entries else 0.0,
            loss=entries["loss"].percent() if "loss" in entries else 0.0,
        )

    def control_plane(self, cursor: Cursor) -> ControlPlaneModel:
        entries = cursor.mapping(keys("control_plane"), required_keys("control_plane"))
        zones = []
        if "zone" in entries:
            written = entries["zone"]
            zones = list(written.elements()) if isinstance(written.value, list) else [written]
            for zone in zones:
                self.names.refuse_unknown_zone(zone)
        names = [zone.text() for zone in zones] or [""]
        delay = read_distribution(entries["push_delay"], self.folder) if "push_delay" in entries else Constant(0.0)
        replicas = entries["replicas"].count(least=1) if "replicas" in entries else 1
        if replicas > CONTROL_PLANES_MAX:
            entries["replicas"].refuse(f"must be at most {CONTROL_PLANES_MAX}, not {replicas}")
        return ControlPlaneModel(
            zone=names[0],
            push_delay=delay,
            replicas=replicas,
            other_zones=tuple(names[1:]),
            configuration_bytes_max=entries["config_limit"].size() if "config_limit" in entries else 0,
        )
