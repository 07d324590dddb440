from pathlib import Path
from typing import Any

import pytest

from mesh.model.errors import ConfigError
from mesh.runtime.environment import TlsContext
from mesh.runtime.reactor import EpollReactor
from mesh.runtime.real import real_environment
from mesh.runtime.real.randomness import SystemRandomness


class NoTls:
    """Stands where mesh.identity puts OpenSSL."""

    def client(self, config: object) -> TlsContext:
        raise NotImplementedError

    def server(self, config: object) -> TlsContext:
        raise NotImplementedError


def compose(log: Any, data_dir: Path) -> Any:
    reactor = EpollReactor(log=log)
    reactor.close()
    return real_environment("web-1", data_dir=str(data_dir), reactor=reactor, tls=NoTls(), log=log, seed=7)


async def test_the_environment_works_and_logs_its_host(tmp_path: Path, log: Any, log_capture: Any) -> None:
    environment = compose(log, tmp_path / "data")
    await environment.disk.write("file", b"x")
    assert (tmp_path / "data" / "file").read_bytes() == b"x"
    environment.bind(actor="probe").log.info("probe.started")
    assert log_capture.entries == [{"host": "web-1", "actor": "probe", "event": "probe.started", "log_level": "info"}]
    assert environment.wall_clock() > 1_700_000_000


def test_a_data_folder_that_cannot_be_is_named(tmp_path: Path, log: Any) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot use the data folder .*/file"):
        compose(log, tmp_path / "file")


def test_streams_of_chance_depend_on_their_key_and_seed_alone() -> None:
    one, other = SystemRandomness(7), SystemRandomness(7)
    other.stream("something", "else").random()
    assert one.stream("jitter", 1).random() == other.stream("jitter", 1).random()
    assert one.stream("jitter", 1) is one.stream("jitter", 1)
    assert one.stream("jitter", 2).getrandbits(64) != one.stream("jitter", 3).getrandbits(64)
    assert SystemRandomness().stream("a").getrandbits(64) != SystemRandomness().stream("a").getrandbits(64)
