"""oauth2-proxy's configuration; that it takes and heeds it is shown by tests/docker/test_oidc.py."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_mlflow.core import oidc


def settings(**changes):
    values = {
        "listen_port": 4180,
        "issuer": "https://id.example.com/realms/ml",
        "client_id": "mlflow",
        "client_secret": "sentinel-client",
        "cookie_secret": "c" * 32,
        "cookie_name": "mlflow-dev-oidc",
        "secure": True,
    }
    return oidc.OidcSettings(**{**values, **changes})


def read(**changes):
    return tomllib.loads(oidc.render_config(settings(**changes)))


texts = st.text(min_size=1, max_size=20).filter(str.isprintable)


@given(texts, texts, st.lists(texts, max_size=3))
def test_every_value_comes_back_as_it_was_given(secret, claim, groups):
    found = read(client_secret=secret, groups_claim=claim, allowed_groups=groups, audiences=groups)
    assert found["client_secret"] == secret
    assert found["oidc_groups_claim"] == claim
    assert found["allowed_groups"] == found["oidc_extra_audiences"] == groups


def test_sessions():
    found = read()
    assert found["cookie_secure"] is True
    assert found["cookie_httponly"] is True
    assert found["cookie_samesite"] == "lax"
    assert found["cookie_expire"] == "8h"
    # What needs the provider's tokens in the session cannot be had together with this.
    assert found["session_cookie_minimal"] is True
    assert found["set_authorization_header"] is False
    told = read(claims=True)
    assert (told["session_cookie_minimal"], told["set_authorization_header"]) == (False, True)
    assert "cookie_refresh" not in found
    assert read(secure=False)["cookie_secure"] is False


def test_what_would_weaken_it_is_off():
    found = read()
    assert found["insecure_oidc_skip_nonce"] is False
    assert found["code_challenge_method"] == "S256"
    insecure = {key for key in found if "insecure" in key or key.startswith("skip_auth")}
    assert insecure == {"insecure_oidc_skip_nonce"}
    assert found["request_logging"] is False
    assert found["upstreams"] == ["static://404"]


def test_whom_it_lets_in():
    assert read()["email_domains"] == ["*"]
    assert read(email_domains=["example.com"])["email_domains"] == ["example.com"]
    assert read(scopes=["groups", "email"])["scope"] == "openid email profile groups"
    assert "provider_ca_files" not in read()
    assert read(ca_path="/run/ca.pem")["provider_ca_files"] == ["/run/ca.pem"]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"issuer": "id.example.com"}, "issuer"),
        ({"issuer": "ldap://id.example.com"}, "issuer"),
        ({"client_id": ""}, "client_id"),
        ({"client_secret": ""}, "client_secret"),
        ({"client_secret": "sentinel\nx"}, "client_secret"),
        ({"cookie_secret": "sentinel"}, "cookie_secret"),
        ({"allowed_groups": ["a", ""]}, "allowed_groups"),
        ({"audiences": ["a\x7f"]}, "oidc_extra_audiences"),
    ],
)
def test_wrong_values_are_refused_by_name_and_without_a_secret(changes, key):
    with pytest.raises(ValueError, match=f"^{key}: ") as caught:
        oidc.render_config(settings(**changes))
    assert "sentinel" not in str(caught.value)


def test_secrets_are_not_shown():
    assert "sentinel" not in repr(settings())
    assert "c" * 32 not in repr(settings())
