"""What a process of a scenario is told when it starts."""

import msgspec

from sim.local.places import Place


class ProcessSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`runner` and `graveyard` are Unix sockets; `incarnation` counts the starts of its host."""

    role: str
    place: Place
    scenario_file: str
    variant: str | None = None
    overrides: tuple[str, ...] = ()
    seed: int
    incarnation: int
    data_dir: str
    runner: str
    graveyard: str
    control_plane_ca: str = ""
    token: str = ""
    drain_s: float = 10.0
