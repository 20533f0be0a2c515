"""The client: one object a tool, one call an event."""

from __future__ import annotations

import os
import sys
import time

from . import _connect, _line
from ._consent import gather
from ._consent.eyes import Eyes
from ._consent.facts import PROJECT, USER
from ._consent.variables import DO_NOT_TRACK
from ._manifest import BY_TOOL, NOT_REQUIRED, REQUIRED, Manifest
from ._places import SYSTEM_SOCKET, Places, of_this_process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ._consent.facts import Decision, Fact
    from ._record import Recording

    Event = dict[str, Any]

#: For connecting and writing together, a full backlog included.
DEADLINE = 0.020
#: Until then, the sockets that did not take an event in time are not asked.
_wedged_until: dict[tuple[str, ...], float] = {}
#: What a test looks at in place of the daemon (`telemetryd.testing`).
_recorder: list[Callable[[Event], bool]] = []


def _is_control(letter: str) -> bool:
    return letter < " " or "\x7f" <= letter < "\xa0"


class _Seen:
    """What a process saw of consent at one moment, and whether it still holds."""

    def __init__(self, telemetry: Telemetry, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self.key = _key(telemetry)
        self.eyes = Eyes()
        self.places: Places = of_this_process(telemetry._environment())
        self.gathered = gather.Gathered(telemetry.name, self.places, self.eyes, telemetry.manifest)
        self.decision: Decision = self.gathered.decide(telemetry.project_dir, telemetry.consent)
        self.denial: Fact | None = gather.denial(self.decision)
        self.projects = self.gathered.project_names(telemetry.project_dir)
        registered = self.gathered.registered
        self.manifest = registered.manifest if registered else None
        self.register = _has_to_register(telemetry.manifest, registered)
        #: Whether the daemon was told of the denial.
        self.told = False

    def holds(self, telemetry: Telemetry, environment: Mapping[str, str]) -> bool:
        return environment == self.environment and self.key == _key(telemetry) and self.eyes.unchanged()


def _key(telemetry: Telemetry) -> tuple[object, ...]:
    try:
        working = os.getcwd()
    except OSError:
        working = ""
    return (working, telemetry.project_dir, telemetry.consent)


def _has_to_register(own: Manifest | None, registered: gather.Registered | None) -> bool:
    """Whether the daemon has to be told the manifest that the tool brings."""
    if own is None or not own.may_register:
        return False
    if registered is None:
        return True
    return registered.origin == gather.REGISTERED and (
        registered.source == "registered" or registered.manifest.text != own.text
    )


class Telemetry:
    """What one tool reports with.

    Nothing here raises, prints, waits past its deadline or changes an exit code; where something cannot be done,
    it is not done. Nothing is kept open between two events, so that forks, threads and the end of the process
    need no care.

    :param name: the tool's name, as in its manifest.
    :param manifest: the manifest's text; :meth:`from_manifest` reads it from a file.
    :param version: the tool's version.
    :param project_dir: where the files of the project are looked for; the working directory unless given.
    :param project: a key that the tool has for its project, in place of where its files are. Stored and sent only as
        a keyed hash.
    :param user: a key that the tool has for its user. Stored and sent only as a keyed hash.
    :param consent: what the tool's own flag said (``--telemetry=no``); ``None`` where it was not given.
    :param before_send: gets each event as a dictionary with ``event`` and ``properties``, and returns it, changed
        or not; what it returns that is false, or what it raises, keeps the event back.
    :param deadline: seconds for connecting and writing together.
    """

    def __init__(
        self,
        name: str,
        manifest: str | None = None,
        *,
        version: str | None = None,
        project_dir: str | os.PathLike[str] | None = None,
        project: str | None = None,
        user: str | None = None,
        consent: bool | None = None,
        before_send: Callable[[Event], Event | None] | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        self.name = name
        self._text = manifest
        self._manifest: Manifest | None = None
        self._problems: list[str] = []
        self.version = version
        self.project_dir = None if project_dir is None else os.fspath(project_dir)
        self.project = project
        self.user = user
        self.consent = consent
        #: Whether the tool's user has told it to report elsewhere: then the daemon declines, and nothing waits.
        self.redirected = False
        self.before_send = before_send
        self.deadline = deadline
        self._seen: _Seen | None = None
        self._constant: str | None = None

    @classmethod
    def from_manifest(cls, name: str, manifest: str | os.PathLike[str], **options: Any) -> Telemetry:
        """A client whose manifest stands in a file.

        A relative path is looked for beside the file that calls. The other arguments are those of
        :class:`Telemetry`. A file that cannot be read is one of the ``problems``, and nothing is ever sent.
        """
        problem = text = None
        try:
            path = os.fspath(manifest)
            if not os.path.isabs(path):
                caller = sys._getframe(1).f_globals.get("__file__")
                path = os.path.join(os.path.dirname(os.path.abspath(caller)), path) if caller else path
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except Exception as error:
            problem = f"{manifest}: {error}"
        telemetry = cls(name, text, **options)
        if problem:
            telemetry._problems.append(problem)
        return telemetry

    @property
    def manifest(self) -> Manifest | None:
        """The manifest that the tool brings, if it is in order. It is read when it is needed."""
        if self._text is not None:
            text, self._text = self._text, None
            self._manifest = self._parsed(text)
        return self._manifest

    @property
    def problems(self) -> list[str]:
        """What is wrong with what the tool brought: for its authors' tests, never for its users."""
        # Reading the manifest finds them.
        self.manifest  # noqa: B018
        return self._problems

    def event(self, event: str, /, **properties: Any) -> bool:
        """Reports that ``event`` happened.

        ``True``: it was handed to the daemon, or kept for it. ``False``: it was not, and nothing says so to the
        user: consent was denied, nobody answered and nothing may wait on the disk, or there was no time left.
        """
        try:
            return self._event(event, properties)
        except Exception:
            return False

    def mask(self, argv: Sequence[str], cli: object) -> str:
        """The command line as it may be reported: the tool's name, its commands and options; every other word
        becomes ``*****``.

        :param argv: the arguments, without the program.
        :param cli: a click group or command, a typer app, an argparse parser, or a vocabulary. Commands that it
            loads lazily stay unloaded unless they are on the way that ``argv`` takes and were loaded already.
        """
        from ._spool import Masked

        try:
            from ._masking import mask_command
            from ._vocabulary import vocabulary

            words = list(argv)
            return Masked(" ".join([self.name, *mask_command(words, vocabulary(cli, words))]))
        except Exception:
            return Masked(self.name)

    def attach(self, cli: object, *, event: str = "command", subcommand: bool = True) -> None:
        """Adds to a click group, a typer app or an argparse parser: the record of each command (``command``, masked;
        ``duration`` in seconds; ``exit_status``), the manifest's notice before the first, and the subcommand
        ``telemetry on|off|status|show``.

        For argparse, attach the parser whose ``parse_args`` is called, after its subcommands were added. A typer app
        of a single command gets no subcommand, for its own would then have to be named.
        """
        try:
            from ._attach import attach

            attach(self, cli, event, subcommand)
        except Exception as error:
            self._problems.append(f"attach: {error}")

    def command(self, cli: object, argv: Sequence[str] | None = None, *, event: str = "command") -> Recording:
        """A context manager that reports the command that runs inside it. ``argv``: its arguments, without the
        program; those of this process unless given."""
        from ._record import Recording

        return Recording(self, cli, argv, event)

    def decision(self) -> Decision | None:
        """What this process sees of consent, with the chain of reasons; ``None`` where it cannot be told."""
        try:
            return self._look().decision
        except Exception:
            return None

    def notice(self) -> str | None:
        """The text that the user has to see before anything is collected; ``None`` where there is none, or where
        it was shown already. Handing it over reports it as shown: show it."""
        try:
            return self._notice()
        except Exception:
            return None

    def ask(self, text: str | None = None, *, save: str = "user") -> bool | None:
        """Asks the user at the terminal whether the tool may report, for a tool that wants a question, and remembers
        the answer. ``None``: there is no terminal or no answer, or somebody above the user has said no; nothing is
        recorded then.

        :param text: what is said first; the manifest's notice unless given.
        :param save: ``"user"``, or ``"project"``: in the first file that the manifest names.
        """
        try:
            from ._ask import ask

            return ask(self, text, save)
        except Exception:
            return None

    # What follows may raise: the methods above stand between it and the tool.

    def _parsed(self, text: str) -> Manifest | None:
        try:
            manifest = Manifest(text)
            if manifest.name == self.name:
                return manifest
            self._problems.append(f"the manifest is of {manifest.name!r}, not of {self.name!r}")
        except Exception as error:
            self._problems.append(f"manifest: {error}")
        return None

    @staticmethod
    def _environment() -> dict[str, str]:
        return dict(os.environ)

    def _look(self) -> _Seen:
        # The bytes below `os.environ`: compared as they are, without decoding each.
        raw: Mapping[Any, Any] = getattr(os.environ, "_data", os.environ)
        seen = self._seen
        if seen is None or not seen.holds(self, raw):
            seen = self._seen = _Seen(self, raw)
        return seen

    def _event(self, event: str, properties: dict[str, Any]) -> bool:
        if DO_NOT_TRACK in os.environ or self.problems:
            return False
        seen = self._look()
        if seen.denial is not None:
            self._tell_denial(seen)
            return False
        if self.before_send is not None:
            changed = self.before_send({"event": event, "properties": properties})
            if not changed:
                return False
            event, properties = changed["event"], dict(changed["properties"])
        if not 0 < len(event.encode("utf-8", "replace")) <= 128 or any(map(_is_control, event)):
            return False
        if _recorder:
            return _recorder[-1]({"tool": self.name, "event": event, "properties": properties})
        if not _connect.POSSIBLE:
            return False
        return self._hand_over(seen, event, properties)

    def _tell_denial(self, seen: _Seen) -> None:
        """A denial of the project erases what is queued of that project, and one in the user's own files is news to
        a machine-wide daemon, which never opens a home. Said once a process, unless the environment denies."""
        denial, told = seen.denial, seen.told
        seen.told = True
        if told or denial is None or denial.layer not in (PROJECT, USER) or not _connect.POSSIBLE or _recorder:
            return
        sockets = seen.places.sockets
        projects = [""]
        if denial.layer == PROJECT:
            names = [_line.cut(self.project, 256)] if self.project else []
            projects = [f',"project":{_line.text(name)}' for name in names + seen.projects]
        elif not os.path.exists(SYSTEM_SOCKET):
            return
        else:
            sockets = [SYSTEM_SOCKET]
        until = time.monotonic() + self.deadline
        found = _connect.connect(sockets, until)
        if isinstance(found, str):
            return
        try:
            deny = f'{{"op":"consent","action":"deny","tool":{_line.text(self.name)}'
            found.send("".join(f"{deny}{project}}}\n" for project in projects).encode("ascii"), until)
        finally:
            found.close()

    def _hand_over(self, seen: _Seen, event: str, properties: dict[str, Any]) -> bool:
        sockets = seen.places.sockets
        outcome: _connect.Connection | str = _connect.WEDGED
        milliseconds, fraction = _line.now()
        id = _line.uuid7(milliseconds, fraction)
        if time.monotonic() >= _wedged_until.get(tuple(sockets), 0.0) and not self._wedged(seen):
            line = self._line(seen, event, _line.members(properties), f',"id":"{id}"')
            if len(line) > _line.MAX_LINE:
                return False
            # From here on the tool waits for somebody else.
            until = time.monotonic() + self.deadline
            outcome = _connect.connect(sockets, until)
            if not isinstance(outcome, str):
                outcome = self._say(seen, outcome, line, until)
                if outcome == _connect.SENT:
                    return True
            if outcome == _connect.WEDGED:
                self._note_wedged(seen)
        if outcome == _connect.FORBIDDEN:
            return False
        kept = self._keep(seen, event, properties, id, milliseconds)
        if outcome == _connect.NOBODY:
            self._start(seen)
        return kept

    def _line(self, seen: _Seen, event: str, properties: str, more: str) -> bytes:
        from ._spool import claim

        if self._constant is None:
            from ._context import context

            named = seen.manifest.context if seen.manifest else None
            facts = {
                name: fact for name, fact in context(self._environment()).items() if named is None or name in named
            }
            self._constant = f'"context":{_line.value(facts)}'
            if self.version:
                self._constant += f',"version":{_line.text(_line.cut(self.version, 64))}'
        said = claim(seen.decision)
        return (
            f'{{"tool":{_line.text(self.name)},"event":{_line.text(event)},{self._constant}{said}{more},'
            f'"properties":{properties}}}\n'
        ).encode("ascii")

    def _say(self, seen: _Seen, connection: _connect.Connection, line: bytes, until: float) -> str:
        try:
            project = self.project or (seen.projects[0] if seen.projects else None)
            keys = "".join(
                f',"{name}":{_line.text(_line.cut(key, 256))}'
                for name, key in (("project", project), ("user", self.user))
                if key
            )
            if self.redirected:
                keys += ',"redirected":true'
            data = line[:-2] + f'{keys},"ack":"none"}}\n'.encode("ascii")
            machine_wide = connection.path == SYSTEM_SOCKET
            register = not machine_wide and self._registration(seen)
            if register:
                # What stands behind it is judged by it, whether or not its answer is waited for.
                data = register + data
            if not connection.send(data, until):
                return _connect.WEDGED
            seen.register = False
            if not machine_wide:
                machine_wide = connection.peer_uid() not in (None, seen.places.uid)
            if machine_wide and seen.places.state:
                from ._spool import Spool

                Spool(seen.places.state).hand_over(connection, until)
            elif seen.places.state and not register:
                from ._start import replace_older

                replace_older(connection, seen.places.state, until)
            return _connect.SENT
        except (BlockingIOError, TimeoutError):
            return _connect.WEDGED
        except OSError:
            return _connect.NOBODY
        finally:
            connection.close()

    def _registration(self, seen: _Seen) -> bytes:
        """The line that tells a user's daemon the manifest that the tool brings. Needed once on a machine: the
        daemon keeps it where every later process finds it."""
        if not seen.register or not self.manifest:
            return b""
        line = f'{{"op":"register","manifest":{_line.text(self.manifest.text)}}}\n'.encode("ascii")
        return line if len(line) <= _line.MAX_LINE else b""

    def _may_wait(self, seen: _Seen) -> bool:
        from ._context import in_ci
        from ._spool import may_wait

        manifest = seen.manifest
        if manifest is None or seen.places.state is None or self.redirected:
            return False
        if manifest.notice == REQUIRED and not os.path.exists(self._marker(seen)):
            return False
        environment = seen.places.environment
        if manifest.ci == "skip" and in_ci(environment):
            return False
        return may_wait(seen.decision, manifest, seen.gathered.machine.has_policies, environment)

    def _keep(self, seen: _Seen, event: str, properties: dict[str, Any], id: str, milliseconds: int) -> bool:
        if not self._may_wait(seen) or seen.manifest is None:
            return False
        from ._spool import listed

        known = listed(properties, seen.manifest, event)
        if known is None:
            return False
        line = self._line(seen, event, known, f',"id":"{id}","time":{milliseconds}')
        if len(line) > _line.MAX_LINE:
            return False
        spool = self._spool(seen)
        if seen.register and self.manifest:
            # Whoever takes the event over has to know what it is judged by.
            spool.bring(self.name, self.manifest.text)
        return bool(spool.append(self.name, id, line))

    def _spool(self, seen: _Seen) -> Any:
        from ._spool import Spool

        spool = getattr(seen, "spool", None)
        if spool is None:
            spool = Spool(seen.places.state or "")
            seen.spool = spool  # type: ignore[attr-defined]
        return spool

    def _wedged(self, seen: _Seen) -> bool:
        return bool(seen.places.state) and self._spool(seen).wedged()

    def _note_wedged(self, seen: _Seen) -> None:
        from ._spool import WEDGED_FOR

        _wedged_until[tuple(seen.places.sockets)] = time.monotonic() + WEDGED_FOR
        if self._may_wait(seen):
            self._spool(seen).note_wedged()

    def _start(self, seen: _Seen) -> None:
        from . import _start

        environment = seen.places.environment
        wanted = _start.wanted(environment, seen.gathered.machine.no_start_on_demand)
        if not wanted or not seen.places.state or not self._may_wait(seen):
            return

        def answers() -> bool:
            found = _connect.connect(seen.places.sockets, time.monotonic() + self.deadline)
            if isinstance(found, str):
                return found != _connect.NOBODY
            found.close()
            return True

        _start.start(seen.places.state, environment, answers)

    def _marker(self, seen: _Seen) -> str:
        return f"{seen.places.state}/noticed/{self.name}"

    def _notice(self) -> str | None:
        if DO_NOT_TRACK in os.environ or self.problems or not _connect.POSSIBLE:
            return None
        seen = self._look()
        manifest = seen.manifest
        if manifest is None or manifest.notice in (NOT_REQUIRED, BY_TOOL) or not manifest.notice_text:
            return None
        if seen.denial is not None or not seen.places.state or os.path.exists(self._marker(seen)):
            return None
        if not self._report_notice(seen):
            marker = self._marker(seen)
            os.makedirs(os.path.dirname(marker), 0o700, exist_ok=True)
            os.close(os.open(marker, os.O_WRONLY | os.O_CREAT, 0o600))
        return manifest.notice_text

    def _report_notice(self, seen: _Seen) -> bool:
        """Tells the daemon; ``False``: none has answered for it."""
        until = time.monotonic() + self.deadline
        found = _connect.connect(seen.places.sockets, until)
        if isinstance(found, str):
            return False
        try:
            noticed = f'{{"op":"consent","action":"noticed","tool":{_line.text(self.name)}}}\n'
            lines = self._registration(seen) + noticed.encode("ascii")
            number = lines.count(b"\n")
            if not found.send(lines, until):
                return False
            answers = found.answers(number, until)
            return len(answers) == number and b'"ok":true' in answers[-1]
        except OSError:
            return False
        finally:
            found.close()
