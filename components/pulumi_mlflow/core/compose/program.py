"""What a container of the file runs, and the arguments of `mlflow server` in it. Pure."""

import itertools
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .dockerfile import Image, read_dockerfile, sources
from .file import ComposeFile, Mount, Read, Service
from .shell import SHELLS, Shell, basename

_SERVES = ("server", "ui")
_VALUED = ("--env-file",)
"""Options of `mlflow` itself that take a value."""
_OWN_OPTIONS = (
    "--backend-store-uri", "--default-artifact-root", "--artifacts-destination", "--serve-artifacts", "--app-name",
)  # fmt: skip
"""By which a command without a program is known as one of `mlflow server`."""
_WSGI = re.compile(r"mlflow\.server(\.\w+)*(:\w+)?$")
_INTERPRETERS = re.compile(r"(python[\d.]*|node|perl|ruby)$")
_DEPTH = 6


@dataclass(frozen=True)
class Program:
    """What a container runs."""

    arguments: tuple[str, ...] | None
    """Of `mlflow server`; None where none is found."""
    environment: Mapping[str, str] = field(repr=False)
    """Of the image, the file, and the script that starts it, as of the moment when it starts."""
    guess: str = ""
    """What is only likely, as the end of a sentence."""
    unread: str = ""
    """The script or image that starts it and could not be read; empty where all was read."""


class Programs:
    """Looks into commands, images and scripts.

    Args:
        file: the compose file.
        read: reads the files that it names.
        used: gets the names of the variables that scripts ask for.
    """

    def __init__(self, file: ComposeFile, read: Read, used: set[str]) -> None:
        self._file, self._read, self.used = file, read, used
        self._images: dict[str, Image | None] = {}

    def of(self, service: Service) -> Program:
        """What a service's container runs."""
        image = self.image(service)
        environment = {**(image.environment if image else {}), **service.environment}
        words = [*_words(service, image)]
        search = _Search(self, service, environment)
        arguments = search.server(words, environment, 0)
        guess = search.guess
        if arguments is None and image is None and service.entrypoint is None:
            arguments, guess = _bare(words, f"{service.image} {service.name}")
        unread = search.unread
        if not words:
            unread = service.image or "the image"
        return Program(
            tuple(arguments) if arguments is not None else None, search.environment, guess, unread
        )

    def image(self, service: Service) -> Image | None:
        """The image that the file builds for a service; None where there is no Dockerfile to be read."""
        if service.name not in self._images:
            self._images[service.name] = self._built(service)
        return self._images[service.name]

    def _built(self, service: Service) -> Image | None:
        if not service.build:
            return None
        text = service.build.get("dockerfile_inline")
        if text is None:
            name = str(service.build.get("dockerfile") or "Dockerfile")
            text = self._read(posixpath.join(service.context, name))
        if text is None:
            return None
        return read_dockerfile(
            str(text), service.build.get("args") or {}, str(service.build.get("target") or "")
        )

    def content(self, service: Service, path: str) -> str | None:
        """A file in a service's container: a Docker secret or config, mounted, or copied into its image."""
        image = self.image(service)
        absolute = posixpath.normpath(posixpath.join(self._folder(service, image), path))
        if name := service.secrets.get(absolute):
            if name in self._file.secret_values:
                return self._file.secret_values[name]
            return self._read(self._file.secret_files.get(name, name))
        if source := mounted_from(service.mounts, absolute):
            return self._read(source)
        if image is None:
            return None
        if absolute in image.texts:
            return image.texts[absolute]
        candidates = (self._read(posixpath.join(service.context, s)) for s in sources(image, path))
        return next((text for text in candidates if text is not None), None)

    def texts(self, service: Service, suffix: str, names: Iterable[str] = ()) -> Iterator[str]:
        """Files of a service's container whose name ends so.

        Args:
            service: the service.
            suffix: of the name.
            names: that a file may have in a folder that is mounted or copied: a folder is not listed from here.
        """
        image = self.image(service)
        places = [mount.source for mount in service.mounts if mount.is_path]
        if image is not None:
            yield from (text for path, text in image.texts.items() if path.endswith(suffix))
            places += [posixpath.join(service.context, source) for source, _ in image.copies]
        for place in dict.fromkeys(places):
            for path in [place, *(posixpath.join(place, name) for name in names)]:
                text = self._read(path) if path.endswith(suffix) else None
                if text is not None:
                    yield text
        for path in service.secrets:
            text = self.content(service, path) if path.endswith(suffix) else None
            if text is not None:
                yield text

    @staticmethod
    def _folder(service: Service, image: Image | None) -> str:
        return str(service.raw.get("working_dir") or (image.folder if image else "/"))


def mounted_from(mounts: Iterable[Mount], path: str) -> str:
    """The path on the machine of a file in a container; empty where it is not mounted from there."""
    for mount in mounts:
        if not mount.is_path:
            continue
        if path == mount.target:
            return mount.source
        if path.startswith(mount.target.rstrip("/") + "/"):
            return posixpath.join(mount.source, path[len(mount.target.rstrip("/")) + 1 :])
    return ""


def _words(service: Service, image: Image | None) -> Iterable[str]:
    """Entrypoint and command; the image's command was meant for its own entrypoint alone."""
    entrypoint = service.entrypoint
    command = service.command
    if image is not None and entrypoint is None:
        entrypoint = image.entrypoint
        command = image.command if command is None else command
    return (*(entrypoint or ()), *(command or ()))


def _bare(words: Sequence[str], names: str) -> tuple[list[str] | None, str]:
    """Arguments alone, for an image whose entrypoint is `mlflow`, or `mlflow server`."""
    guess = "takes the image's own entrypoint for `mlflow`, which cannot be seen from here"
    ours = any(word.partition("=")[0] in _OWN_OPTIONS for word in words)
    if words and words[0] in _SERVES and (ours or "mlflow" in names.lower()):
        return list(words[1:]), guess
    if words and words[0].startswith("-") and ours:
        return list(words), guess
    return None, ""


class _Search:
    def __init__(self, programs: Programs, service: Service, environment: dict[str, str]) -> None:
        self._programs, self._service = programs, service
        self.environment: dict[str, str] = environment
        self.unread = self.guess = ""

    def server(
        self, words: Sequence[str], environment: dict[str, str], depth: int
    ) -> list[str] | None:
        """The arguments of `mlflow server` that a command leads to."""
        if depth > _DEPTH or not words:
            return None
        if (at := _direct(words)) is not None:
            self.environment = environment
            return list(words[at:])
        for at, word in enumerate(words):
            name = basename(word)
            if name in SHELLS or name in ("su", "runuser"):
                script, arguments = self._script(words[at + 1 :], takes_files=name in SHELLS)
                if script is None:
                    continue
                return self._in_script(script, arguments, environment, depth)
            if _INTERPRETERS.match(name):
                return None
        return self._started(words, environment, depth)

    def _script(self, words: Sequence[str], *, takes_files: bool) -> tuple[str | None, list[str]]:
        """What a shell is given: text after `-c`, or a file."""
        for at, word in enumerate(words):
            if re.fullmatch(r"-[a-z]*c", word) and at + 1 < len(words):
                return words[at + 1], list(words[at + 3 :])
            is_option = word.startswith(("-", "+")) or (at and words[at - 1] == "-o")
            if takes_files and not is_option:
                text = self._file(word)
                return text, list(words[at + 1 :])
        return None, []

    def _file(self, path: str) -> str | None:
        text = self._programs.content(self._service, path)
        if text is None:
            self.unread = path
        return text

    def _started(
        self, words: Sequence[str], environment: dict[str, str], depth: int
    ) -> list[str] | None:
        """A script that is started by its name, such as an entrypoint, also after a `--`."""
        starts = [0, *(at + 1 for at, word in enumerate(words[:-1]) if word == "--")]
        for at in reversed(starts):
            path = words[at]
            if path.endswith(".sh") or "/" in path or at == 0:
                text = self._programs.content(self._service, path)
                if text is not None and (text.startswith("#!") or path.endswith(".sh")):
                    if re.match(r"#!.*\b(python|node|perl)", text):
                        continue
                    found = self._in_script(text, words[at + 1 :], environment, depth, path)
                    if found is not None:
                        return found
                elif text is None and path.endswith(".sh"):
                    self.unread = path
        return None

    def _in_script(
        self,
        script: str,
        arguments: Sequence[str],
        environment: dict[str, str],
        depth: int,
        name: str = "sh",
    ) -> list[str] | None:
        def read(path: str) -> str | None:
            return self._programs.content(self._service, path)

        variables = dict(environment)
        shell = Shell(variables, read, self._programs.used, arguments, name)
        found: list[str] | None = None
        for command in itertools.islice(shell.commands(script), 10_000):
            one = self.server(command, dict(variables), depth + 1)
            if one is None:
                continue
            if found is None:
                found, at_start = one, self.environment
            elif one != found:
                self.guess = "is the first of several that its script may start"
        if found is not None:
            self.environment = at_start
        return found


def _direct(words: Sequence[str]) -> int | None:
    """Where the arguments of `mlflow server` begin, if the command names it, or a server that runs it."""
    for at, word in enumerate(words):
        if basename(word) == "mlflow":
            rest = at + 1
            while rest < len(words) and words[rest].startswith("-"):
                rest += 2 if words[rest] in _VALUED else 1
            if words[rest : rest + 1] and words[rest] in _SERVES:
                return rest + 1
        elif (
            _WSGI.match(word)
            and at
            and basename(words[0]) in ("gunicorn", "uvicorn", "waitress-serve", "python", "exec")
        ):
            return len(words)
    return None
