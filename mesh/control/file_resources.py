"""Resources from files of the control plane's host: taken over whole at the start and whenever they are read again.

They are told by a label. What files no longer hold is deleted, what others wrote is left alone, unless the files name it
too: then it is theirs from there on. Deciding is pure; the catalogue writes.
"""

from collections.abc import Sequence

from mesh.control.catalogue import Catalogue, Origin
from mesh.control.store.values import Delete, Outcome, Put
from mesh.control.write_plan import Change, is_managed_by_files
from mesh.resources.resource import Resource

BY = "files"


def changes_for(resources: Sequence[Resource], catalogue: Catalogue) -> list[Change]:
    """Return what makes the catalogue hold what the files hold."""
    held = {resource.key for resource in resources}
    held |= {("Mesh", "", resource.mesh) for resource in resources}  # They are its last witnesses.
    gone = [stored.key for stored in catalogue.resources() if is_managed_by_files(stored) and stored.key not in held]
    return [*(Put(resource=resource) for resource in resources), *(Delete(key=key) for key in gone)]


async def take_over(resources: Sequence[Resource], catalogue: Catalogue) -> Outcome:
    """Make the files' resources the catalogue's, all or none. Raises: ConfigError, Conflict, StoreError."""
    changes = changes_for(resources, catalogue)
    return await catalogue.write(changes, by=BY, reason="resource files", origin=Origin.FILES)
