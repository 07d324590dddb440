"""Files and environment variables of this host that policies name: certificates and keys for servers outside the mesh."""

import errno
import os
import stat

FILE_BYTES_MAX = 1_000_000


class RealHostFiles:
    """See `mesh.runtime.environment.HostFiles`. Certificates are small and lie in the page cache: Trio's thread reads them."""

    def read(self, path: str) -> bytes:
        """Return a file of at most FILE_BYTES_MAX. Raises: OSError, also for what is no regular file or has no absolute path."""
        if not path.startswith("/"):
            raise OSError(errno.EINVAL, "not an absolute path", path)
        # Non-blocking, since opening a pipe would wait for its writer.
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            data = file.read(FILE_BYTES_MAX + 1)
        if len(data) > FILE_BYTES_MAX:
            raise OSError(errno.EFBIG, "too large for a certificate or key", path)
        return data

    def variable(self, name: str) -> str | None:
        return os.environ.get(name)
