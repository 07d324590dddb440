"""Code that operators bring along: which object of which Python module a service runs. Values, and how it is loaded.

A module that stands in the scenario's folder is executed anew for each instance and each of its starts: what it keeps in
memory belongs to one process, and is gone after a restart. Installed packages are shared, like the interpreter.
"""

import enum
import importlib
import sys
from pathlib import Path, PurePath
from types import ModuleType

import attrs

from mesh.resources.documents import suggest


class CodeKind(enum.Enum):
    """What the object is."""

    ACTOR = "actor"  # a class: Class(env, settings), with async run()
    ASGI = "asgi"  # an ASGI 3 application


class CodeError(Exception):
    """The operator's: there is no such code, or it cannot be loaded. `hint` says what there is."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@attrs.frozen(kw_only=True)
class Code:
    """`module:name`; `folder` is where the scenario stands."""

    kind: CodeKind
    module: str
    name: str
    folder: PurePath

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"

    def load(self) -> object:
        """Execute the module and return the object. Raises: CodeError."""
        module = _imported(self.module, Path(self.folder).resolve())
        found = getattr(module, self.name, None)
        if found is None:
            names = [name for name in vars(module) if not name.startswith("_")]
            place = module.__file__ or self.module
            raise CodeError(
                f"{place} has no '{self.name}'", suggest(self.name, names) or f"there: {', '.join(names) or 'nothing'}"
            )
        if not callable(found) or (self.kind is CodeKind.ACTOR) != isinstance(found, type):
            raise CodeError(f"'{self}' is {_described(found)}", _WANTED[self.kind])
        return found


_WANTED = {
    CodeKind.ACTOR: "write the name of a class: Class(env, settings), with async run()",
    CodeKind.ASGI: "write the name of an application: async app(scope, receive, send), or Starlette(...)",
}


def _described(found: object) -> str:
    return f"the class {found.__name__}" if isinstance(found, type) else f"a {type(found).__name__}"


def _imported(name: str, folder: Path) -> ModuleType:
    top = name.partition(".")[0]
    ours = (folder / f"{top}.py").exists() or (folder / top).is_dir()
    if ours:
        _forget(top, folder)
        sys.path.insert(0, str(folder))
    try:
        importlib.invalidate_caches()
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and not name.startswith(error.name):
            raise CodeError(f"module '{name}' needs '{error.name}', which is not there") from error
        raise CodeError(f"there is no module '{name}'", _modules_in(folder)) from error
    except Exception as error:  # Whatever the module does while it is executed is the operator's.
        raise CodeError(f"module '{name}' cannot be loaded: {type(error).__name__}: {error}") from error
    finally:
        if ours:
            sys.path.remove(str(folder))


def _forget(top: str, folder: Path) -> None:
    """Forget what was imported from the folder, and whatever else goes by the module's name."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.partition(".")[0] == top or (file is not None and Path(file).is_relative_to(folder)):
            del sys.modules[name]


def _modules_in(folder: Path) -> str:
    names = sorted(path.stem for path in folder.glob("*.py"))
    return f"in {folder}: {', '.join(names)}" if names else f"{folder} has no Python files"
