"""What a collection's members are made into is named by the member, not by its place: where a middle one goes, the others stay.

In every runtime, and over all that is registered: a stack has three members in each of its collections, and another one
the first and the last of them. What is registered for both must speak of the same members, but for those that are gone.
"""

import json
from typing import Any, NamedTuple, get_args, get_origin

import pytest
import yaml
from tests.stacks import cloud
from tests.stacks.test_compose import composed, ingredients
from tests.support import ROOT

from models import Runtime
from settings import dotted, fields, runtimes_of

__all__ = ["ingredients"]

ROLE = "arn:aws:iam::111122223333:role"


def three(pattern):
    return [pattern.format(name) for name in ("alpha", "bravo", "carol")]


def keyed(pattern, value="x"):
    return dict.fromkeys(three(pattern), value)


SHARED = {
    "tracking.allowed_hosts": three("{}.inside.example"),
    "access.hosts": three("{}.hosts.example"),
    "access.html_sources": three("https://{}.sources.example"),
}
USERS = {"access.users": three("{}-user")}
LOGIN = {
    "access.oidc.audiences": three("{}-audience"),
    "access.oidc.scopes": three("{}-scope"),
    "access.oidc.allowed_groups": three("{}-group"),
    "access.oidc.email_domains": three("{}.domains.example"),
}
TEAM = {
    **LOGIN,
    "access.oidc.admin_groups": three("{}-admins"),
    "access.permissions.groups": keyed("{}-team", "EDIT"),
}
NEW_NETWORK = {"aws.zones": [f"eu-central-1{zone}" for zone in "abc"]}
OLD_NETWORK = {
    "aws.network.private_subnets": [f"subnet-0000000{n}" for n in "abc"],
    "aws.network.public_subnets": [f"subnet-0000001{n}" for n in "abc"],
}
DOOR = {
    "aws.clients": [f"198.51.{n}.0/24" for n in (100, 101, 102)],
    "monitoring.emails": three("{}@mails.example"),
}
CLUSTER = {
    "kubernetes.identity.annotations": keyed("{}.identities/x"),
    "kubernetes.identity.pod_labels": keyed("{}.pods/x"),
    "kubernetes.ingress.cidrs": [f"203.0.{n}.0/24" for n in (113, 114, 115)],
    "kubernetes.ingress.annotations": keyed("{}.ingresses/x"),
    "kubernetes.pull_secrets": three("{}-pull"),
    "monitoring.labels": keyed("{}.monitors/x"),
}


class Crowd(NamedTuple):
    """A stack whose collections have three members each.

    Attributes:
        stack: `local`, `dev`, or `prod` for one of a cloud.
        base: what it says besides.
        members: collection → its members.
    """

    stack: str
    base: dict[str, Any]
    members: dict[str, Any]


BASIC = {
    "access": {"auth": "basic", "oidc": None},
    "oidc_client_secret": None,
    "registry": {"oauth2_proxy": None},
}
OIDC = {"issuer": "https://sso.corp.example", "client_id": "mlflow"}
OWN_USERS = {"access": {"auth": "oidc-mlflow"}}
WATCHED = {"monitoring": {"namespace": "monitoring"}}
BY_ROLE = {"kubernetes": {"cluster": None, "identity": {"role_arn": f"{ROLE}/mlflow"}}}
CROWDS = {
    "local": Crowd("local", {}, {"tracking.allowed_hosts": SHARED["tracking.allowed_hosts"]}),
    "docker, passwords": Crowd("dev", {}, SHARED | USERS),
    "docker, a provider": Crowd(
        "dev",
        {"access": {"auth": "oidc-mlflow", "oidc": OIDC}, **cloud.secret("oidc_client_secret")},
        SHARED | TEAM,
    ),
    "aws, passwords": Crowd(
        "prod", cloud.merged(cloud.AWS, BASIC), SHARED | USERS | DOOR | NEW_NETWORK
    ),
    "aws, a provider": Crowd(
        "prod",
        cloud.merged(
            cloud.AWS, OWN_USERS, {"aws": {"network": {**cloud.NETWORK, "internet": True}}}
        ),
        SHARED | TEAM | DOOR | OLD_NETWORK,
    ),
    "aws, a cluster": Crowd(
        "prod",
        cloud.merged(cloud.AWS_CLUSTER, OWN_USERS, WATCHED, BY_ROLE),
        SHARED | TEAM | CLUSTER,
    ),
    "kubernetes, passwords": Crowd("prod", cloud.merged(cloud.KUBERNETES, BASIC), SHARED | USERS),
    "kubernetes, a provider": Crowd(
        "prod", cloud.merged(cloud.KUBERNETES, OWN_USERS, WATCHED), SHARED | TEAM | CLUSTER
    ),
}


def collections():
    """Key → runtimes, of every setting whose members are the user's own words."""
    for path, field in fields():
        for kind in (field.annotation, *get_args(field.annotation)):
            # Members of an enumeration are words of ours, and no other can be.
            if get_origin(kind) is dict or (get_origin(kind) is list and not _enumerated(kind)):
                yield dotted(path), runtimes_of(field)


def _enumerated(kind):
    return hasattr(get_args(kind)[0], "__members__")


def test_every_collection_of_the_settings_is_here():
    wanted = {(key, runtime) for key, runtimes in collections() for runtime in runtimes}
    here = {
        (key, name.partition(",")[0]) for name, crowd in CROWDS.items() for key in crowd.members
    }
    assert here >= wanted


def given(crowd, *, without_middle):
    """Settings of a crowd."""
    tree = crowd.base
    for key, members in crowd.members.items():
        kept = [member for at, member in enumerate(members) if at != 1 or not without_middle]
        value = {member: members[member] for member in kept} if isinstance(members, dict) else kept
        for part in reversed(key.split(".")):
            value = {part: value}
        tree = _over(tree, value)
    return tree


def _over(tree, value):
    """A tree with a value in it, which takes the place of what was there."""
    found = dict(tree)
    for key, part in value.items():
        nested = isinstance(part, dict) and isinstance(found.get(key), dict)
        found[key] = _over(found[key], part) if nested else part
    return found


def registered(crowd, tree):
    """Logical name → all that is said of a resource."""
    if crowd.stack == "prod":
        seen = cloud.Composed(cloud.loaded(tree)).seen.values()
        return {item.name: f"{item.name} {json.dumps(item.inputs, default=str)}" for item in seen}
    config = yaml.safe_load((ROOT / f"Pulumi.{crowd.stack}.yaml").read_text())["config"]
    whole = {key.removeprefix("mlflow:"): value for key, value in config.items()}
    flat = {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in cloud.merged(whole, tree).items()
    }
    if crowd.stack == "dev":
        flat.setdefault("images", "registry")
    seen, _ = composed(crowd.stack, flat, typed=(cloud.SENTINEL,))
    return {item.name: f"{item.name} {json.dumps(item.inputs, default=str)}" for item in seen}


@pytest.mark.parametrize("name", CROWDS)
def test_where_a_middle_member_goes_the_others_stay(name):
    crowd = CROWDS[name]
    members = {member for of in crowd.members.values() for member in of}
    middle = {list(of)[1] for of in crowd.members.values()}
    before = registered(crowd, given(crowd, without_middle=False))
    after = registered(crowd, given(crowd, without_middle=True))

    def spoken_of(text):
        return {member for member in members if member in text}

    assert any(spoken_of(text) for text in before.values())
    assert set(after) <= set(before)
    gone = {name: spoken_of(before[name]) for name in set(before) - set(after)}
    assert all(found and found <= middle for found in gone.values()), gone
    others = {
        name: (spoken_of(before[name]), spoken_of(after[name]))
        for name in after
        if spoken_of(after[name]) != spoken_of(before[name]) - middle
    }
    assert others == {}


def test_runtimes_are_all_here():
    assert {name.partition(",")[0] for name in CROWDS} == {runtime.value for runtime in Runtime}
