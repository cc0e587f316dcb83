"""Prints which packages of its environment have a plugin: those with a `pulumi-plugin.json`, as generated SDKs have."""

import json
import sys
from pathlib import Path

packages = []
for folder in dict.fromkeys(sys.path):
    for path in sorted(Path(folder).glob("*/pulumi-plugin.json")):
        told = json.loads(path.read_text(encoding="utf-8"))
        if told.get("resource"):
            version = "v" + told["version"].removeprefix("v")
            known = {"kind": "resource", "name": told["name"], "version": version}
            packages.append(known | ({"server": told["server"]} if told.get("server") else {}))
json.dump(packages, sys.stdout)
