"""The keys of a Redis-like cache that cached steps have set: nothing but which ones are there. Pure."""


class StoredKeys:
    """Which numbered keys are there. `full`: all that were never deleted, as after a long time of use."""

    def __init__(self, *, full: bool) -> None:
        self._full = full
        self._kept: dict[bytes, bool] = {}

    def apply(self, verb: str, key: bytes) -> bool:
        """Carry out a command; of GET: is the key there?"""
        if verb == "SET":
            self._kept[key] = True
        elif verb == "DEL":
            self._kept[key] = False
        return verb != "GET" or self._kept.get(key, self._full)
