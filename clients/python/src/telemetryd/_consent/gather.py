"""Which files say what, in which order; from them the facts of layers 1 to 5 and the decision."""

from __future__ import annotations

from .._manifest import Manifest
from .._places import MACHINE_CONFIG, PACKAGE_MANIFESTS, Places
from . import machine, own_files, user, variables
from .eyes import DIRECTORY, FILE, Eyes
from .facts import INVOCATION, UNREGISTERED, USER, Decision, Fact, decide, spoken
from .toml_lines import Mistake

#: Where a manifest came from; the first place that has one wins, whole.
ADMIN, PACKAGE, USER_PLACE, REGISTERED = "admin", "package", "user", "registered"


class Registered:
    """A manifest in force, and where it came from."""

    __slots__ = ("manifest", "origin", "source")

    def __init__(self, manifest: Manifest, origin: str, source: str) -> None:
        self.manifest = manifest
        self.origin = origin
        self.source = source


class Gathered:
    """What this process can see of consent for one tool."""

    def __init__(self, tool: str, places: Places, eyes: Eyes, own: Manifest | None = None) -> None:
        """Reads the files. ``own``: the manifest that the tool brings itself; it counts where no place has one,
        and only if the tool could register it."""
        self.tool = tool
        self.places = places
        self.eyes = eyes
        self.machine = machine.read(places.machine, places.uid, eyes)
        registered = _manifests(places, eyes, tool)
        if registered is None and own is not None and own.name == tool and own.may_register:
            registered = Registered(own, REGISTERED, "registered")
        if registered and self.machine.installed_manifests_only:
            registered = registered if registered.origin in (ADMIN, PACKAGE) else None
        #: The manifest that counts.
        self.registered = registered
        self.user, homes = _user(places, eyes)
        self.answers: list[Fact] = []
        if registered:
            for number, home in enumerate(homes):
                facts = own_files.of_user(registered.manifest.user_files, home, eyes)
                # Of another person (`sudo`) only a denial counts.
                self.answers += [fact for fact in facts if number == 0 or fact.verdict is False]

    def facts(self, project: str | None, invocation: bool | None) -> list[Fact]:
        """The facts of layers 1 to 5."""
        tool, manifest = self.tool, self.registered and self.registered.manifest
        facts = self.machine.facts(tool)
        facts += variables.facts(self.places.environment, manifest.variables if manifest else [])
        facts += self.user.facts(tool)
        facts += self.answers
        start = self._start(project)
        if start is not None and manifest:
            facts += own_files.of_project(
                manifest.project_files, manifest.user_files, start, self.places.home, self.eyes
            )
        if invocation is not None:
            said = f"consent = {invocation}"
            facts.append(Fact(INVOCATION, bool(invocation), "the tool's own flag", said))
        return spoken(facts)

    def project_names(self, project: str | None) -> list[str]:
        """What events of the project may call it, the usual name first: where its files are, and where it was looked
        for. At most 256 bytes of each, from its end, which tells most."""
        start = self._start(project)
        if start is None or self.registered is None:
            return []
        files = self.registered.manifest.project_files
        root = own_files.project_root(files, start, self.places.home, self.eyes)
        names = [] if root is None else list(dict.fromkeys((root, start)))
        return [name.encode("utf-8", "replace")[-256:].decode("utf-8", "ignore") for name in names]

    def _start(self, project: str | None) -> str | None:
        working = self.places.working
        return working if project is None else _joined(working, project)

    def decide(self, project: str | None = None, invocation: bool | None = None) -> Decision:
        """The decision, with the default of the manifest in force."""
        registered = self.registered
        default = registered.manifest.consent if registered else UNREGISTERED
        source = registered.source if registered else "no manifest"
        return decide(self.facts(project, invocation), default, source)


def denial(decision: Decision) -> Fact | None:
    """The first denial of layers 1 to 5: then nothing is said, not even to the daemon. What a manifest says when
    nobody speaks is not among it: the daemon may know more."""
    for fact in decision.chain[:-1]:
        if fact.verdict is False:
            return fact
    return None


def _joined(start: str | None, project: str) -> str:
    if project.startswith("/") or start is None:
        return project
    return f"{start.rstrip('/')}/{project}"


def _user(places: Places, eyes: Eyes) -> tuple[user.UserConsent, list[str]]:
    """The user's word, and the homes that have one; with sudo a denial of either user counts."""
    if places.config is None:
        word = user.UserConsent("consent.toml (nothing says where the home is)")
    else:
        word = user.read(f"{places.config}/consent.toml", eyes)
    homes = [places.home] if places.home else []
    if places.sudo_uid is not None:
        for uid in (places.sudo_uid, places.uid):
            home = _home_of(uid, eyes)
            if home is not None and home not in homes:
                word.narrow(user.read(f"{home}/.config/telemetryd/consent.toml", eyes))
                homes.append(home)
            elif home is None and uid == places.sudo_uid:
                unknown = user.UserConsent(f"consent.toml of uid {uid}")
                unknown.deny(None, "SUDO_UID names a user whose home /etc/passwd does not tell")
                word.narrow(unknown)
    return word, homes


def _home_of(uid: int | None, eyes: Eyes) -> str | None:
    """The home of a user, as ``/etc/passwd`` has it (passwd(5): the sixth field)."""
    found = eyes.look("/etc/passwd")
    for line in found.text.split("\n") if found.kind == FILE else ():
        fields = line.split(":")
        if len(fields) > 2 and fields[2] == str(uid):
            return fields[5] if len(fields) > 5 and fields[5].startswith("/") else None
    return None


def _manifests(places: Places, eyes: Eyes, tool: str) -> Registered | None:
    """The tool's manifest, of the first place that has it: one that cannot be read leaves its tool (by the file's
    name) without any, rather than with one from a lower place."""
    directories = [(ADMIN, f"{MACHINE_CONFIG}/tools.d"), (PACKAGE, PACKAGE_MANIFESTS)]
    if places.manifests:
        directories += [(USER_PLACE, places.manifests), (REGISTERED, f"{places.state}/tools.d")]
    for origin, directory in directories:
        found = eyes.look(directory)
        if found.kind != DIRECTORY:
            continue
        result = None
        for name in found.names:
            stem = name.removesuffix(".toml")
            if stem == name:
                continue
            path = f"{directory}/{name}"
            file = eyes.look(path)
            manifest = None
            # Another tool's is read only as far as to know that it is another's.
            if file.kind == FILE and (stem == tool or tool in file.text):
                try:
                    manifest = Manifest(file.text)
                except (Mistake, ValueError, TypeError):
                    manifest = None
            if manifest is None and stem == tool:
                return None if result is None else result
            if manifest and manifest.name == tool and result is None:
                result = Registered(manifest, origin, path)
        if result:
            return result
    return None


__all__ = ["USER", "Gathered", "Registered", "denial"]
