"""What a container runs: commands as compose, Docker and a shell read them. Nothing is run."""

import posixpath

import pytest

from pulumi_mlflow.core.compose import dockerfile
from pulumi_mlflow.core.compose import file as compose_file
from pulumi_mlflow.core.compose.program import Programs
from pulumi_mlflow.core.compose.shell import UNKNOWN, Shell, shell_words

FILES = {
    "pw.txt": "p#1 \\x\n",
    "wait.sh": '#!/bin/sh\nwhile ! nc -z "$1" 1; do sleep 1; done\nshift\n[ "$1" = -- ] && shift\nexec "$@"\n',
    "run.sh": "mlflow server --workers 4\n",
    "app/Dockerfile": (
        "ARG TAG=1\nFROM python:$TAG AS base\nENV WORKERS=2 ROOT='s3://b'\nFROM base\n"
        'WORKDIR /app\nCOPY . .\nRUN pip install \\\n  # why\n  mlflow\nENTRYPOINT ["./entry.sh"]\n'
        'CMD ["--workers", "$WORKERS"]\n'
    ),
    "app/entry.sh": '#!/bin/bash\nset -e\nexec mlflow server --default-artifact-root "$ROOT" "$@"\n',
    "shell/Dockerfile": "FROM x\nENV W 3\nCMD mlflow server \\\n    -w $W\n",
    "here/Dockerfile": (
        'FROM x\nCOPY <<EOF /run.sh\nexec mlflow server -w 7\nEOF\nENTRYPOINT ["sh", "/run.sh"]\n'
    ),
    "stages/Dockerfile": (
        'FROM x AS server\nCMD ["mlflow", "server", "-w", "8"]\nFROM x AS job\nCMD ["python", "job.py"]\n'
    ),
}


def read(path):
    return FILES.get(posixpath.normpath(path))


def program(keys, **variables):
    body = "\n".join(f"    {line}" for line in keys.strip().splitlines())
    text = (
        f"services:\n  it:\n    image: mlflow\n{body}\n"
        "secrets: {pw: {file: pw.txt}, from_shell: {environment: FROM_SHELL}}\n"
        "configs: {start: {content: 'mlflow server -w 9'}}\n"
    )
    file = compose_file.parse(text, read, variables)
    return Programs(file, read, set()).of(file.services[0])


def arguments(keys, **variables):
    found = program(keys, **variables).arguments
    return None if found is None else " ".join(found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a 'b c' \"d e\" f\\ g", ["a", "b c", "d e", "f g"]),
        (r'sh -c "a && \ b \"c\" \n"', ["sh", "-c", 'a &&  b "c" n']),
        ("a#b #c", ["a#b", "#c"]),
        ("a 'b\\c'", ["a", "b\\c"]),
        ("a && b", ["a"]),
        ("a $(cat /x y) '' z", ["a", "$(cat /x y)", "", "z"]),
        ("a\n  b", ["a", "b"]),
    ],
)
def test_commands_in_text_form_are_split_as_compose_does(text, expected):
    assert shell_words(text) == expected


@pytest.mark.parametrize("text", ["a 'b", 'a "b', "a\\", "a $(b"])
def test_commands_that_do_not_end(text):
    with pytest.raises(ValueError, match=r"backslash|quote"):
        shell_words(text)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("command: [mlflow, server, -w, 2]", "-w 2"),
        ("command: [python, -m, mlflow, ui]", ""),
        ("command: [mlflow, --env-file, x.env, server, -w, 2]", "-w 2"),
        ("command: ./wait.sh db:3306 -- mlflow server -h 0", "-h 0"),
        ("command: wait-for-it a:1 -t 9 -- wait-for-it b:2 -- mlflow server -w 2", "-w 2"),
        ("command: dockerize -wait tcp://db:1 poetry run mlflow server -w 2", "-w 2"),
        ("command: [tini, --, gosu, app, mlflow, server, -w, 2]", "-w 2"),
        (
            "command: bash -c 'pip install x && exec mlflow server --a $$A | tee log'\nenvironment: {A: v}",
            "--a v",
        ),
        ("command: sh -ec \"sh -c 'mlflow server -w 2'\"", "-w 2"),
        ("command: su app -c 'mlflow server -w 2'", "-w 2"),
        (
            'command: [bash, -c, "bash -lc \\"mlflow server --a \'$$A\'\\""]\nenvironment: {A: v}',
            "--a v",
        ),
        ('command: >\n  bash -c "pip install x && \\\n  mlflow server \\\n  -w 2"', "-w 2"),
        (
            'command: ["sh", "-c", "cd /\\nmlflow server \\\\\\n  --a \\"x#y\\" # no\\nother"]',
            "--a x#y",
        ),
        (
            r"""command: [sh, -c, 'mlflow server --a a#b --b "c\\d" --c e\ f']""",
            r"--a a#b --b c\d --c e f",
        ),
        ("command: [sh, -c, 'mlflow server -w 2 > /dev/null 2>&1 &']", "-w 2"),
        ("command: [sh, -c, 'W=3; export A=$${W:-2}; mlflow server -w \"$$A\"']", "-w 3"),
        (
            "command: [sh, -c, 'mlflow server $$OPTS']\nenvironment: {OPTS: -w 2 -p 80}",
            "-w 2 -p 80",
        ),
        (
            "command: [sh, -c, 'mlflow server -w \"$${W:?}\" -p $${P-80}']\nenvironment: {W: 2}",
            "-w 2 -p 80",
        ),
        ("command: [sh, -c, ': $${W:=5}; if true; then mlflow server -w $$W; fi']", "-w 5"),
        (
            'command: [sh, -c, "cat <<END >x\\nmlflow server -w 1\\nEND\\nmlflow server -w 2"]',
            "-w 2",
        ),
        ("command: [sh, -c, 'mlflow db upgrade x; mlflow server -w 2']", "-w 2"),
        ("command: [sh, -c, 'exec gunicorn mlflow.server:app -w 2']", ""),
        ("command: /opt/venv/bin/mlflow server --opts '--timeout 5'", "--opts --timeout 5"),
        ("command: server --backend-store-uri x", "--backend-store-uri x"),
        ("command: --backend-store-uri x", "--backend-store-uri x"),
        ("entrypoint: mlflow\ncommand: [server, -w, 2]", "-w 2"),
        ("entrypoint: [sh, -c]\ncommand: ['mlflow server -w 2']", "-w 2"),
        ("entrypoint: sh /run.sh\nvolumes: ['./run.sh:/run.sh:ro']", "--workers 4"),
        (
            "command: ./run.sh\nworking_dir: /x\nvolumes: [{type: bind, source: ./run.sh, target: /x/run.sh}]",
            "--workers 4",
        ),
        ("entrypoint: sh /start\nconfigs: [{source: start, target: /start}]", "-w 9"),
        ("build: app", "--default-artifact-root s3://b --workers $WORKERS"),
        ("build: app\ncommand: [-w, 9]", "--default-artifact-root s3://b -w 9"),
        ("build: app\nentrypoint: mlflow\ncommand: server", ""),
        ("build: shell", "-w 3"),
        ("build: {context: shell}\nenvironment: {W: 6}", "-w 6"),
        ("build: here", "-w 7"),
        ("build: {context: stages, target: server}", "-w 8"),
        ('build: {dockerfile_inline: "FROM x\\nCMD mlflow server -w 2"}', "-w 2"),
    ],
)
def test_the_servers_arguments_are_found(keys, expected):
    assert arguments(keys) == expected


@pytest.mark.parametrize(
    "keys",
    [
        "command: [mlflow, models, serve, -m, x]",
        "command: mlflow gc --backend-store-uri x",
        "command: [python, -c, 'mlflow server']",
        "command: [echo, 'mlflow server']",
        "command: python train.py",
        "build: {context: stages}",
        "build: app\nentrypoint: python\ncommand: job.py",
        "entrypoint: sh /gone.sh",
        "image: minio/minio\ncommand: server /data",
    ],
)
def test_other_programs_are_no_server(keys):
    if keys.startswith("image:"):
        file = compose_file.parse("services:\n  x:\n    " + keys.replace("\n", "\n    "), read, {})
        assert Programs(file, read, set()).of(file.services[0]).arguments is None
    else:
        assert arguments(keys) is None


def test_a_script_that_is_not_there_is_named():
    assert program("entrypoint: sh /gone.sh").unread == "/gone.sh"
    assert program("entrypoint: /entry.sh").unread == "/entry.sh"
    assert program("entrypoint: sh /run.sh\nvolumes: ['./run.sh:/run.sh']").unread == ""


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("$$(cat /run/secrets/pw)", "p#1 \\x"),
        ("`cat /run/secrets/pw`", "p#1 \\x"),
        ("$$(< /run/secrets/pw)", "p#1 \\x"),
        ("$$(cat /run/secrets/pw | tr -d '[:space:]')", "p#1 \\x"),
        ("$$(cat $$PW_FILE)", "p#1 \\x"),
        ("$$(cat /run/secrets/other)", "of the shell"),
        ("$$(printf %s $$PW)", "plain"),
        ("$$(cat /run/secrets/gone)", UNKNOWN),
        ("$$(date +%s)", UNKNOWN),
        ("$${PW#p}", UNKNOWN),
    ],
)
def test_passwords_that_a_shell_fills_in(script, expected):
    found = program(
        f"""
command:
  - sh
  - -c
  - |
    mlflow server --a "x:{script}@y"
secrets: [pw, {{source: from_shell, target: other}}]
environment: {{PW_FILE: /run/secrets/pw, PW: plain}}
""",
        FROM_SHELL="of the shell",
    )
    assert found.arguments == ("--a", f"x:{expected}@y")


def test_what_is_known_stays_known_on_the_other_side_of_a_condition():
    shell = Shell({"PW": "known"}, lambda _path: None, set())
    script = 'if [ -f "$PW_FILE" ]; then PW=$(cat "$PW_FILE"); fi\nmlflow server "$PW"'
    assert list(shell.commands(script))[-1] == ["mlflow", "server", "known"]


@pytest.mark.parametrize(
    "script",
    [
        "'",
        '"',
        "$(",
        "${",
        "`",
        "a <<",
        "<<X",
        "((",
        "}{",
        "case x in",
        "\\",
        "$((1+1))",
        "a=$(b",
        "for",
    ],
)
def test_a_script_that_no_shell_would_take_is_no_end(script):
    shell = Shell({}, lambda _path: None, set())
    list(shell.commands(f"echo ok; {script}"))


def test_dockerfiles_have_arguments_stages_and_their_own_texts():
    text = FILES["app/Dockerfile"]
    image = dockerfile.read_dockerfile(text, {"TAG": "3"})
    assert image.entrypoint == ("./entry.sh",)
    assert image.command == ("--workers", "$WORKERS")
    assert image.environment == {"WORKERS": "2", "ROOT": "s3://b"}
    assert image.folder == "/app"
    assert image.base == "python:3"
    assert next(dockerfile.sources(image, "./entry.sh")) == "./entry.sh"
    assert dockerfile.read_dockerfile(text, {}).base == "python:1"
