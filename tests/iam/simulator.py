"""What AWS would decide: policies judged by @cloud-copilot/iam-simulate, which is no work of ours.

It evaluates policies of roles, resources, trust and VPC endpoints with all conditions, and knows from AWS's own lists
which actions there are, for which resources, with which condition keys. Node.js runs it, once in a test process;
`setup.py tool iam-simulate` installs both where they are missing.
"""

import atexit
import functools
import json
import subprocess
from pathlib import Path

from tests.components.aws_support import ACCOUNT
from tests.support import tool

STRANGERS = "999999999999"
"""An account of others."""
SOMEBODY = f"arn:aws:iam::{ACCOUNT}:role/somebody"
STRANGER = f"arn:aws:iam::{STRANGERS}:role/somebody"
NOBODY = {"type": "Anonymous"}
"""Who sends a request without a signature."""

DECISIONS = {"Allowed": "allow", "ExplicitlyDenied": "deny", "ImplicitlyDenied": "none"}


def _allows_all(**principal):
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*", **principal}
    return {"Version": "2012-10-17", "Statement": [statement]}


EVERYTHING = _allows_all()
"""An administrator's policy."""
TO_EVERYBODY = _allows_all(Principal="*")
"""A resource's policy that leaves the decision to others."""


@functools.cache
def _runner():
    folder = tool("iam-simulate")
    process = subprocess.Popen(
        [folder / "node", Path(__file__).with_name("simulator.mjs"), folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def end():
        process.stdin.close()
        process.wait(10)

    atexit.register(end)
    return process


def call(package, function, *arguments):
    """What a function of the simulator's packages returns.

    Raises:
        ValueError: it refused its arguments.
    """
    process = _runner()
    process.stdin.write(json.dumps([package, function, *arguments]) + "\n")
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    if "error" in answer:
        raise ValueError(f"{function}: {answer['error']}")
    return answer.get("value")


def judge(
    action,
    resource,
    context=None,
    *,
    who=SOMEBODY,
    owner=ACCOUNT,
    identity=None,
    resource_policy=None,
    endpoint=None,
):
    """Decide a request.

    Args:
        action: `service:Action`.
        resource: its ARN; `*` for actions without one.
        context: condition key → value or values, over what AWS always adds: TLS, who asks, and who owns the resource.
            A None takes one of these away.
        who: ARN of a role, name of a service, or NOBODY.
        owner: account of the resource.
        identity: document of the role.
        resource_policy: document of the resource.
        endpoint: document of the VPC endpoint that the request passes.

    Returns:
        `allow`, `deny` (a statement that denies) or `none` (no statement that allows, which is no).

    Raises:
        ValueError: AWS knows no such action, no such resource of it, or no such condition key for both.
    """
    given = {"aws:SecureTransport": "true", "aws:ResourceAccount": owner}
    if str(who).startswith("arn:"):
        given["aws:PrincipalArn"] = who
    given = {key: value for key, value in (given | (context or {})).items() if value is not None}
    request = {
        "principal": who,
        "action": action,
        "resource": {"resource": resource, "accountId": owner},
        "contextVariables": given,
    }
    simulation = {
        "request": request,
        "identityPolicies": [{"name": "role", "policy": identity}] if identity else [],
        "serviceControlPolicies": [],
        "resourceControlPolicies": [],
        "resourcePolicy": resource_policy,
        **({"vpcEndpointPolicies": [{"name": "endpoint", "policy": endpoint}]} if endpoint else {}),
    }
    said = call("iam-simulate", "runSimulation", simulation, {})
    if said["resultType"] != "single":
        raise ValueError(f"{action} on {resource}: {said.get('errors', said)}")
    if ignored := said["result"]["ignoredContextKeys"]:
        raise ValueError(f"{action} on {resource}: has no condition key {', '.join(ignored)}")
    return DECISIONS[said["overallResult"]]


class Policy:
    """A document of one of the kinds below, and what AWS decides by it."""

    def __init__(self, text):
        self.document = json.loads(text)

    @property
    def statements(self):
        return self.document["Statement"]

    def actions(self):
        """Every action that it names."""
        return sorted({action for s in self.statements for action in s["Action"]})

    def faults(self):
        """Why AWS would not take it, as far as its grammar goes; identifiers that are there twice, too."""
        return [
            fault
            for check in (self.validator, "lintPolicy")
            for fault in call("iam-policy", check, self.document)
        ]


class RolePolicy(Policy):
    """Of a role: asked by that role, for what belongs to its account."""

    validator = "validateIdentityPolicy"

    def decide(self, action, resource, context=None):
        """As of `judge`."""
        # A key's own policy has to let its account's roles decide; that is the one that AWS gives it.
        account = {"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}
        key = _allows_all(**account) if action.startswith("kms:") else None
        return judge(action, resource, context, identity=self.document, resource_policy=key)


class ResourcePolicy(Policy):
    """Of a bucket or topic: asked by anybody; by a role that may do nothing itself, unless `identity` says otherwise."""

    validator = "validateResourcePolicy"

    def decide(self, action, resource, context=None, *, who=SOMEBODY, identity=None):
        """As of `judge`."""
        return judge(
            action, resource, context, who=who, identity=identity, resource_policy=self.document
        )


class TrustPolicy(Policy):
    """Of a role: who takes it on."""

    validator = "validateTrustPolicy"

    def decide(self, who, context=None, action="sts:AssumeRole"):
        """As of `judge`."""
        role = f"arn:aws:iam::{ACCOUNT}:role/taken-on"
        return judge(action, role, context, who=who, resource_policy=self.document)


class EndpointPolicy(Policy):
    """Of a VPC endpoint: asked by an administrator, for resources that let everybody do everything."""

    validator = "validateEndpointPolicy"

    def decide(self, action, resource, context=None, *, owner=ACCOUNT):
        """As of `judge`."""
        return judge(
            action,
            resource,
            context,
            owner=owner,
            identity=EVERYTHING,
            resource_policy=TO_EVERYBODY,
            endpoint=self.document,
        )
