"""Set up a machine for our stacks: `python3 toolchain/setup.py --stack dev`, or `make setup`.

Safe to run at any time: what is in place already is left alone, and that takes under a second.
"""

from __future__ import annotations

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs this may have an older one
    sys.exit(f"Python 3.11 or newer is needed; {sys.executable} is {sys.version.split()[0]}.")

import argparse
import contextlib
import enum
import json
import os
import subprocess
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from steps import engine, images, kubernetes, locks, maven, node, packages, programs, providers
from steps.console import Console, SetupError, only_one, stop_on_sigterm
from steps.download import reachable
from steps.environment import Environment
from steps.places import VERSIONS, Places, write_private
from steps.stack import (
    ensure_stack,
    image_ingredients,
    keep_salts_out_of_git,
    stack_file,
    stack_settings,
    wants_docker,
)

if TYPE_CHECKING:
    from collections.abc import Callable


TESTED = ("versitygw", "oauth2-proxy", "mysql")
"""What the images of the tests are built from."""
SLOWLY_TESTED = ("minio",)
"""The same for tests that run only with FULL=1 in the environment."""
NEVER_PULLED = ("minio", "oauth2-proxy")
"""Programs of images that are built everywhere: `PROGRAMS` of pulumi_mlflow/recipes.py."""
TOOLS = (
    "chromium",
    "iam-simulate",
    "keycloak",
    "kube-apiserver",
    "mysql-5.7",
    "policy",
    *programs.JUDGES,
)
"""What some tests want besides; they ask for it when they run."""

_JAVA = "openjdk-17-jre-headless"
_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_WITHOUT_BUILDING = (
    "It is needed only where images are built. Where the engine reaches a registry:"
    " python3 toolchain/setup.py --docker --images registry"
)


class Source(enum.Enum):
    """Where a prerequisite comes from."""

    HERE = "ok"
    DOWNLOAD = "fetch"
    BUILD = "build"  # or whatever the prerequisite calls it


@dataclass(frozen=True)
class Prerequisite:
    """One thing a machine needs, and every way to get it."""

    name: str
    here: Callable[[], object]  # truthy: ours from an earlier run, or the right one on PATH
    build: Callable[[], None]
    takes: str  # how long building usually takes
    by_hand: str  # what a person can do where we fail
    verb: str = "build"  # what building it here is called
    url: str | None = None  # an official download of it, if there is one
    download: Callable[[], None] | None = None


def choose_source(wanted: Prerequisite) -> Source:
    """Decide where a prerequisite comes from. Nothing else in set-up decides that.

    What the machine has comes first, then the official download, then what package registries
    alone can give. A download that does not answer within five seconds is taken for blocked.
    """
    if wanted.here():
        return Source.HERE
    if wanted.url and wanted.download and reachable(wanted.url):
        return Source.DOWNLOAD
    return Source.BUILD


class Setup:
    """All steps for one clone on one machine."""

    def __init__(self, places: Places, console: Console) -> None:
        self.places = places
        self.console = console

    @property
    def environment(self) -> Environment:
        """The environment as it is now; its PATH grows while set-up goes on."""
        return Environment(self.places, dict(os.environ))

    def run(
        self,
        stack: str | None,
        *,
        docker: bool,
        image_source: str | None,
        accounts: bool = False,
    ) -> None:
        """Run every step that is needed, in order."""
        self.machine(stack, docker=docker, image_source=image_source)
        if stack is None:
            keep_salts_out_of_git(self.places)
            return
        if accounts and (missing := self.missing(stack)):
            raise SetupError(
                f"{stack} cannot be brought up or changed from here:\n  "
                + "\n  ".join(missing)
                + f"\nWhat it would be is shown by: make preview STACK={stack}"
            )
        ensure_stack(self.places, self.console, self.environment, stack)

    def machine(
        self,
        stack: str | None,
        *,
        docker: bool,
        image_source: str | None,
        build_images: bool = True,
    ) -> None:
        """Get all programs, and what images are built from unless none will be; all but the stack itself."""
        if stack is not None:
            stack_file(self.places, stack)  # fail at once, and not after ten minutes of building
            docker = docker or wants_docker(self.places, stack)
        self.environment.prepare_state()
        # What may need a person (an engine, a mirror) comes before what takes minutes.
        from_packages = docker and self.engine_and_images(image_source, rootfs=build_images)
        self.obtain(self.uv())
        self.venv()
        self.obtain(self.pulumi())
        if docker:
            self.obtain(self.docker_plugin())
            for name in self.ingredients(stack) if build_images else ():
                if from_packages or name in NEVER_PULLED:
                    self.obtain(self.mysql() if name == "mysql" else self.image_program(name))

    def missing(self, stack: str) -> list[str]:
        """Get the plugins of a stack in a cloud; say what is missing for using the real ones."""
        settings = stack_settings(self.places, stack)
        wanted = providers.packages_of(settings)
        accounts = [providers.no_account(name, self.environment, settings) for name in wanted]
        if found := [text for text in accounts if text]:
            return found
        for name in wanted:
            plugin = self.plugin(name)
            if choose_source(plugin) is Source.BUILD:
                found.append(f"{plugin.name} is not installed, and {plugin.url} does not answer")
            else:
                self.obtain(plugin)
        return found

    def preview(self, stack: str | None, choice: str, words: list[str]) -> int:
        """Run `pulumi preview`, on the test provider where the real ones cannot be used.

        Args:
            stack: its name.
            choice: `auto`, `real` or `test`: which providers.
            words: further arguments of Pulumi's.
        """
        if stack is None:
            raise SetupError("preview: of which stack? setup.py --stack prod preview")
        words = words[1:] if words[:1] == ["--"] else words
        command = ["pulumi", "preview", "-s", stack, *words]
        # To stderr: with --json standard output is Pulumi's.
        with contextlib.redirect_stdout(sys.stderr), only_one(self.places.cache / "setup.lock"):
            self.machine(stack, docker=False, image_source=None, build_images=False)
            if any(word.startswith("--policy-pack") for word in words):
                self.obtain(self.policy())
            settings = stack_settings(self.places, stack)
            packages = providers.packages_of(settings)
            why = {"test": ["it was asked for"], "real": []}.get(choice)
            if why is None:
                why = self.missing(stack) if packages else []
            if not (packages and why):
                ensure_stack(self.places, self.console, self.environment, stack)
                env = self.environment.full()
            else:
                print(
                    f"preview of {stack} with a test provider in place of {' and '.join(packages)}:"
                    f" {'; '.join(why)}.\nAll is shown as new, and no cloud is asked: see"
                    " toolchain/test_provider.",
                    flush=True,
                )
                config, env = providers.trial(self.places, self.environment, stack, settings)
                command += ["--config-file", str(config)]
        if not (packages and why):
            return subprocess.run(command, env=env, cwd=self.places.root, check=False).returncode
        with providers.stand_in(self.places, env, packages) as attached:
            return subprocess.run(
                command, env=attached, cwd=self.places.root, check=False
            ).returncode

    def obtain(self, wanted: Prerequisite) -> None:
        """Get one prerequisite from where `choose_source` says; a failed download is built."""
        source = choose_source(wanted)
        if source is Source.HERE:
            self.console.ok(wanted.name)
            return
        started = time.monotonic()
        if source is Source.DOWNLOAD and wanted.download is not None:
            self.console.say(source.value, f"{wanted.name} (usually 30 s)")
            try:
                wanted.download()
            except SetupError as error:
                self.console.note(f"{error}\n        so it is built here instead")
                source = Source.BUILD
        if source is Source.BUILD:
            self.console.say(wanted.verb, f"{wanted.name} (usually {wanted.takes})")
            try:
                wanted.build()
            except SetupError as error:
                raise SetupError(f"{error}\n{wanted.by_hand}".rstrip()) from error
        self.console.note(f"done in {time.monotonic() - started:.0f} s")

    # ------------------------------------------------------------ what is wanted

    def uv(self) -> Prerequisite:
        """Describe uv, which makes the venv."""
        own = programs.own_uv(self.places)
        return Prerequisite(
            name=f"uv {VERSIONS['uv']} or newer",
            here=lambda: programs.uv_on_path() or own.exists(),
            build=lambda: programs.install_uv(self.places, self.console),
            takes="10 s",
            by_hand="Install uv by hand (https://docs.astral.sh/uv) and run set-up again.",
        )

    def uv_program(self) -> str:
        """Return the uv that makes venvs and unpacks wheels; a tool may be the first to want it."""
        if choose_source(uv := self.uv()) is not Source.HERE:
            self.obtain(uv)
        return programs.uv_on_path() or str(programs.own_uv(self.places))

    def venv(self) -> None:
        """Bring the venv to what the lock says."""
        if programs.venv_ready(self.places):
            self.console.ok(f"Python environment {self.places.venv.name}")
            return
        self.console.say("venv", "Python packages of requirements.lock (usually 20 s)")
        started = time.monotonic()
        programs.make_venv(self.places, self.console, self.uv_program())
        self.console.note(f"done in {time.monotonic() - started:.0f} s")

    def policy(self) -> Prerequisite:
        """Describe the environment of the policy pack."""
        return Prerequisite(
            name="Python environment of the policy pack",
            here=lambda: programs.policy_ready(self.places),
            build=lambda: programs.make_policy_venv(self.places, self.console, self.uv_program()),
            verb="venv",
            takes="5 s",
            by_hand="",
        )

    def go_program(self) -> str:
        """Return the Go to build with; looked for only when something is built."""
        own = programs.own_go(self.places)
        wanted = Prerequisite(
            name=f"Go {VERSIONS['go']} or newer",
            here=lambda: programs.go_on_path() or own.exists(),
            build=lambda: programs.install_go(self.places, self.console, self.uv_program()),
            takes="15 s",
            by_hand=f"Install Go {VERSIONS['go']} or newer (https://go.dev/dl) and run it again.",
        )
        self.obtain(wanted)
        return programs.go_on_path() or str(own)

    def pulumi(self) -> Prerequisite:
        """Describe the Pulumi CLI with its Python host."""
        tools = self.places.tools
        return Prerequisite(
            name=f"Pulumi CLI {VERSIONS['pulumi']} with its Python host",
            here=lambda: tools.is_dir() or programs.pulumi_on_path(self.environment),
            url=programs.pulumi_download_url(),
            download=lambda: programs.download_pulumi(self.places, self.console),
            build=lambda: programs.build_pulumi(self.places, self.console, self.go_program()),
            takes="6 min from its Go modules",
            by_hand=f"Install Pulumi {VERSIONS['pulumi']} by hand"
            " (https://www.pulumi.com/docs/install/) and run set-up again.",
        )

    def docker_plugin(self) -> Prerequisite:
        """Describe Pulumi's Docker provider."""
        version = VERSIONS["docker-plugin"]
        return Prerequisite(
            name=f"Pulumi's Docker plugin {version}",
            here=lambda: programs.docker_plugin_ready(self.environment),
            url=programs.docker_plugin_url(),
            download=lambda: programs.download_docker_plugin(self.console, self.environment),
            build=lambda: programs.build_docker_plugin(
                self.places, self.console, self.environment, self.go_program()
            ),
            takes="5 min from its Go modules",
            by_hand=f"Install it by hand: pulumi plugin install resource docker {version}",
        )

    def plugin(self, package: str) -> Prerequisite:
        """Describe a plugin that can be downloaded only."""
        version = providers.version_of(self.places, package)
        return Prerequisite(
            name=f"Pulumi's plugin {package} {version}",
            here=lambda: providers.plugin_ready(self.environment, package, version),
            url=providers.plugin_url(package, version),
            download=lambda: providers.install_plugin(
                self.console, self.environment, package, version
            ),
            build=lambda: _cannot_be_built(package, version),
            takes="",
            by_hand=f"Install it by hand: pulumi plugin install resource {package} {version}",
        )

    def docker_engine(self) -> Prerequisite:
        """Describe the Docker engine."""
        return Prerequisite(
            name="Docker engine",
            here=lambda: engine.engine_version(self.environment),
            build=self.start_engine,
            verb="start",
            takes="2 s, 40 s with its installation",
            by_hand="",
        )

    def start_engine(self) -> None:
        """Start an engine where that is ours to do."""
        if not engine.engine_may_start(self.environment):
            raise SetupError(engine.no_engine_help(self.environment))
        engine.start_engine(self.places, self.console, self.environment)

    def engine_and_images(self, image_source: str | None, *, rootfs: bool) -> bool:
        """See to an engine, and to a base for images if wanted; say whether images are built from packages."""
        self.obtain(self.docker_engine())
        build = self.image_source(image_source) == "build"
        if build and rootfs:
            self.obtain(self.rootfs())
        return build

    def rootfs(self) -> Prerequisite:
        """Describe the file system that images built from packages start with."""
        rootfs = images.rootfs_file(self.places)
        return Prerequisite(
            name=f"root file system {rootfs.name}",
            here=rootfs.exists,
            build=lambda: images.build_rootfs(self.places, self.console),
            takes="60 s, by debootstrap",
            by_hand="",
        )

    def ingredients(self, stack: str | None) -> list[str]:
        """List what the images of a stack, or of the tests, are built from beside Debian packages."""
        if stack is not None:
            return image_ingredients(stack_settings(self.places, stack))
        return [*TESTED, *(SLOWLY_TESTED if self.environment.given.get("FULL") == "1" else ())]

    def image_program(self, recipe: str) -> Prerequisite:
        """Describe a Go program that such an image holds."""
        program = programs.IMAGE_PROGRAMS[recipe]
        return Prerequisite(
            name=f"{recipe} {VERSIONS[recipe]}",
            here=self.places.image_ingredient(recipe).exists,
            build=lambda: programs.build_image_program(
                self.places, self.console, self.go_program(), recipe
            ),
            takes=f"{program.takes} from its Go modules",
            by_hand=_WITHOUT_BUILDING,
        )

    def mysql(self) -> Prerequisite:
        """Describe MySQL's server, which such an image holds."""
        return Prerequisite(
            name=f"MySQL's server {VERSIONS['mysql']}",
            here=maven.mysql_archive(self.places).exists,
            build=lambda: maven.get_mysql(self.places, self.console),
            verb="fetch",
            takes="40 s, by Maven",
            by_hand=_WITHOUT_BUILDING,
        )

    # ------------------------------------------------------------ for tests only

    def tool(self, name: str) -> Path:
        """Get one of `TOOLS`, and say where it is."""
        wanted, where = self.tools()[name]
        for one in wanted:
            self.obtain(one)
        return where()

    def has_tool(self, name: str) -> bool:
        """Tell whether one of `TOOLS` could be had at once."""
        wanted, _ = self.tools()[name]
        return all(one.here() for one in wanted)

    def tools(self) -> dict[str, tuple[list[Prerequisite], Callable[[], Path]]]:
        """Describe each of `TOOLS`: what makes it, and where it is then."""
        places = self.places
        return {
            "chromium": ([self.chromium()], lambda: Path(packages.on_path(*_CHROMIUM) or "")),
            "iam-simulate": ([self.iam_simulate()], lambda: places.iam_simulate),
            "keycloak": ([self.java(), self.keycloak()], lambda: maven.keycloak_folder(places)),
            "kube-apiserver": ([self.kube_apiserver()], lambda: places.tool("kube-apiserver")),
            "mysql-5.7": ([self.old_mysql()], lambda: maven.old_mysql_folder(places)),
            "policy": ([self.policy()], lambda: places.policy_venv),
            **{
                name: ([self.judge(name)], partial(Path.joinpath, places.tool(name), name))
                for name in programs.JUDGES
            },
        }

    def chromium(self) -> Prerequisite:
        """Describe the browser that tests drive."""
        return Prerequisite(
            name="Chromium",
            here=lambda: packages.on_path(*_CHROMIUM),
            build=lambda: packages.apt_install(
                self.console, ["chromium", "fonts-dejavu-core"], "Chromium"
            ),
            verb="install",
            takes="40 s, by apt",
            by_hand="",
        )

    def kube_apiserver(self) -> Prerequisite:
        """Describe Kubernetes' API server with its etcd."""
        version = VERSIONS["kube-apiserver"]
        return Prerequisite(
            name=f"Kubernetes' API server {version}",
            here=lambda: kubernetes.apiserver_ready(self.places),
            build=lambda: kubernetes.build_apiserver(self.places, self.console, self.go_program()),
            takes="8 min from its Go modules",
            by_hand="Only tests want it.",
        )

    def judge(self, name: str) -> Prerequisite:
        """Describe what judges workflows, or Kubernetes' objects."""
        return Prerequisite(
            name=f"{name} {VERSIONS[name]}",
            here=self.places.tool(name).exists,
            build=lambda: programs.build_judge(self.places, self.console, self.go_program(), name),
            takes="10 s from its Go modules",
            by_hand="Only tests want it.",
        )

    def node_program(self) -> str:
        """Return the Node.js to run npm with; looked for only when something is installed by it."""
        own = node.own_node(self.places)
        wanted = Prerequisite(
            name=f"Node.js {VERSIONS['node']} or newer, with npm",
            here=lambda: node.node_on_path() or own.exists(),
            build=lambda: node.install_node(self.places, self.console, self.uv_program()),
            verb="install",
            takes="5 s",
            by_hand="Install Node.js by hand (https://nodejs.org) and run it again.",
        )
        self.obtain(wanted)
        return node.node_on_path() or str(own)

    def iam_simulate(self) -> Prerequisite:
        """Describe the evaluator of AWS's policies."""
        folder = self.places.iam_simulate
        return Prerequisite(
            name="evaluator of AWS's policies",
            here=(folder / "node").exists,
            build=lambda: node.get_simulator(self.places, self.console, self.node_program()),
            verb="install",
            takes="3 s, by npm",
            by_hand="Only tests want it.",
        )

    def java(self) -> Prerequisite:
        """Describe Java, which Keycloak runs on."""
        return Prerequisite(
            name="Java 17 or newer",
            here=packages.java_on_path,
            build=lambda: packages.apt_install(self.console, [_JAVA], "Java 17 or newer"),
            verb="install",
            takes="30 s, by apt",
            by_hand="",
        )

    def keycloak(self) -> Prerequisite:
        """Describe Keycloak, a real identity provider."""
        return Prerequisite(
            name=f"Keycloak {VERSIONS['keycloak']}",
            here=maven.keycloak_folder(self.places).exists,
            build=lambda: maven.get_keycloak(self.places, self.console),
            verb="fetch",
            takes="40 s, by Maven",
            by_hand="",
        )

    def old_mysql(self) -> Prerequisite:
        """Describe MySQL 5.7, from which many come; no stack runs it."""
        return Prerequisite(
            name=f"MySQL {VERSIONS['mysql-5.7']}",
            here=maven.old_mysql_folder(self.places).exists,
            build=lambda: maven.get_old_mysql(self.places, self.console),
            verb="fetch",
            takes="10 s, by Maven",
            by_hand="",
        )

    def image_source(self, chosen: str | None) -> str:
        """Decide once whether this clone pulls images or builds them, and stay with that.

        Otherwise one bad moment of the network would exchange the images of a running stack.
        """
        file = self.places.state / "machine.json"
        machine: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        source = chosen or machine.get("images")
        if source is None:
            source = "registry" if images.registry_answers(self.environment) else "build"
        if machine.get("images") != source:
            write_private(file, json.dumps({**machine, "images": source}, indent=2) + "\n")
        how = "pulled from a registry" if source == "registry" else "built from packages"
        self.console.ok(f"images are {how} (kept in .state/{file.name})")
        return source


def _cannot_be_built(package: str, version: str) -> None:
    raise SetupError(f"Pulumi's plugin {package} {version} cannot be built here.")


def eval_line() -> str:
    """Write the one line that makes plain `pulumi` commands work in a shell."""
    script = Path(__file__).resolve()
    here = Path.cwd()
    path = script.relative_to(here) if script.is_relative_to(here) else script
    return f'eval "$(python3 {path} env)"'


def arguments() -> argparse.Namespace:
    """Read the command line; set-up itself is the default command."""
    parser = argparse.ArgumentParser(prog="setup.py", description=__doc__)
    parser.add_argument("--stack", help="also create this stack where it is missing")
    parser.add_argument("--docker", action="store_true", help="also what docker stacks need")
    parser.add_argument(
        "--images", choices=("registry", "build"), help="change where this clone's images come from"
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing where all is in place")
    parser.add_argument(
        "--accounts", action="store_true", help="fail where the stack's cloud cannot be reached"
    )
    commands = parser.add_subparsers(dest="command", metavar="{env,run,preview,engine,tool}")
    commands.add_parser("env", help="print the environment as lines for eval")
    run = commands.add_parser("run", help="run a program in that environment: run -- CMD...")
    run.add_argument("program", nargs=argparse.REMAINDER)
    preview = commands.add_parser(
        "preview", help="run pulumi preview, without an account on a test provider"
    )
    preview.add_argument("--providers", choices=("auto", "real", "test"), default="auto")
    preview.add_argument("words", nargs=argparse.REMAINDER, help="further arguments of Pulumi's")
    docker = commands.add_parser("engine", help="the Docker engine that set-up may start")
    docker.add_argument("what", choices=("start", "stop", "status"))
    tool = commands.add_parser("tool", help="get a program that some tests want, print its path")
    tool.add_argument("what", choices=TOOLS)
    tool.add_argument("--here", action="store_true", help="only if it is there: exit code 1 if not")
    return parser.parse_args()


def run_program(environment: Environment, words: list[str]) -> int:
    """Become the given program, in the environment that `env` prints."""
    words = words[1:] if words[:1] == ["--"] else words
    if not words:
        raise SetupError("run: which program? python3 toolchain/setup.py run -- pulumi version")
    env = environment.full()
    if words[0] == "pulumi":
        locks.say_stale(env.get("PULUMI_BACKEND_URL", ""))
    try:
        os.execvpe(words[0], words, env)  # noqa: S606 - that is what it is for
    except OSError as error:
        raise SetupError(f"cannot run {words[0]}: {error.strerror}") from error


def engine_command(setup: Setup, action: str) -> int:
    """Start or stop our engine, or say which one answers."""
    if action == "start":
        with only_one(setup.places.cache / "setup.lock"):
            setup.obtain(setup.docker_engine())
    elif action == "stop":
        engine.stop_engine(setup.places, setup.console)
    print(engine.engine_status(setup.places, setup.environment))
    answers = engine.engine_version(setup.environment) is not None
    return 0 if answers or action == "stop" else 1


def tool_command(setup: Setup, name: str) -> int:
    """Print where a tool is, and nothing else, so that a program can read it."""
    with contextlib.redirect_stdout(sys.stderr), only_one(setup.places.cache / "setup.lock"):
        path = setup.tool(name)
    print(path)
    return 0


def tool_if_here(setup: Setup, name: str) -> int:
    """Do the same where that takes no time, and nothing elsewhere."""
    return tool_command(setup, name) if setup.has_tool(name) else 1


def command(setup: Setup, options: argparse.Namespace) -> int:
    """Run another command than set-up itself; returns the exit code."""
    if options.command == "env":
        print(setup.environment.shell())
        return 0
    if options.command == "run":
        return run_program(setup.environment, options.program)
    stop_on_sigterm()
    if options.command == "preview":
        return setup.preview(options.stack, options.providers, options.words)
    tool = tool_if_here if getattr(options, "here", False) else tool_command
    run = {"engine": engine_command, "tool": tool}[options.command]
    return run(setup, options.what)


def main() -> int:
    """Run the command that was asked for."""
    options = arguments()
    places = Places.of(dict(os.environ))
    setup = Setup(places, Console(places.logs, quiet=options.quiet))
    try:
        if options.command:
            return command(setup, options)
        stop_on_sigterm()
        with only_one(places.cache / "setup.lock"):
            setup.run(
                options.stack,
                docker=options.docker,
                image_source=options.images,
                accounts=options.accounts,
            )
        if not options.quiet:
            print(f"\nFor plain pulumi commands in this shell:\n\n    {eval_line()}\n")
    except SetupError as error:
        print(f"\nsetup: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nsetup: interrupted; what is finished is kept", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
