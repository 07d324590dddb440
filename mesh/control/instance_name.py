"""The name of this control plane among those that share a store: the same after a restart, so that it knows its own rows."""

from mesh.runtime.durable import write_durably
from mesh.runtime.environment import Environment

FILE = "control-plane/instance"
_RANDOM_BITS = 32


async def load_or_create_name(env: Environment, prefix: str) -> str:
    """Return the name on disk, made from `prefix` and chance when there is none. Raises: OSError."""
    try:
        name = (await env.disk.read(FILE)).decode(errors="replace").strip()
    except FileNotFoundError:
        name = ""
    if name:
        return name
    number = env.randomness.stream("control-plane", "instance").getrandbits(_RANDOM_BITS)
    name = f"{prefix}-{number:08x}"
    await write_durably(env.disk, FILE, name.encode())
    return name
