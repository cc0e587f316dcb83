"""A stack in the backend, and its passphrase salt, which must not get into git.

Why it is done this way is in docs/adr/0003-where-the-salt-lives.md.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from steps.console import Console, SetupError, capture
from steps.places import Places, write_private

if TYPE_CHECKING:
    from steps.environment import Environment

_SALT: Final = re.compile(r"^encryptionsalt:[ \t]*(.+)$", re.MULTILINE)
_SALT_LINE: Final = re.compile(r"^encryptionsalt:.*\n?", re.MULTILINE)
_SECRET: Final = re.compile(r"^\s*(?:-\s+)?secure:\s", re.MULTILINE)
_DOCKER: Final = re.compile(r"^[^#\n]*:[ \t]+[\"']?docker[\"']?[ \t]*(?:#.*)?$", re.MULTILINE)
_PROJECT_NAME: Final = re.compile(r"^name:\s*[\"']?([\w.-]+)", re.MULTILINE)
_STACK_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")

# git runs filters in the top folder of the work tree. `clean` is what goes into git, `smudge` what
# comes out of it. They are plain shell, so that they work in every older or newer commit.
_FILTER: Final = "pulumi-mlflow-salt"
_CLEAN: Final = "sed '/^encryptionsalt:/d'"
_SMUDGE: Final = (
    """sh -c 'f=.state/salt/$1; if test -f "$f"; then"""
    """ awk "!/^encryptionsalt:/"; cat "$f"; else cat; fi' pulumi-mlflow-salt %f"""
)
_ATTRIBUTE: Final = f"/Pulumi.*.yaml filter={_FILTER}"


def stack_file(places: Places, stack: str) -> Path:
    """Name the file that holds a stack's settings, and say how to make one where it is missing."""
    if not _STACK_NAME.fullmatch(stack):
        raise SetupError(f"{stack!r} is no stack name: letters, digits, '-', '_' and '.'")
    file = places.root / f"Pulumi.{stack}.yaml"
    if not file.exists():
        raise SetupError(f"{file.name} is missing. Make one: cp Pulumi.dev.yaml {file.name}")
    return file


def wants_docker(places: Places, stack: str) -> bool:
    """Tell whether a stack's settings name the docker runtime anywhere."""
    return _DOCKER.search(stack_file(places, stack).read_text()) is not None


def stack_settings(places: Places, stack: str) -> dict[str, Any]:
    """Read a stack's settings with the YAML of the venv, which must be there; ours has none.

    Nothing is checked here: a wrong setting gets its message from the stack's own program.
    """
    script = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout, default=str)"
    file = stack_file(places, stack)
    said = subprocess.run(
        [places.venv / "bin" / "python", "-c", script],
        input=file.read_text(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if said.returncode != 0:
        raise SetupError(f"{file.name} is no YAML: {said.stderr.strip().splitlines()[-1:]}")
    content = json.loads(said.stdout)
    config = content.get("config") if isinstance(content, dict) else None
    return config if isinstance(config, dict) else {}


def image_ingredients(settings: dict[str, Any]) -> list[str]:
    """List what a stack's images are built from beside Debian packages."""

    def section(name: str) -> dict[str, Any]:
        found = settings.get(f"mlflow:{name}")
        return found if isinstance(found, dict) else {}

    database, artifacts = section("database"), section("artifacts")
    store = artifacts.get("store", "versitygw")
    needed = [store] if store in ("versitygw", "minio") else []
    if database.get("engine") == "mysql" and not database.get("existing"):
        needed.append("mysql")
    if str(section("access").get("auth")).startswith("oidc"):
        needed.append("oauth2-proxy")
    return needed


def ensure_stack(places: Places, console: Console, environment: Environment, stack: str) -> None:
    """Create the stack where it is missing, and put its salt where Pulumi finds it and git not."""
    file = stack_file(places, stack)
    keep_salts_out_of_git(places)
    exists, salt = _salt_in_backend(places, environment, stack)
    if exists:
        console.ok(f"stack {stack} on {environment.backend}")
    else:
        console.say("create", f"stack {stack} on {environment.backend}")
        salt = _create(places, environment, file, stack)
    if salt:
        if exists and not environment.backend_is_ours and _remembered(places, file) != salt:
            _try_passphrase(places, environment, file, stack, salt)
        _remember(places, file, salt)
        _put_into_file(console, file, salt)
    _tell_git(places, file)


def keep_salts_out_of_git(places: Places) -> None:
    """Configure, for this clone only, the filter that hides the salt line from git."""
    wanted = {f"filter.{_FILTER}.clean": _CLEAN, f"filter.{_FILTER}.smudge": _SMUDGE}
    listed = _git(places, "config", "--local", "--list", "-z")
    if listed is None:
        return  # not a clone: unpacked from an archive, or no git
    have = dict(entry.split("\n", 1) for entry in listed.split("\0") if "\n" in entry)
    for name, value in wanted.items():
        if have.get(name) != value:
            _git(places, "config", "--local", name, value)
    where = _git(places, "rev-parse", "--git-path", "info/attributes")
    if where is None:
        return
    attributes = places.root / where.strip()
    text = attributes.read_text() if attributes.exists() else ""
    if _ATTRIBUTE not in text.splitlines():
        attributes.parent.mkdir(exist_ok=True)
        separator = "" if not text or text.endswith("\n") else "\n"
        attributes.write_text(f"{text}{separator}{_ATTRIBUTE}\n")


def _create(places: Places, environment: Environment, file: Path, stack: str) -> str | None:
    """Create the stack from a scratch folder and return its salt.

    `pulumi stack init` writes the whole stack file anew, without the person's blank lines and
    alignment; so it gets a copy to write to. A salt that is in the file already counts only if
    secrets in the file need it; else it may be of a passphrase that is long gone.
    """
    text = file.read_text()
    if not _SECRET.search(text):
        text = _SALT_LINE.sub("", text)
    with tempfile.TemporaryDirectory(dir=places.state) as name:
        scratch = Path(name)
        (scratch / "Pulumi.yaml").write_text((places.root / "Pulumi.yaml").read_text())
        copy = scratch / file.name
        copy.write_text(text)
        command = ["pulumi", "stack", "init", stack, "--no-select", "--non-interactive"]
        said = capture(command, seconds=120, cwd=scratch, env=environment.full())
        if said.returncode != 0:
            raise SetupError(
                f"pulumi stack init {stack} failed on {environment.backend}:\n"
                f"{said.stderr.strip() or said.stdout.strip()}"
            )
        return _salt_of(copy.read_text())


def _salt_in_backend(
    places: Places, environment: Environment, stack: str
) -> tuple[bool, str | None]:
    """Tell whether the backend has the stack, and the salt that its state was locked with."""
    if environment.backend_is_ours:
        folder = places.state / "pulumi" / ".pulumi" / "stacks" / _project(places)
        try:
            checkpoint = json.loads((folder / f"{stack}.json").read_text())
        except FileNotFoundError:
            return False, None
        return True, _salt_of_deployment((checkpoint.get("checkpoint") or {}).get("latest"))
    command = ["pulumi", "stack", "export", "--stack", stack, "--non-interactive"]
    said = capture(command, seconds=120, cwd=places.root, env=environment.full())
    if said.returncode == 0:
        return True, _salt_of_deployment(json.loads(said.stdout).get("deployment"))
    if "no stack named" in said.stderr:
        return False, None
    raise SetupError(f"{environment.backend} does not answer:\n{said.stderr.strip()}")


def _salt_of_deployment(deployment: object) -> str | None:
    match deployment:
        case {"secrets_providers": {"type": "passphrase", "state": {"salt": str(salt)}}}:
            return salt
        case _:
            return None


def _project(places: Places) -> str:
    """Read the project's name without a YAML parser, which the standard library has not."""
    match = _PROJECT_NAME.search((places.root / "Pulumi.yaml").read_text())
    if match is None:
        raise SetupError("Pulumi.yaml has no name")
    return match[1]


def _salt_of(text: str) -> str | None:
    match = _SALT.search(text)
    return match[1].strip().strip("\"'") if match else None


def _try_passphrase(
    places: Places, environment: Environment, file: Path, stack: str, salt: str
) -> None:
    """Fail early where a stack that others made has a passphrase that we do not know.

    Encrypting a word is the cheapest thing that makes Pulumi check the passphrase.
    """
    with tempfile.TemporaryDirectory(dir=places.state) as name:
        scratch = Path(name)
        (scratch / "Pulumi.yaml").write_text((places.root / "Pulumi.yaml").read_text())
        (scratch / file.name).write_text(f"encryptionsalt: {salt}\n")
        command = ["pulumi", "config", "set", "--stack", stack, "--secret", "probe", "probe"]
        said = capture(command, seconds=120, cwd=scratch, env=environment.full())
    if said.returncode != 0:
        whose = "the generated one of this clone" if environment.passphrase_is_ours else "yours"
        raise SetupError(
            f"Stack {stack} on {environment.backend} exists, and this passphrase ({whose}) does not"
            f" open it:\n{said.stderr.strip()}\n"
            "export PULUMI_CONFIG_PASSPHRASE=..., or PULUMI_CONFIG_PASSPHRASE_FILE=<the"
            " .state/passphrase of the clone that made the stack>, and run set-up again."
        )


def _remembered(places: Places, file: Path) -> str | None:
    kept = places.state / "salt" / file.name
    return _salt_of(kept.read_text()) if kept.exists() else None


def _remember(places: Places, file: Path, salt: str) -> None:
    """Keep the salt for git's smudge filter, which puts it back after every checkout."""
    folder = places.state / "salt"
    folder.mkdir(mode=0o700, exist_ok=True)
    if _remembered(places, file) != salt:
        write_private(folder / file.name, f"encryptionsalt: {salt}\n")


def _put_into_file(console: Console, file: Path, salt: str) -> None:
    """Write the salt into the work tree's file ourselves; Pulumi would rewrite all of it."""
    text = file.read_text()
    present = _salt_of(text)
    if present == salt:
        return
    if present is not None and _SECRET.search(text):
        console.note(
            f"{file.name} holds secrets under another salt than the stack's state; left as it is"
        )
        return
    rest = _SALT_LINE.sub("", text)
    separator = "" if not rest or rest.endswith("\n") else "\n"
    temporary = file.with_name(f".{file.name}.tmp")
    temporary.write_text(f"{rest}{separator}encryptionsalt: {salt}\n")
    temporary.chmod(file.stat().st_mode & 0o777)
    temporary.replace(file)


def _tell_git(places: Places, file: Path) -> None:
    """Let git look at the file again where only the salt differs.

    git takes a changed size for a changed file without running the filter. `git add` of a file
    whose filtered content is what is staged already stages nothing; it records the new size.
    """
    staged = _git(places, "ls-files", "--stage", "--", file.name)
    if not staged:
        return
    filtered = _git(places, "hash-object", f"--path={file.name}", "--", file.name)
    if filtered and staged.split()[1] == filtered.strip():
        _git(places, "add", "--", file.name)


def _git(places: Places, *arguments: str) -> str | None:
    """Run git in the clone; None where it fails."""
    said = capture(["git", *arguments], cwd=places.root)
    return said.stdout if said.returncode == 0 else None
