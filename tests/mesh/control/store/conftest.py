from pathlib import Path

import pytest

from tests.mesh.control.store.store_world import StoreWorld, postgres_world, simulated_world, sqlite_world


@pytest.fixture(params=["simulated", "sqlite", "postgres"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> StoreWorld:
    """Each database in turn."""
    match request.param:
        case "simulated":
            return simulated_world()
        case "sqlite":
            return sqlite_world(tmp_path / "data")
    return postgres_world(request.getfixturevalue("postgres_server").database_url())


@pytest.fixture
def simulated() -> StoreWorld:
    return simulated_world()


@pytest.fixture
def postgres(request: pytest.FixtureRequest) -> StoreWorld:
    return postgres_world(request.getfixturevalue("postgres_server").database_url())
