"""Plays the `pulumi` command for stacks that a test has written to stacks.json; notes each call in calls.log."""

import json
import os
import sys
from pathlib import Path

FOLDER = Path(os.environ["FAKE_PULUMI_FOLDER"])
words = sys.argv[1:]
name = words[words.index("--stack") + 1]
command = " ".join(words[: words.index("--stack")])
stacks = json.loads((FOLDER / "stacks.json").read_text())
with (FOLDER / "calls.log").open("a") as log:
    log.write(f"{name}: {command}\n")

if name not in stacks:
    sys.exit(f"error: no stack named '{name}' found")
stack = stacks[name]
if stack.get("broken") and command.startswith(stack["broken"]):
    sys.exit("error: incorrect passphrase")
if command == "stack output --json --show-secrets":
    print(json.dumps(stack.get("outputs", {})))
elif command.startswith("stack export"):
    runs = [{"urn": "urn::server", "type": "docker:index/container:Container", "custom": True}]
    print(json.dumps({"version": 3, "deployment": {"resources": stack.get("resources", runs)}}))
elif command == "stack import":
    stack["resources"] = json.load(sys.stdin)["deployment"]["resources"]
elif command == "state unprotect --all --yes":
    for resource in stack.get("resources", []):
        resource["protect"] = False
elif command.startswith("destroy"):
    stack["resources"] = [r for r in stack.get("resources", []) if r.get("protect")]
elif command == "config --json":
    print(json.dumps(stack.get("config", {})))
elif command.startswith(("config set --path ", "config rm --path ")):
    pass  # noted in calls.log; what the real one makes of it is in tests/engine/test_users.py
elif command != "up --yes --skip-preview":
    sys.exit(f"error: unknown command: {command}")
(FOLDER / "stacks.json").write_text(json.dumps(stacks))
