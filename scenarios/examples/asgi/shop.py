"""An ordinary Starlette application: nothing in it knows of a mesh or a simulation."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

STOCK = {"apples": 1000, "pears": 2}


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    app.state.orders = []
    await anyio.sleep(0.5)  # As long as a connection to something would take.
    yield
    app.state.orders.clear()


async def products(request: Request) -> Response:
    await anyio.sleep(0.02)
    return JSONResponse(STOCK)


async def order(request: Request) -> Response:
    wanted = await request.json()
    name, count = wanted["name"], wanted["count"]
    await anyio.sleep(0.05)
    if STOCK.get(name, 0) < count:
        return JSONResponse({"error": "sold out"}, status_code=409)
    STOCK[name] -= count
    request.app.state.orders.append(wanted)
    return JSONResponse({"left": STOCK[name]}, status_code=201)


async def export(request: Request) -> Response:
    async def lines() -> AsyncIterator[str]:
        for name, count in STOCK.items():
            await anyio.sleep(0.01)
            yield f"{name},{count}\n"

    return StreamingResponse(lines(), media_type="text/csv")


app = Starlette(
    routes=[
        Route("/products", products),
        Route("/orders", order, methods=["POST"]),
        Route("/export", export),
    ],
    lifespan=lifespan,
)
