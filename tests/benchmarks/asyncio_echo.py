"""The echo of `echo.py` on a simulator for asyncio, run by `peers.py` where there is one; prints messages per CPU second.

`python asyncio_echo.py simloop|simloom PAIRS ECHOES`. Needs nothing of this project.
"""

import asyncio
import sys
import time

MESSAGE = bytes(64)
LATENCY_S = 0.001
PORT = 7


class Stopwatch:
    """CPU time from the first message to the last."""

    def __init__(self, running):
        self.running = running
        self.began = self.took_s = 0.0


async def serve(name):
    async def answer(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, name, PORT)
    async with server:
        await server.serve_forever()


async def play(server, echoes, watch):
    await asyncio.sleep(0.1)
    reader, writer = await asyncio.open_connection(server, PORT)
    await asyncio.sleep(1.0)
    watch.began = watch.began or time.process_time()
    for _ in range(echoes):
        writer.write(MESSAGE)
        await writer.drain()
        await reader.readexactly(len(MESSAGE))
    watch.running -= 1
    if not watch.running:
        watch.took_s = time.process_time() - watch.began
    writer.close()
    await asyncio.sleep(1.0)  # The server's end is to close by itself.


def with_simloop(pairs, echoes):
    import simloop

    watch = Stopwatch(pairs)

    @simloop.sim_test(seeds=1)
    async def echo():
        net = asyncio.get_running_loop().net
        net.set_defaults(latency=(LATENCY_S, LATENCY_S))
        for number in range(pairs):
            net.host(f"server-{number}").create_task(serve(f"server-{number}"))
        players = [net.host(f"client-{n}").create_task(play(f"server-{n}", echoes, watch)) for n in range(pairs)]
        await asyncio.gather(*players)

    echo()
    return watch


def with_simloom(pairs, echoes):
    import simloom

    watch = Stopwatch(pairs)

    async def echo(world):
        world.net.set_latency(LATENCY_S, LATENCY_S)
        players = []
        for number in range(pairs):
            world.host(f"server-{number}").spawn(lambda n=number: serve(f"server-{n}"))
        for n in range(pairs):
            players.append(world.host(f"client-{n}").spawn(lambda n=n: play(f"server-{n}", echoes, watch)))
        await asyncio.gather(*players)

    simloom.run(echo, seed=1)
    return watch


if __name__ == "__main__":
    _, simulator, pairs, echoes = sys.argv
    stopwatch = {"simloop": with_simloop, "simloom": with_simloom}[simulator](int(pairs), int(echoes))
    print(2 * int(pairs) * int(echoes) / stopwatch.took_s)
