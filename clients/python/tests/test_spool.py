"""What may wait on the disk while nobody answers, and how much of it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from telemetryd import Telemetry, _line, _spool, _way
from telemetryd._spool import Spool
from telemetryd.testing import Daemon, Home, Sink

MANIFEST = """
name = "mytool"
consent = "opt-out"
notice_required = "tool"
context = ["runtime"]
[events.ran]
properties.n = "integer"
properties.share = "number"
properties.ok = "boolean"
properties.format = { type = "string", enum = ["csv", "json"], else = "other" }
properties.strict = { type = "string", enum = ["csv"] }
properties.free = "string"
properties.secret = { type = "string", enum = ["x"], hash = true }
properties.command = { type = "string", mask = "command" }
properties."types.*" = { type = "integer", keys = { prefix = ["pandas."], else = "custom" } }
properties."open.*" = "integer"
[events."any *"]
properties.n = "integer"
"""


def waiting(home: Home) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(home.state.glob("spool/*.ndjson"))]


def test_numbers_booleans_enum_values_and_masked_commands_wait_and_nothing_else(home: Home) -> None:
    telemetry = Telemetry("mytool", MANIFEST, version="1.0", project="their project", user="alice")
    before = time.time_ns() // 1_000_000
    command = telemetry.mask(["run", "--env", "prod"], {"run": {"--env": 1}})
    assert telemetry.event(
        "ran",
        **{"types.pandas.CSV": 2, "types.mine.Secret": 1, "types.mine.Other": 1, "open.mine": 1},
        n=3,
        share=0.5,
        ok=True,
        format="my format",
        strict="mine",
        free="text",
        secret="x",
        command=command,
        unlisted=1,
    )
    (event,) = waiting(home)
    assert event["properties"] == {
        "types.pandas.CSV": 2,
        "types.custom": 2,
        "n": 3,
        "share": 0.5,
        "ok": True,
        "format": "other",
        "command": "mytool run --env *****",
    }
    assert set(event) == {"tool", "event", "id", "time", "version", "context", "properties"}
    assert list(event["context"]) == ["runtime"]
    assert before <= event["time"] <= time.time_ns() // 1_000_000
    (path,) = home.state.glob("spool/*.ndjson")
    assert path.name == f"{event['id']}.mytool.ndjson"
    assert (home.state / "spool/mytool.toml").read_text() == MANIFEST, "what it is judged by"
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700


def test_values_of_other_types_than_listed_and_a_command_that_was_not_masked_do_not_wait(home: Home) -> None:
    telemetry = Telemetry("mytool", MANIFEST)
    assert telemetry.event("ran", n=True, share="1", ok=1, format=7, command="mytool run secret")
    (event,) = waiting(home)
    assert event["properties"] == {}


@pytest.mark.parametrize(
    ("why", "manifest", "files", "environment", "event"),
    [
        ("no manifest", None, {}, {}, "ran"),
        ("an event that is not listed", MANIFEST, {}, {}, "other"),
        ("an event listed by a pattern", MANIFEST, {}, {}, "any thing"),
        ("opt-in, and nobody has spoken", MANIFEST.replace("opt-out", "opt-in"), {}, {}, "ran"),
        ("a notice that was not shown", MANIFEST.replace('"tool"', "true"), {}, {}, "ran"),
        ("silently on by itself", MANIFEST.replace('notice_required = "tool"', ""), {}, {}, "ran"),
        ("a policy, whatever it says", MANIFEST, {"machine/policy.d/README": ""}, {}, "ran"),
        ("an empty policy", MANIFEST, {"machine/policy.d/1.toml": ""}, {}, "ran"),
        ("the machine", MANIFEST, {"machine/opt-out.d/mytool": ""}, {}, "ran"),
        ("the user", MANIFEST, {"config/telemetryd/consent.toml": "telemetry = false"}, {}, "ran"),
        ("a user who calls by sudo", MANIFEST, {}, {"SUDO_UID": "0"}, "ran"),
        ("CI, where the manifest skips it", 'ci = "skip"' + MANIFEST, {}, {"CI": "true"}, "ran"),
    ],
)
def test_where_consent_is_not_certain_nothing_waits(
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    why: str,
    manifest: str | None,
    files: dict[str, str],
    environment: dict[str, str],
    event: str,
) -> None:
    for path, text in files.items():
        home.write(path, text)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert not Telemetry("mytool", manifest).event(event, n=1), why
    assert not (home.state / "spool").exists()


def test_an_allow_of_the_user_or_the_invocation_lets_an_opt_in_tool_wait(home: Home) -> None:
    manifest = MANIFEST.replace("opt-out", "opt-in")
    assert Telemetry("mytool", manifest, consent=True).event("ran", n=1)
    (event,) = waiting(home)
    assert event["consent"] == {"layer": "invocation", "verdict": "allow", "source": "the tool's own flag"}
    home.write(home.config / "consent.toml", "[tools]\nmytool = true\n")
    assert Telemetry("mytool", manifest).event("ran", n=2)
    assert "consent" not in waiting(home)[1]


def test_a_manifest_that_is_installed_counts_before_the_one_that_the_tool_brings(home: Home) -> None:
    home.write(home.root / "data/telemetryd/tools.d/mytool.toml", MANIFEST.replace("opt-out", "opt-in"))
    assert not Telemetry("mytool", MANIFEST).event("ran", n=1)


def line(id: str, size: int = 100) -> bytes:
    text = f'{{"tool":"mytool","event":"ran","id":"{id}","x":"'
    return (text + "x" * (size - len(text) - 3) + '"}\n').encode()


def fill(spool: Spool, number: int, size: int = 100, age_ms: int = 0) -> list[str]:
    now = time.time_ns() // 1_000_000 - age_ms
    ids = [_line.uuid7(now, at * 1000) for at in range(number)]
    for id in ids:
        assert spool.append("mytool", id, line(id, size))
    return ids


def held(home: Home) -> list[str]:
    return sorted(path.name[:36] for path in home.state.glob("spool/*.ndjson"))


def test_a_thousand_events_wait_and_the_oldest_makes_room_and_is_counted(home: Home) -> None:
    ids = fill(Spool(str(home.state)), 1000)
    more = fill(Spool(str(home.state)), 3)
    assert held(home) == sorted(ids[3:] + more)
    assert (home.state / "spool/mytool.dropped").stat().st_size == 3


def test_a_mebibyte_waits_and_the_oldest_makes_room(home: Home) -> None:
    spool = Spool(str(home.state))
    ids = fill(spool, 18, size=60_000)
    assert held(home) == sorted(ids[1:])
    assert sum(path.stat().st_size for path in home.state.glob("spool/*.ndjson")) <= 1024 * 1024
    assert (home.state / "spool/mytool.dropped").stat().st_size == 1


def test_after_thirty_days_an_event_is_removed_and_counted_as_such(home: Home) -> None:
    old = Spool(str(home.state))
    old._make_room = lambda more: None  # type: ignore[method-assign]
    fill(old, 2, age_ms=31 * 24 * 3600 * 1000)
    young = fill(Spool(str(home.state)), 1)
    assert held(home) == young
    assert (home.state / "spool/mytool.expired").stat().st_size == 2
    assert not (home.state / "spool/mytool.dropped").exists()


def test_what_a_dead_process_was_writing_goes_and_what_is_nobodys_stays(home: Home) -> None:
    (home.state / "spool").mkdir(parents=True, mode=0o700)
    left, fresh = (home.state / f"spool/.{_line.uuid7(at)}.tmp" for at in (1, 2))
    other = home.write(home.state / "spool/notes.txt", "mine")
    for path in (left, fresh):
        path.write_text("half a li")
    os.utime(left, (0, 0))
    fill(Spool(str(home.state)), 1)
    assert not left.exists() and fresh.exists() and other.exists()


@pytest.mark.parametrize("trap", ["link", "others", "file"])
def test_a_spool_that_is_not_the_users_own_is_not_used(home: Home, tmp_path: Path, trap: str) -> None:
    home.state.mkdir(parents=True)
    spool = home.state / "spool"
    if trap == "link":
        spool.symlink_to(tmp_path)
    elif trap == "file":
        spool.write_text("")
    else:
        spool.mkdir()
        spool.chmod(0o777)
    assert not Telemetry("mytool", MANIFEST).event("ran", n=1)
    assert list(tmp_path.iterdir()) == []


def test_a_user_who_withdraws_empties_the_spool_of_that_tool(home: Home) -> None:
    spool = Spool(str(home.state))
    fill(spool, 3)
    other = _line.uuid7(time.time_ns() // 1_000_000)
    spool.append("other", other, line(other))
    assert spool.purge("mytool") == 3
    assert held(home) == [other]


def test_a_machine_wide_daemon_is_handed_the_spool_after_the_clients_own_event(
    home: Home, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = 'name = "mytool"\nconsent = "opt-out"\nevents = "any"\n'
    home.write("data/telemetryd/tools.d/mytool.toml", manifest)
    ids = fill(Spool(str(home.state)), 700, size=200)
    torn = home.write(home.state / f"spool/{_line.uuid7(1)}.mytool.ndjson", "half a li")
    # A daemon of somebody else's, found where a machine-wide one would be: it never looks into this home.
    with Home() as machine:
        machine.write("data/telemetryd/tools.d/mytool.toml", manifest)
        monkeypatch.setattr(_way, "SYSTEM_SOCKET", str(machine.socket))
        monkeypatch.setenv("TELEMETRYD_SOCKET", str(machine.socket))
        with Daemon(machine, sink):
            telemetry = Telemetry("mytool", deadline=5.0)
            assert telemetry.event("own")
            left = held(home)
            assert 300 < len(left) < 400, "64 KiB a call"
            assert left == sorted(ids)[-len(left) :], "oldest first"
            while held(home):
                assert telemetry.event("own")
            events = sink.wait(700)
    assert len({event["id"] for event in events if event["event"] == "ran"}) == 700
    assert not torn.exists()


def test_of_what_was_handed_over_only_what_was_answered_for_is_removed(home: Home) -> None:
    class Deaf:
        def send(self, data: bytes, until: float) -> bool:
            return True

        def answers(self, number: int, until: float) -> list[bytes]:
            return [b'{"ok":true,"status":"queued"}', b'{"ok":false,"error":"queue_full"}', b'{"ok":false,"error":"x"}']

    ids = fill(Spool(str(home.state)), 5)
    Spool(str(home.state)).hand_over(Deaf(), 0.0)  # type: ignore[arg-type]
    assert held(home) == sorted([ids[1], ids[3], ids[4]])


def test_ids_are_in_order_and_of_version_seven() -> None:
    ids = [_line.uuid7(*_line.now()) for _ in range(1000)]
    assert [id[:18] for id in ids] == sorted(id[:18] for id in ids)
    assert {id[14] for id in ids} == {"7"} and {id[19] for id in ids} <= set("89ab")
    assert all(_spool._tool_of(f"{id}.my.tool.ndjson") == "my.tool" for id in ids)
