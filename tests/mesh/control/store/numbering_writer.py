"""A control plane's store in a process of its own: writes numbered resources and prints each number that was acknowledged.

`python numbering_writer.py FOLDER|URL FIRST`: begins with the number FIRST, and goes on until it is killed.
"""

import sys

import structlog
import trio

from mesh.control.store.sealing import Sealer
from mesh.control.store.store import Store
from mesh.control.store.values import Put
from mesh.resources.loading import load_resource
from mesh.runtime.environment import Database
from mesh.runtime.real import wall_clock
from mesh.runtime.real.disk import RealDisk
from mesh.runtime.real.postgres import open_postgres

KEY = bytes(32)


async def open_database(where: str) -> Database:
    if where.startswith("postgresql:"):
        return await open_postgres(where, log=structlog.get_logger())
    return await RealDisk(where).open_database("mesh.db")


async def main(where: str, first: int) -> None:
    store = await Store.open(
        await open_database(where), sealer=Sealer(KEY), wall_clock=wall_clock, log=structlog.get_logger()
    )
    number = first
    while True:
        written = {"type": "Mesh", "name": f"m{number}", "labels": {"text": "x" * (number % 250)}}
        await store.write([Put(resource=load_resource(written, file="test"), expected_version=0)], by="writer")
        print(number, flush=True)
        number += 1


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    trio.run(main, sys.argv[1], int(sys.argv[2]))
