"""Where the processes of a run meet: Unix sockets in the run's own folder, which nobody else may enter."""

from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class Sockets:
    """Their paths: of the runner's steering, of the forker, of the graveyard."""

    runner: str
    forker: str
    graveyard: str

    @classmethod
    def below(cls, folder: Path) -> "Sockets":
        return cls(
            runner=str(folder / "runner.sock"),
            forker=str(folder / "forker.sock"),
            graveyard=str(folder / "graveyard.sock"),
        )
