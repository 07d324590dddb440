"""What `served(...)` and `opened(...)` name: `stock`, `stock-1`, `stock in east`, `stock GET /items in east`. Pure."""

import attrs


@attrs.frozen(kw_only=True)
class MeasuredPlace:
    """A service or instance, perhaps in one zone only, perhaps one endpoint of it."""

    name: str
    operation: str = ""
    zone: str = ""

    def covers(self, service: str, instance: str, zone: str, operation: str) -> bool:
        """Does what came in there count here?"""
        return self.name in (service, instance) and self.zone in ("", zone) and self.operation in ("", operation)


def parse_place(text: str) -> MeasuredPlace:
    """Read a subject; whether its names exist is for others to say."""
    rest, separator, zone = text.rpartition(" in ")
    name, _, operation = (rest if separator else text).strip().partition(" ")
    return MeasuredPlace(name=name, operation=operation.strip(), zone=zone.strip() if separator else "")
