"""A load balancer before nginx: what it refuses, and what nginx and oauth2-proxy are told behind it."""

import re
import tomllib

import pytest

from pulumi_mlflow.core import alb, oidc, proxy


@pytest.mark.parametrize(
    ("seconds", "fits"), [(299, False), (300, True), (4000, True), (4001, False)]
)
def test_idle_time(seconds, fits):
    assert (alb.check_idle(seconds) is None) == fits


@pytest.mark.parametrize(
    ("login", "auth", "limits", "reason"),
    [
        ("alb", "oidc", False, None),
        ("proxy", "oidc", True, None),
        ("proxy", "oidc-mlflow", False, None),
        ("alb", "oidc", True, "heeds no allowed_groups"),
        ("alb", "oidc-mlflow", False, "nobody's name or groups"),
        ("nginx", "oidc", False, "must be one of alb, proxy"),
    ],
)
def test_logins(login, auth, limits, reason):
    found = alb.check_login(login, auth, limits_users=limits)
    assert found is None if reason is None else reason in (found or "")


def test_cognitos_issuer_in_a_partition_with_a_domain_of_its_own():
    arn = "arn:aws-cn:cognito-idp:cn-north-1:1:userpool/cn-north-1_abc"
    assert alb.cognito_issuer(arn) == (
        "https://cognito-idp.cn-north-1.amazonaws.com.cn/cn-north-1_abc"
    )


def test_cognitos_issuer():
    arn = "arn:aws:cognito-idp:eu-central-1:1:userpool/eu-central-1_abc"
    assert alb.cognito_issuer(arn) == (
        "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_abc"
    )
    for wrong in ("eu-central-1_abc", "arn:aws:s3:::b", "arn:aws:cognito-idp:r:1:pool/x"):
        with pytest.raises(ValueError, match="must be the ARN of a Cognito user pool"):
            alb.cognito_issuer(wrong)


@pytest.mark.parametrize("url", ["", "http://id.example.com/token", "id.example.com"])
def test_a_provider_is_asked_by_https_only(url):
    assert alb.check_endpoint(url)
    assert alb.check_endpoint("https://id.example.com/token") is None


def test_firewall_rules_have_no_limit_of_bodies_and_keep_no_tokens():
    rules = alb.firewall_rules(500)
    assert rules[0]["statement"]["rate_based_statement"]["limit"] == 500
    assert len({rule["priority"] for rule in rules}) == len(rules)
    assert not [rule for rule in rules if "CommonRuleSet" in rule["name"]]
    assert not [r for r in rules if r["visibility_config"]["sampled_requests_enabled"]]
    assert len(alb.API_PATHS) <= 5


def test_requests_are_counted_for_each_task():
    metrics = {item["id"]: item for item in alb.requests_a_task("app/x/1", "c", "s")}
    assert metrics["each"]["expression"] == "requests / tasks"
    assert [item["id"] for item in metrics.values() if item["return_data"]] == ["each"]
    names = [d["name"] for d in metrics["tasks"]["metric_stat"]["metric"]["dimensions"]]
    assert names == ["ClusterName", "ServiceName"]


def nginx(**changes):
    values = {
        "listen_port": 8080,
        "upstream_host": "tracking.mlflow-prod.internal",
        "upstream_port": 5000,
        "auth": "none",
        "resolver": "169.254.169.253",
        "oidc_host": "127.0.0.1",
        "oidc_port": 4180,
        "scheme": "https",
        "hsts": True,
        "trusted": ("10.42.0.0/16", "127.0.0.1/32"),
    }
    return proxy.render_nginx(proxy.ProxySettings(**{**values, **changes}))


def test_nginx_takes_the_clients_address_from_the_load_balancer_only():
    text = nginx()
    assert re.findall(r"set_real_ip_from (\S+);", text) == ["10.42.0.0/16", "127.0.0.1/32"]
    assert "real_ip_header X-Forwarded-For;" in text
    assert "real_ip_recursive on;" in text
    assert "real_ip" not in nginx(trusted=())


def test_behind_tls_the_server_is_told_https():
    assert set(re.findall(r"X-Forwarded-Proto (\S+);", nginx(auth="oidc"))) == {"https"}
    assert set(re.findall(r"X-Forwarded-Proto (\S+);", nginx(scheme=""))) == {"$scheme"}
    assert "Strict-Transport-Security" in nginx()
    assert "Strict-Transport-Security" not in nginx(scheme="")


def test_logins_of_the_load_balancer_do_not_reach_the_server():
    text = nginx(logged_in=True)
    assert 'proxy_set_header Authorization "";' in text
    assert 'proxy_set_header Cookie "";' in text
    for header in ("Accesstoken", "Data", "Identity"):
        assert f'proxy_set_header X-Amzn-Oidc-{header} "";' in text
    assert 'proxy_set_header Cookie "";' not in nginx()
    with pytest.raises(ValueError, match="logged_in: is for auth none"):
        nginx(logged_in=True, auth="oidc")


@pytest.mark.parametrize("block", ["10.42.0.0/16; include /etc/passwd", "everybody", "10.0.0.1/8"])
def test_trusted_addresses_are_addresses(block):
    with pytest.raises(ValueError, match=r"does not appear|host bits"):
        nginx(trusted=(block,))


def provider(**changes):
    values = {
        "listen_port": 4180,
        "issuer": "https://id.example.com",
        "client_id": "mlflow",
        "client_secret": "s",
        "cookie_secret": "c" * 32,
        "cookie_name": "mlflow",
        "secure": True,
    }
    return tomllib.loads(oidc.render_config(oidc.OidcSettings(**{**values, **changes})))


def test_oauth2_proxy_passes_on_who_has_a_token_and_sends_nobody_to_a_login():
    found = provider(upstream="http://127.0.0.1:8080")
    assert found["upstreams"] == ["http://127.0.0.1:8080"]
    assert found["api_routes"] == ["^/"]
    assert found["skip_jwt_bearer_tokens"] is True
    # An answer begins when S3 has all of an upload; its own limit is 30 s.
    assert found["upstream_timeout"] == "3600s"
    assert found["pass_basic_auth"] is False
    assert found["pass_user_headers"] is False
    assert "upstream_timeout" not in provider()
    assert provider()["upstreams"] == ["static://404"]
