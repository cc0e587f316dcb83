"""The program on the page about Kubernetes does what the page says."""

import re
from pathlib import Path

import pulumi
from tests.kubernetes import cluster

PAGE = Path(__file__).resolve().parents[2] / "docs" / "kubernetes.md"


class Config:
    def require(self, _key):
        return cluster.IMAGE

    def require_secret(self, _key):
        return pulumi.Output.secret("typedpassword")


def test_the_program_of_the_page_is_whole(tmp_path, monkeypatch):
    [program] = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "rds-ca.pem").write_text("PEM")
    monkeypatch.chdir(tmp_path)

    def made():
        exec(compile(program.replace("…", "1"), PAGE, "exec"), {"config": Config()})  # noqa: S102
        return {}

    seen, _ = cluster.run(made)
    cluster.judge(seen)
    order = [item.name for item in seen]
    for first, then in (
        ("network-deny", "tracking-migration"),
        ("tracking-migration", "tracking-deployment"),
        ("tracking-deployment", "proxy-deployment"),
        ("proxy-certificate", "proxy-ingress"),
    ):
        assert order.index(first) < order.index(then)
    assert "typedpassword" not in "".join(
        str(item.inputs) for item in seen if item.kind != "Secret"
    )
