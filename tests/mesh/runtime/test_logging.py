import io
import json

import pytest

from mesh.runtime.logging import open_log


def lines(output: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_json_lines_carry_utc_time_level_and_fields() -> None:
    output = io.StringIO()
    log = open_log(wall_clock=lambda: 1_700_000_000.25, output=output).bind(host="web-1")
    log.info("listener.opened", port=80)
    log.debug("pump.failed")
    assert lines(output) == [
        {
            "host": "web-1",
            "port": 80,
            "event": "listener.opened",
            "level": "info",
            "timestamp": "2023-11-14T22:13:20.250000Z",
        }
    ]


@pytest.mark.parametrize("form", ["json", "console"])
def test_secrets_never_reach_the_output(form: str) -> None:
    output = io.StringIO()
    log = open_log(wall_clock=lambda: 0.0, output=output, form=form)  # type: ignore[arg-type]  # one of two literals
    pem = "-----BEGIN EC PRIVATE KEY-----\nhunter2\n-----END EC PRIVATE KEY-----\n"
    log.info(
        "token.issued",
        token="hunter2",
        dataplane_token=b"hunter2",
        headers={"Authorization": "Bearer hunter2", "accept": "*/*"},
        attempts=[{"private_key_pem": "hunter2"}],
        body=pem,
        bytes_body=pem.encode(),
        token_ttl_s=3600,
    )
    assert "hunter2" not in output.getvalue()
    assert "3600" in output.getvalue() and "*/*" in output.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_tracebacks_are_written_without_local_variables(form: str) -> None:
    output = io.StringIO()
    log = open_log(wall_clock=lambda: 0.0, output=output, form=form)  # type: ignore[arg-type]  # one of two literals
    secret = "".join(("hun", "ter2"))
    try:
        raise LookupError(len(secret))
    except LookupError as error:
        log.error("pump.crashed", exc_info=error)
    assert "LookupError" in output.getvalue() and "hunter2" not in output.getvalue()


def test_two_loggers_do_not_share_settings() -> None:
    quiet, loud = io.StringIO(), io.StringIO()
    open_log(wall_clock=lambda: 0.0, output=quiet, level="error").info("actor.restarted")
    open_log(wall_clock=lambda: 0.0, output=loud, level="debug").debug("actor.restarted")
    assert quiet.getvalue() == "" and lines(loud)[0]["event"] == "actor.restarted"
