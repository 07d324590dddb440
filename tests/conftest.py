"""What all tests may ask for."""

from tests.postgres_server import postgres_server

__all__ = ["postgres_server"]
