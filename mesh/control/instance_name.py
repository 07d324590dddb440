"""The name of a control plane among those that share a store: its folder's, kept on disk, and a number of this life.

By the first part it knows the rows of its former lives. By the second, two that were started from copies of one folder (a
cloned machine) do not take each other's rows for their own.
"""

from mesh.runtime.durable import write_durably
from mesh.runtime.environment import Environment

FILE = "control-plane/instance"
_FOLDER_BITS = 32
_LIFE_BITS = 32


async def next_name(env: Environment, prefix: str) -> str:
    """Return a name for this life; that of the folder is made from `prefix` and chance when there is none. Raises: OSError."""
    random = env.randomness.stream("control-plane", "instance")
    try:
        folder = (await env.disk.read(FILE)).decode(errors="replace").strip()
    except FileNotFoundError:
        folder = ""
    if not folder:
        folder = f"{prefix}-{random.getrandbits(_FOLDER_BITS):08x}"
        await write_durably(env.disk, FILE, folder.encode())
    return f"{folder}-{random.getrandbits(_LIFE_BITS):08x}"


def is_former_life(other: str, instance: str) -> bool:
    """Does a name come from our folder, in this life or a former one? Older versions had no number for a life."""
    folder = instance.rpartition("-")[0]
    return other == folder or other.rpartition("-")[0] == folder
