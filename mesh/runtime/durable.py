"""Replace a file whole or not at all, whenever the power fails."""

from mesh.runtime.environment import Disk


async def write_durably(disk: Disk, path: str, data: bytes) -> None:
    """Write `data` to `path` so that a crash leaves the old content or the new one. Returns when the new one is safe.

    Raises: OSError; then the old content still stands.
    """
    fresh = f"{path}.new"
    await disk.write(fresh, data)
    # The order matters: a name that points to bytes which never reached the device is a torn file.
    await disk.sync(fresh)
    await disk.rename(fresh, path)
    await disk.sync(path)  # A rename is durable only now.
