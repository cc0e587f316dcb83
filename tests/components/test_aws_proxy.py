"""AwsAuthProxy under mocks: who gets in by which way, in which order, and what is refused."""

import json

import pytest
from tests.components.aws_support import (
    ACCOUNT,
    NETWORK,
    REGION,
    Program,
    check_request,
)
from tests.iam.simulator import RolePolicy
from tests.support import is_secret

from pulumi_mlflow.aws.proxy import AwsAuthProxy
from pulumi_mlflow.contracts import UnreachableEndpointError
from pulumi_mlflow.core import alb


def image(name):
    return f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{name}@sha256:{'b' * 64}"


TRACKING = {
    "component": "tracking",
    "reach": [NETWORK["place"]],
    "internal_url": "http://tracking.mlflow-prod.internal:5000",
    "ready_path": "/ready",
    "auth_mode": "none",
    "security_group": "sg-tracking",
}
CLIENT_SECRET = "S3NTINELclient"
OIDC = {
    "issuer": "https://id.example.com",
    "client_id": "mlflow",
    "client_secret": CLIENT_SECRET,
    "authorization_endpoint": "https://id.example.com/authorize",
    "token_endpoint": "https://id.example.com/token",
    "user_info_endpoint": "https://id.example.com/userinfo",
}
COGNITO = {
    "user_pool": f"arn:aws:cognito-idp:{REGION}:{ACCOUNT}:userpool/{REGION}_abc",
    "client_id": "mlflow",
    "client_secret": CLIENT_SECRET,
    "domain": "acme",
}
ARGS = {
    "network": NETWORK,
    "cluster": f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/mlflow-prod",
    "image": image("nginx"),
    "files_image": image("mlflow"),
    "oidc_image": image("oauth2-proxy"),
    "tracking": TRACKING,
    "hosts": ["mlflow.example.com", "ml.example.com"],
    "zone": "Z1",
    "oidc": OIDC,
}


def door(**args):
    given = {key: value for key, value in {**ARGS, **args}.items() if value is not None}
    return Program(lambda: AwsAuthProxy("proxy", given))


MODES = {
    "basic": {"auth": "basic"},
    "mlflow": {"auth": "mlflow", "tracking": {**TRACKING, "auth_mode": "mlflow"}},
    "oidc": {"auth": "oidc"},
    "cognito": {"auth": "oidc", "oidc": None, "cognito": COGNITO},
    "oidc by proxy": {"auth": "oidc", "login": "proxy"},
    "oidc-mlflow": {
        "auth": "oidc-mlflow",
        "tracking": {
            **TRACKING,
            "auth_mode": "oidc-mlflow",
            "proxy_secret": "S3NTINELproxysecret",
        },
    },
}


@pytest.fixture(scope="module", params=MODES)
def each(request):
    return request.param, door(**MODES[request.param])


@pytest.fixture(scope="module")
def usual():
    return door()


def files(found):
    return json.loads(found["proxy-files-version"]["secretString"])


def containers(found):
    return {
        item["name"]: item
        for item in json.loads(found["proxy-server-task"]["containerDefinitions"])
    }


def kinds(actions):
    return [action["type"] for action in actions]


def test_plain_http_is_sent_to_tls(each):
    _, found = each
    [action] = found["proxy-http"]["defaultActions"]
    assert action["redirect"] == {"port": "443", "protocol": "HTTPS", "statusCode": "HTTP_301"}
    assert found["proxy-https"]["sslPolicy"] == alb.TLS_POLICY
    assert found["proxy-https"]["protocol"] == "HTTPS"


def test_nobody_passes_without_a_login(each):
    """The load balancer asks, or nginx does; where neither nor, MLflow itself."""
    mode, found = each
    asked = kinds(found["proxy-https"]["defaultActions"])
    conf = files(found)["nginx.conf"]
    if mode in ("oidc", "cognito"):
        assert asked == [f"authenticate-{mode}", "forward"]
        assert "auth_request /-/oidc" not in conf
    else:
        assert asked == ["forward"]
        guard = {
            "basic": "auth_basic_user_file /run/pulumi-mlflow/htpasswd;",
            "mlflow": "auth_request /-/mlflow;",
        }.get(mode, "auth_request /-/oidc;")
        assert guard in conf


def test_the_server_is_told_what_a_token_says_only_where_it_heeds_groups(each):
    mode, found = each
    told = mode == "oidc-mlflow"
    config = files(found).get("oauth2-proxy.cfg", "")
    assert ("set_authorization_header = true" in config) == told
    assert ("X-Mlflow-Claims $claims;" in files(found)["nginx.conf"]) == told


def test_a_token_goes_to_oauth2_proxy_before_all_else(usual):
    rules = usual.of("lb/listenerRule:ListenerRule")
    health, first, *_ = sorted(rules, key=lambda item: item.inputs["priority"])
    # But for a path that nginx answers by a constant.
    assert health.inputs["conditions"] == [{"pathPattern": {"values": ["/health"]}}]
    assert kinds(health.inputs["actions"]) == ["forward"]
    assert health.inputs["actions"][0]["targetGroupArn"].endswith("proxy-web-targets")
    assert first.inputs["conditions"] == [
        {"httpHeader": {"httpHeaderName": "Authorization", "values": ["*"]}}
    ]
    assert kinds(first.inputs["actions"]) == ["forward"]
    assert first.inputs["actions"][0]["targetGroupArn"].endswith("proxy-token-targets")
    assert usual["proxy-token-targets"]["port"] == 4180
    config = files(usual)["oauth2-proxy.cfg"]
    assert 'upstreams = ["http://127.0.0.1:8080"]' in config
    assert 'api_routes = ["^/"]' in config


def test_a_program_without_a_token_is_refused_and_not_sent_to_a_page(usual):
    rule = usual["proxy-api-rule"]
    assert rule["priority"] == 20
    assert "/api/*" in rule["conditions"][0]["pathPattern"]["values"]
    login, forward = rule["actions"]
    assert login["authenticateOidc"]["onUnauthenticatedRequest"] == "deny"
    assert forward["targetGroupArn"].endswith("proxy-web-targets")
    [page, _] = usual["proxy-https"]["defaultActions"]
    assert page["authenticateOidc"]["onUnauthenticatedRequest"] == "authenticate"
    assert page["authenticateOidc"]["scope"] == "openid email profile"
    assert page["authenticateOidc"]["sessionTimeout"] == 8 * 3600


def test_cognito(usual):
    found = door(**MODES["cognito"])
    [page, _] = found["proxy-https"]["defaultActions"]
    assert page["authenticateCognito"]["userPoolDomain"] == "acme"
    config = files(found)["oauth2-proxy.cfg"]
    assert f"https://cognito-idp.{REGION}.amazonaws.com/{REGION}_abc" in config


def test_only_nginx_reaches_the_server_and_only_the_load_balancer_nginx(usual):
    into = {
        name: (
            item.inputs["securityGroupId"],
            item.inputs["fromPort"],
            item.inputs.get("referencedSecurityGroupId", item.inputs.get("cidrIpv4")),
        )
        for name, item in usual.seen.items()
        if item.typ.endswith("SecurityGroupIngressRule")
    }
    assert into == {
        "proxy-clients-https-all": ("proxy-balancer-group-id", 443, "0.0.0.0/0"),
        "proxy-clients-http-all": ("proxy-balancer-group-id", 80, "0.0.0.0/0"),
        "proxy-balancer-web-in": ("proxy-server-group-id", 8080, "proxy-balancer-group-id"),
        "proxy-balancer-token-in": ("proxy-server-group-id", 4180, "proxy-balancer-group-id"),
        "proxy-server-in": ("sg-tracking", 5000, "proxy-server-group-id"),
    }
    # Without a token's way oauth2-proxy is reached by nginx alone.
    other = door(**MODES["oidc by proxy"])
    assert "proxy-balancer-token-in" not in other.seen
    assert "proxy-token-targets" not in other.seen
    assert "proxy-balancer-provider" not in other.seen


def test_without_a_provider_nothing_goes_to_the_internet():
    found = door(**MODES["basic"])
    out = [
        item.inputs for item in found.seen.values() if item.typ.endswith("SecurityGroupEgressRule")
    ]
    assert not [rule for rule in out if rule.get("cidrIpv4") == "0.0.0.0/0"]
    assert list(containers(found)) == ["files", "nginx"]


def test_tasks_are_registered_with_groups_that_a_listener_names(each):
    mode, found = each
    service = found["proxy-server-service"]
    registered = {
        (item["containerName"], item["containerPort"]) for item in service["loadBalancers"]
    }
    expected = {("nginx", 8080)}
    if mode in ("oidc", "cognito"):
        expected |= {("oauth2-proxy", 4180)}
        assert "proxy-token-rule" in found.waits_for("proxy-server-service")
    assert registered == expected
    assert "proxy-https" in found.waits_for("proxy-server-service")
    for item in found.of("lb/targetGroup:TargetGroup"):
        assert len(item.inputs["name"]) <= 32
        assert item.inputs["targetType"] == "ip"


def test_uploads_may_be_silent(usual):
    balancer = usual["proxy-balancer"]
    assert balancer["idleTimeout"] == 3600
    assert balancer["clientKeepAlive"] >= 3600
    assert balancer["dropInvalidHeaderFields"] is True
    # Nothing is lost with it, and taking a stack down must come to its end.
    assert balancer["enableDeletionProtection"] is False
    assert door(idle_timeout=4000)["proxy-balancer"]["idleTimeout"] == 4000


def test_inside_only():
    found = door(internal=True)
    balancer = found["proxy-balancer"]
    assert balancer["internal"] is True
    assert balancer["subnets"] == NETWORK["private_subnets"]
    assert found["proxy-clients-https-vpc"]["cidrIpv4"] == NETWORK["cidr"]
    assert found.made.endpoint["reach"] == [NETWORK["place"]]
    public = door(clients=["198.51.100.0/24"])
    assert public["proxy-balancer"]["subnets"] == NETWORK["public_subnets"]
    assert public["proxy-clients-https-198.51.100.0/24"]["cidrIpv4"] == "198.51.100.0/24"
    assert "public" in public.made.endpoint["reach"]


def test_secrets_are_in_the_files_alone(each):
    mode, found = each
    held = json.dumps(files(found))
    assert (CLIENT_SECRET in held) == ("oidc.cfg" in held or "oauth2-proxy.cfg" in held)
    assert ("S3NTINELproxysecret" in held) == (mode == "oidc-mlflow")
    for name, item in found.seen.items():
        text = json.dumps(item.inputs)
        if name == "proxy-files-version":
            assert "secretString" in item.secret
        elif name in ("proxy-https", "proxy-api-rule"):
            # The load balancer's own copy, encrypted in the state.
            assert (CLIENT_SECRET in text) == (mode == "oidc")
        else:
            assert "S3NTINEL" not in text, name
            assert "proxysessionvalue" not in text, name
            assert "proxyloginvalue" not in text, name


def test_the_load_balancers_copy_of_the_clients_secret_is_secret():
    found = door()
    raw = found.raw["proxy-https"]["defaultActions"]
    assert is_secret(raw) or is_secret(raw[0]["authenticateOidc"]["clientSecret"])


def test_every_container_is_hardened(each):
    mode, found = each
    definitions = list(containers(found).values())
    check_request("ecs", "RegisterTaskDefinition", family="f", containerDefinitions=definitions)
    users = {name: item["user"] for name, item in containers(found).items()}
    expected = {"files": "10001:10001", "nginx": "101:101"}
    if mode not in ("basic", "mlflow"):
        expected["oauth2-proxy"] = "65532:65532"
    assert users == expected
    for item in containers(found).values():
        assert item["readonlyRootFilesystem"] is True
        assert "@sha256:" in item["image"]
    assert "taskRoleArn" not in found["proxy-server-task"]
    assert "0o444" in containers(found)["files"]["command"][0]


def test_what_starts_it_reads_its_own_files_only(usual):
    policy = RolePolicy(usual["proxy-start-access"]["policy"])
    base = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret"
    assert policy.decide("secretsmanager:GetSecretValue", f"{base}:proxy-files") == "allow"
    assert policy.decide("secretsmanager:GetSecretValue", f"{base}:tracking-files") == "none"


def test_nginx_knows_the_server_by_amazons_dns(usual):
    conf = files(usual)["nginx.conf"]
    assert "resolver 169.254.169.253 valid=5s;" in conf
    assert 'set $upstream "http://tracking.mlflow-prod.internal:5000";' in conf
    assert "set_real_ip_from 10.42.0.0/16;" in conf
    assert 'proxy_set_header Authorization "";' in conf


def test_a_certificate_is_made_for_every_host_or_taken(usual):
    made = usual["proxy-certificate"]
    assert made["domainName"] == "mlflow.example.com"
    assert made["subjectAlternativeNames"] == ["ml.example.com"]
    assert usual["proxy-https"]["certificateArn"].endswith("proxy-certificate")
    assert "proxy-certificate-valid" in usual.seen["proxy-https"].after
    names = [item.inputs["name"] for item in usual.of("route53/record:Record")]
    assert names[2:] == ["mlflow.example.com", "ml.example.com"]
    assert usual["proxy-record-mlflow.example.com"]["aliases"][0]["name"] == "lb.example"
    given = door(certificate="arn:aws:acm:x", zone=None)
    assert given["proxy-https"]["certificateArn"] == "arn:aws:acm:x"
    assert not given.of("route53/record:Record")


def test_the_firewall_is_asked_for():
    assert not door().of("wafv2/webAcl:WebAcl")
    found = door(firewall=True, firewall_rate=777)
    rules = {rule["name"]: rule for rule in found["proxy-firewall"]["rules"]}
    assert rules["rate"]["statement"]["rateBasedStatement"]["limit"] == 777
    assert found["proxy-firewall-association"]["resourceArn"].endswith("proxy-balancer")


def test_requests_add_servers():
    scaling = {
        "target": "service/mlflow-prod/mlflow-prod-tracking-server",
        "cluster_name": "mlflow-prod",
        "service_name": "mlflow-prod-tracking-server",
        "requests": 500,
    }
    policy = door(scaling=scaling)["proxy-server-scaling"]
    assert policy["resourceId"] == scaling["target"]
    config = policy["targetTrackingScalingPolicyConfiguration"]
    assert config["targetValue"] == 500
    metrics = config["customizedMetricSpecification"]["metrics"]
    assert [item["id"] for item in metrics] == ["requests", "tasks", "each"]
    assert metrics[0]["metricStat"]["metric"]["dimensions"][0]["value"] == "app/lb/1"


def test_users_of_basic():
    found = door(auth="basic", users=["ada"])
    held = files(found)["htpasswd"]
    assert [line.split(":")[0] for line in held.splitlines()] == ["mlflow", "ada"]
    assert "proxy-login-ada" not in found.protected()
    assert found.protected() == {"proxy-login", "proxy-salt", "proxy-session"}


def test_the_endpoint(each):
    mode, found = each
    assert found.endpoint("public_url") == ("https://mlflow.example.com", False)
    assert found.made.endpoint["auth_mode"] == MODES[mode]["auth"]


def test_it_is_refused_a_server_that_it_does_not_reach():
    far = {**TRACKING, "reach": ["cluster:mlflow-prod"]}
    with pytest.raises(UnreachableEndpointError, match="proxy runs in 'vpc:mlflow-prod'"):
        door(tracking=far)


NO_NAT = {**NETWORK, "internet": False}


@pytest.mark.parametrize(
    ("args", "refusal"),
    [
        ({"auth": "none"}, "proxy: auth: 'none' would be open to everybody"),
        ({"auth": "mlflow"}, "proxy: auth 'mlflow' needs a server with auth 'mlflow'"),
        (
            {"auth": "oidc-mlflow", "tracking": {**TRACKING, "auth_mode": "oidc-mlflow"}},
            "needs the proxy_secret of tracking",
        ),
        ({"hosts": []}, "proxy: hosts: must name one at least"),
        ({"hosts": ["10.0.0.1"]}, "proxy: hosts: must be full names"),
        ({"zone": None}, "proxy: certificate: give the ARN"),
        ({"auth": "basic", "users": ["mlflow"]}, "proxy: users: must not be named twice"),
        ({"idle_timeout": 60}, "proxy: idle_timeout: must be 300 to 4000"),
        ({"network": {**NETWORK, "public_subnets": []}}, "network: the VPC has no public subnets"),
        ({"internal": True, "clients": ["0.0.0.0/0"]}, "clients: everybody of the Internet"),
        ({"image": "nginx:latest"}, "proxy: image: must end in a digest"),
        ({"oidc_image": "oauth2-proxy:v7"}, "proxy: oidc_image: must end in a digest"),
        ({"oidc_image": None}, "proxy: oidc_image: 'oidc' needs one"),
        ({"oidc": None}, "proxy: oidc: 'oidc' needs 'oidc' or 'cognito'"),
        ({"cognito": COGNITO}, "one of both"),
        (
            {"oidc": None, "cognito": {**COGNITO, "user_pool": "pool"}},
            "proxy: cognito: user_pool: must be the ARN",
        ),
        ({"network": NO_NAT}, "do not reach https://id.example.com; give the network nat"),
        ({"oidc": {**OIDC, "allowed_groups": ["ml"]}}, "proxy: login: 'alb' lets in whomever"),
        ({"oidc": {**OIDC, "email_domains": ["a.b"]}}, "proxy: login: 'alb' lets in whomever"),
        ({**MODES["oidc-mlflow"], "login": "alb"}, "proxy: login: 'alb' tells the server nobody"),
        ({"login": "nginx"}, "proxy: login: must be one of alb, proxy"),
        (
            {"oidc": {k: v for k, v in OIDC.items() if k != "token_endpoint"}},
            "proxy: oidc.token_endpoint: must be a URL with https",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_registered(args, refusal):
    with pytest.raises(ValueError, match=refusal):
        door(**args)


def test_groups_are_heeded_by_the_proxy():
    found = door(login="proxy", oidc={**OIDC, "allowed_groups": ["ml"]})
    assert 'allowed_groups = ["ml"]' in files(found)["oauth2-proxy.cfg"]


def pulls(found):
    statements = json.loads(found["proxy-start-access"]["policy"])["Statement"]
    return [item["Resource"] for item in statements if item["Sid"] == "Pull"]


def test_images_of_ecr_may_be_pulled_though_nobody_names_their_repositories():
    repository = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository"
    public = f"public.ecr.aws/acme/nginx@sha256:{'b' * 64}"
    assert pulls(door(image=public)) == [[f"{repository}/mlflow", f"{repository}/oauth2-proxy"]]
    assert pulls(door(repositories=[f"{repository}/all"])) == [[f"{repository}/all"]]
    assert pulls(door(repositories=[])) == []


def test_a_front_door_of_several_hosts_and_clients_names_each_by_itself():
    """By its place, taking one away would have the others' records and rules made anew, under names that are taken."""
    hosts, blocks = ["a.example.com", "b.example.com"], ["198.51.100.0/24", "203.0.113.0/24"]
    found = door(hosts=hosts, clients=blocks)
    for host in hosts:
        assert found[f"proxy-record-{host}"]["name"] == host
        assert found[f"proxy-validation-{host}"]["name"] == f"_x.{host}"
    for block in blocks:
        assert found[f"proxy-clients-https-{block}"]["cidrIpv4"] == block
