"""An Application Load Balancer before the front door: who passes where, and what a web firewall counts."""

from typing import Any
from urllib.parse import urlsplit

from . import iam, proxy

IDLE_SECONDS = range(300, 4001)
"""How long a connection may be silent, in seconds: an upload of a large artifact is, while the server sends it on to
S3. 4000 is the load balancer's own limit."""

API_PATHS = ("/api/*", "/ajax-api/*", "/graphql", "/get-artifact*", "/model-versions/*")
"""What programs and the pages' own scripts ask for: without a session they are refused rather than sent to a login,
which they would take for an answer. A rule has at most five values."""

TLS_POLICY = "ELBSecurityPolicy-TLS13-1-2-2021-06"
"""TLS 1.3, and 1.2 with forward secrecy.
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html"""

LOGINS = ("alb", "proxy")
"""Who logs browsers in: the load balancer itself, or oauth2-proxy behind it."""

FIREWALL_RATE = 300 * proxy.RATE_LIMIT
"""Requests of one address within the firewall's five minutes: no fewer than nginx lets pass."""

_MANAGED_RULES = ("AWSManagedRulesAmazonIpReputationList", "AWSManagedRulesKnownBadInputsRuleSet")
"""AWS's own sets that an upload of a model passes: the common one refuses bodies over 8 KB."""


def check_idle(seconds: int) -> str | None:
    """Why a connection cannot be silent for so long, or None."""
    if seconds in IDLE_SECONDS:
        return None
    return (
        f"must be {IDLE_SECONDS.start} to {IDLE_SECONDS.stop - 1} s: less ends large uploads with 504, and a load "
        f"balancer takes no more (got {seconds})"
    )


def check_login(login: str, auth: str, *, limits_users: bool) -> str | None:
    """Why browsers cannot be logged in so, or None.

    Args:
        login: one of `LOGINS`.
        auth: one of `proxy.MODES`.
        limits_users: whether only some users of the provider are let in.
    """
    if login not in LOGINS:
        return f"must be one of {', '.join(LOGINS)} (got {login!r})"
    if login == "proxy" or auth not in ("oidc", "oidc-mlflow"):
        return None
    if auth == "oidc-mlflow":
        return (
            "'alb' tells the server nobody's name or groups, which 'oidc-mlflow' needs; use 'proxy'"
        )
    if limits_users:
        return (
            "'alb' lets in whomever the provider knows, and heeds no allowed_groups or email_domains; use 'proxy', or "
            "limit the users at the provider"
        )
    return None


def cognito_issuer(user_pool: str) -> str:
    """URL of a Cognito user pool as its tokens name it.

    Args:
        user_pool: its ARN.

    Raises:
        ValueError: it is no user pool's.
    """
    parts = user_pool.split(":", 5)
    if len(parts) != 6 or parts[2] != "cognito-idp" or not parts[5].startswith("userpool/"):  # noqa: PLR2004 - an ARN
        raise ValueError(f"user_pool: must be the ARN of a Cognito user pool (got {user_pool!r})")
    region, pool = parts[3], parts[5].removeprefix("userpool/")
    return f"https://cognito-idp.{region}.{iam.domain(region)}/{pool}"


def check_endpoint(url: str) -> str | None:
    """Why the load balancer cannot ask a provider at a URL, or None: it takes HTTPS with a public certificate only."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return None
    return f"must be a URL with https (got {url!r})"


def firewall_rules(rate: int) -> list[dict[str, Any]]:
    """Rules of a web firewall, in the form of WAF's own API (CamelCase).

    Args:
        rate: requests that one address may make within five minutes.
    """
    rules: list[dict[str, Any]] = [
        {
            "name": "rate",
            "priority": 0,
            "action": {"block": {}},
            "statement": {"rate_based_statement": {"limit": rate, "aggregate_key_type": "IP"}},
            "visibility_config": _visible("rate"),
        }
    ]
    return rules + [
        {
            "name": name,
            "priority": number,
            "override_action": {"none": {}},
            "statement": {
                "managed_rule_group_statement": {"vendor_name": "AWS", "name": name},
            },
            "visibility_config": _visible(name),
        }
        for number, name in enumerate(_MANAGED_RULES, start=1)
    ]


def _visible(name: str) -> dict[str, Any]:
    return {
        "cloudwatch_metrics_enabled": True,
        "metric_name": name,
        # A sampled request is kept with its headers, and so with its token.
        "sampled_requests_enabled": False,
    }


def requests_a_task(balancer: str, cluster: str, service: str) -> list[dict[str, Any]]:
    """Metrics of autoscaling: requests a minute through a load balancer, for each task of a service behind it.

    Args:
        balancer: the end of its ARN (`app/…`), as CloudWatch names it.
        cluster: name of the service's cluster.
        service: name of the service.
    """
    return [
        {
            "id": "requests",
            "metric_stat": {
                "metric": {
                    "namespace": "AWS/ApplicationELB",
                    "metric_name": "RequestCount",
                    "dimensions": [{"name": "LoadBalancer", "value": balancer}],
                },
                "stat": "Sum",
            },
            "return_data": False,
        },
        {
            "id": "tasks",
            "metric_stat": {
                "metric": {
                    "namespace": "ECS/ContainerInsights",
                    "metric_name": "RunningTaskCount",
                    "dimensions": [
                        {"name": "ClusterName", "value": cluster},
                        {"name": "ServiceName", "value": service},
                    ],
                },
                "stat": "Average",
            },
            "return_data": False,
        },
        {"id": "each", "expression": "requests / tasks", "return_data": True},
    ]
