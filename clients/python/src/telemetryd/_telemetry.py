"""The client: one object a tool, one call an event."""

from __future__ import annotations

import os
import sys

from . import _connect, _way
from ._consent.variables import DO_NOT_TRACK
from ._manifest import Manifest
from ._seen import Seen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from ._consent.facts import Decision
    from ._record import Recording

    Event = dict[str, Any]

#: For connecting and writing together, a full backlog included.
DEADLINE = 0.020
#: What a test looks at in place of the daemon (`telemetryd.testing`).
_recorder: list[Callable[[Event], bool]] = []


def _is_control(letter: str) -> bool:
    return letter < " " or "\x7f" <= letter < "\xa0"


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
        self._seen: Seen | None = None
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
            from ._notice import notice

            return notice(self)
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

    def _look(self) -> Seen:
        # The bytes below `os.environ`: compared as they are, without decoding each.
        raw: Mapping[Any, Any] = getattr(os.environ, "_data", os.environ)
        seen = self._seen
        if seen is None or not seen.holds(self, raw):
            seen = self._seen = Seen(self, raw)
        return seen

    def _event(self, event: str, properties: dict[str, Any]) -> bool:
        if DO_NOT_TRACK in os.environ or self.problems:
            return False
        seen = self._look()
        if seen.denial is not None:
            if not _recorder:
                _way.tell_denial(self, seen)
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
        return _way.hand_over(self, seen, event, properties)
