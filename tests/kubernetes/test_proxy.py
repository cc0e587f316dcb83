"""The front door on Kubernetes, under mocks: ways in, logins, and who may connect to whom."""

import json

import pulumi
import pytest
from tests.kubernetes import cluster

from pulumi_mlflow.contracts import TrackingEndpoint, UnreachableEndpointError
from pulumi_mlflow.kubernetes.network import KubernetesNetwork
from pulumi_mlflow.kubernetes.proxy import KubernetesAuthProxy

HERE = "cluster:mlflow-prod"
NGINX = "nginx:1.28.0-bookworm"
HOSTS = ["mlflow.example.com", "ml.example.com"]
INGRESS = {
    "class_name": "nginx",
    "controller": "nginx",
    "source": {"namespace": "ingress-nginx"},
    "tls_secret": "wildcard",
}
ALB = {
    "class_name": "alb",
    "controller": "alb",
    "source": {"cidrs": ["10.0.0.0/16"]},
    "certificate_arn": "arn:aws:acm:…:certificate/1",
}
GATEWAY = {
    "name": "public",
    "namespace": "gateways",
    "section": "https",
    "source": {"namespace": "envoy-gateway-system"},
}
OIDC = {
    "oidc": {"issuer": "https://sso.example.com:8443/realm", "client_id": "mlflow"},
    "oidc_image": "oauth2-proxy:7.8.1",
}


def program(changes=None, mode="none", tracking=None, outputs=("endpoint", "password")):
    def made():
        there = KubernetesNetwork("network", {})
        server = TrackingEndpoint(
            component="tracking",
            reach=[HERE],
            internal_url="http://mlflow-prod-tracking.mlflow-prod.svc.cluster.local:5000",
            ready_path="/ready",
            auth_mode=mode,
        )
        if mode == "oidc-mlflow":
            server["proxy_secret"] = pulumi.Output.secret("typedproxysecret")
        args = {
            "namespace": there.namespace,
            "image": NGINX,
            "tracking": {**server, **(tracking or {})},
            **(changes or {}),
        }
        if args.get("oidc"):
            args["oidc"] = {**args["oidc"], "client_secret": pulumi.Output.secret("typedclient")}
        door = KubernetesAuthProxy("proxy", args)
        return {name: getattr(door, name) for name in outputs}

    return made


COMBINATIONS = {
    "inside": ({}, "none"),
    "inside without a login": ({"auth": "none"}, "none"),
    "ingress": ({"hosts": HOSTS, "ingress": INGRESS}, "none"),
    "alb": ({"hosts": HOSTS, "ingress": ALB, "users": ["ann", "bob"]}, "none"),
    "gateway": ({"hosts": HOSTS, "gateway": GATEWAY, "auth": "mlflow"}, "mlflow"),
    "cert-manager": (
        {
            "hosts": HOSTS,
            "ingress": {**INGRESS, "tls_secret": None},
            "certificate": {"issuer": "letsencrypt"},
        },
        "none",
    ),
    "oidc": ({"hosts": HOSTS, "ingress": INGRESS, "auth": "oidc", **OIDC}, "none"),
    "oidc-mlflow": (
        {"hosts": HOSTS, "gateway": GATEWAY, "auth": "oidc-mlflow", **OIDC, "pull_secrets": ["r"]},
        "oidc-mlflow",
    ),
    "everything": (
        {
            "hosts": HOSTS,
            "gateway": GATEWAY,
            "ingress": INGRESS,
            "rate_limit": 50,
            "trusted_proxies": ["10.0.0.0/8"],
            "client_namespaces": ["training"],
            "deployment": "mlflow-prod",
        },
        "none",
    ),
}


@pytest.mark.parametrize(("changes", "mode"), COMBINATIONS.values(), ids=COMBINATIONS)
def test_every_object_is_restricted_labelled_and_without_secrets(changes, mode):
    seen, _ = cluster.run(program(changes, mode))
    cluster.judge(seen)
    for item in seen:
        if item.kind != "Secret":
            text = json.dumps(item.inputs)
            assert "typedclient" not in text
            assert "typedproxysecret" not in text


def conf(seen):
    return cluster.only(seen, "Secret", "proxy").secret_files()["nginx.conf"]


@pytest.fixture(scope="module")
def ingress():
    return cluster.run(program({"hosts": HOSTS, "ingress": INGRESS}))


def test_without_a_way_in_it_is_reached_inside_alone():
    seen, made = cluster.run(program())
    assert not [item for item in seen if item.kind in ("Ingress", "HTTPRoute", "Certificate")]
    assert cluster.only(seen, "NetworkPolicy", "proxy").spec["ingress"] == []
    assert made["endpoint"]["reach"] == [HERE]
    url = "http://mlflow-prod-proxy.mlflow-prod.svc.cluster.local:8080"
    assert made["endpoint"]["public_url"] == (url, False)
    assert cluster.only(seen, "Service", "proxy").spec["type"] == "ClusterIP"


def test_nginx_runs_as_in_docker(ingress):
    seen, _ = ingress
    nginx = cluster.only(seen, "Deployment", "proxy")
    assert nginx.container["command"] == ["nginx"]
    assert nginx.container["args"] == ["-e", "stderr", "-c", "/run/pulumi-mlflow/nginx.conf"]
    assert nginx.pod["securityContext"]["runAsUser"] == 101
    assert nginx.container["livenessProbe"]["httpGet"]["path"] == "/-/health"
    assert nginx.spec["replicas"] == 2
    text = conf(seen)
    assert "auth_basic_user_file /run/pulumi-mlflow/htpasswd;" in text
    assert 'set $upstream "http://mlflow-prod-tracking.mlflow-prod.svc.cluster.local:5000";' in text
    assert "resolver kube-dns.kube-system.svc.cluster.local valid=5s;" in text


def test_tls_ends_before_it_and_people_come_by_it(ingress):
    seen, made = ingress
    text = conf(seen)
    assert "proxy_set_header X-Forwarded-Proto https;" in text
    assert "Strict-Transport-Security" in text
    assert made["endpoint"]["public_url"] == ("https://mlflow.example.com", False)
    assert made["endpoint"]["reach"] == ["public"]
    assert made["password"][1] is True


def test_an_ingress_for_every_host(ingress):
    item = cluster.only(ingress[0], "Ingress")
    assert item.spec["ingressClassName"] == "nginx"
    assert [rule["host"] for rule in item.spec["rules"]] == HOSTS
    for rule in item.spec["rules"]:
        [path] = rule["http"]["paths"]
        assert path["backend"] == {
            "service": {"name": "mlflow-prod-proxy", "port": {"number": 8080}}
        }
    assert item.spec["tls"] == [{"hosts": HOSTS, "secretName": "wildcard"}]
    annotations = item.inputs["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-body-size"] == "0"
    assert "proxy-deployment" in item.depends_on


def test_own_annotations_take_the_place_of_ours():
    door = {
        **INGRESS,
        "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "5g", "a/b": "c"},
    }
    seen, _ = cluster.run(program({"hosts": HOSTS, "ingress": door}))
    annotations = cluster.only(seen, "Ingress").inputs["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/proxy-body-size"] == "5g"
    assert annotations["a/b"] == "c"


def peers(policy):
    return [
        (peer, rule["ports"][0]["port"]) for rule in policy.spec["ingress"] for peer in rule["from"]
    ]


def in_namespace(name):
    return {
        "podSelector": {"matchLabels": {}},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
    }


def test_only_those_who_are_named_may_connect():
    changes, mode = COMBINATIONS["everything"]
    seen, _ = cluster.run(program(changes, mode))
    found = peers(cluster.only(seen, "NetworkPolicy", "proxy"))
    expected = [
        in_namespace(name) for name in ("ingress-nginx", "envoy-gateway-system", "training")
    ]
    assert found == [(peer, 8080) for peer in expected]
    seen, _ = cluster.run(program({"hosts": HOSTS, "ingress": ALB}))
    assert peers(cluster.only(seen, "NetworkPolicy", "proxy")) == [
        ({"ipBlock": {"cidr": "10.0.0.0/16"}}, 8080)
    ]


def test_it_connects_to_the_servers_and_to_nothing_else(ingress):
    [rule] = cluster.only(ingress[0], "NetworkPolicy", "proxy").spec["egress"]
    assert rule["to"] == [
        {
            "podSelector": {
                "matchLabels": {cluster.DEPLOYMENT: "mlflow-prod", cluster.ROLE: "tracking"}
            }
        }
    ]
    assert rule["ports"] == [{"protocol": "TCP", "port": 5000}]


def test_a_route_of_a_gateway():
    seen, made = cluster.run(program({"hosts": HOSTS, "gateway": GATEWAY}))
    route = cluster.only(seen, "HTTPRoute")
    assert route.spec["hostnames"] == HOSTS
    [parent] = route.spec["parentRefs"]
    assert (parent["name"], parent["namespace"], parent["sectionName"]) == (
        "public",
        "gateways",
        "https",
    )
    [rule] = route.spec["rules"]
    assert rule["backendRefs"][0]["name"] == cluster.only(seen, "Service", "proxy").physical
    assert rule["timeouts"] == {"request": "0s", "backendRequest": "0s"}
    assert made["endpoint"]["public_url"][0] == "https://mlflow.example.com"


def test_cert_managers_certificate_is_there_before_the_ingress():
    changes, mode = COMBINATIONS["cert-manager"]
    seen, _ = cluster.run(program(changes, mode))
    certificate, door = cluster.only(seen, "Certificate"), cluster.only(seen, "Ingress")
    assert certificate.spec["dnsNames"] == HOSTS
    assert certificate.spec["issuerRef"] == {
        "group": "cert-manager.io",
        "kind": "ClusterIssuer",
        "name": "letsencrypt",
    }
    assert certificate.inputs["metadata"]["annotations"] == {
        "pulumi.com/waitFor": "condition=Ready"
    }
    assert door.spec["tls"] == [{"hosts": HOSTS, "secretName": certificate.spec["secretName"]}]
    assert "proxy-certificate" in door.depends_on
    # Its solver would otherwise get no connection in this namespace.
    solver = cluster.only(seen, "NetworkPolicy", "solver")
    assert solver.spec["podSelector"]["matchLabels"] == {
        "acme.cert-manager.io/http01-solver": "true"
    }
    assert peers(solver) == [(in_namespace("ingress-nginx"), 8089)]
    assert "proxy-solver-edges" in certificate.depends_on


def test_oauth2_proxy_is_asked_by_nginx_alone_and_asks_the_provider_alone():
    changes, mode = COMBINATIONS["oidc"]
    seen, _ = cluster.run(program(changes, mode))
    edges = cluster.only(seen, "NetworkPolicy", "oidc").spec
    [rule] = edges["ingress"]
    assert rule["from"][0]["podSelector"]["matchLabels"][cluster.ROLE] == "proxy"
    [rule] = edges["egress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8443}]
    roles = [
        peer["podSelector"]["matchLabels"][cluster.ROLE]
        for rule in cluster.only(seen, "NetworkPolicy", "proxy").spec["egress"]
        for peer in rule["to"]
    ]
    assert roles == ["tracking", "oidc"]
    login = cluster.only(seen, "Deployment", "oidc")
    assert login.container["args"] == ["--config", "/run/pulumi-mlflow/oauth2-proxy.cfg"]
    assert login.pod["securityContext"]["runAsUser"] == 65532
    config = cluster.only(seen, "Secret", "oidc").secret_files()["oauth2-proxy.cfg"]
    assert 'client_secret = "typedclient"' in config
    assert 'cookie_name = "__Host-mlflow-prod-oidc"' in config
    assert "cookie_secure = true" in config
    assert 'set $oidc "http://mlflow-prod-oidc.mlflow-prod.svc.cluster.local:4180";' in conf(seen)
    # Before nginx, which would answer 500 without it.
    door = cluster.only(seen, "Deployment", "proxy")
    assert "proxy-oidc-deployment" in cluster.behind(seen, door)


def test_identity_headers_carry_the_servers_secret():
    changes, mode = COMBINATIONS["oidc-mlflow"]
    seen, _ = cluster.run(program(changes, mode))
    assert "proxy_set_header X-Mlflow-Proxy-Secret typedproxysecret;" in conf(seen)
    # Of groups that are whole names.
    assert "proxy_set_header X-Mlflow-Claims $claims;" in conf(seen)
    config = cluster.only(seen, "Secret", "oidc").secret_files()["oauth2-proxy.cfg"]
    assert "set_authorization_header = true" in config
    assert 'oidc-claims"' in config


def test_clients_addresses_are_believed_of_those_before_it_alone():
    changes, mode = COMBINATIONS["everything"]
    text = conf(cluster.run(program(changes, mode))[0])
    assert "set_real_ip_from 10.0.0.0/8;" in text
    assert "rate=50r/s" in text


def test_routes_of_jobs_go_to_the_one_server_that_runs_them():
    jobs = "http://mlflow-prod-jobs.mlflow-prod.svc.cluster.local:5000"
    seen, _ = cluster.run(program(tracking={"jobs_url": jobs}))
    assert f'set $jobs "{jobs}";' in conf(seen)
    roles = [
        peer["podSelector"]["matchLabels"][cluster.ROLE]
        for rule in cluster.only(seen, "NetworkPolicy", "proxy").spec["egress"]
        for peer in rule["to"]
    ]
    assert roles == ["tracking", "jobs"]
    assert "$jobs" not in conf(cluster.run(program())[0])


BAD = {
    "open to everybody": ({"auth": "none", "hosts": HOSTS, "ingress": INGRESS}, "none", "auth 'none' is for inside"),
    "no host": ({"ingress": INGRESS}, "none", "hosts: must name one"),
    "an address": ({"gateway": GATEWAY, "hosts": ["10.0.0.1"]}, "none", "hosts: must be full names"),
    "no TLS": (
        {"hosts": HOSTS, "ingress": {**INGRESS, "tls_secret": None}},
        "none",
        "logins need TLS",
    ),
    "two certificates": (
        {"hosts": HOSTS, "ingress": INGRESS, "certificate": {"issuer": "x"}},
        "none",
        "give one of",
    ),
    "a certificate for a gateway": (
        {"hosts": HOSTS, "gateway": GATEWAY, "certificate": {"issuer": "x"}},
        "none",
        "a Gateway's listener has its own",
    ),
    "nobody let in": (
        {"hosts": HOSTS, "ingress": {**INGRESS, "source": {}}},
        "none",
        "ingress.source: must have",
    ),
    "unknown controller": (
        {"hosts": HOSTS, "ingress": {**INGRESS, "controller": "haproxy"}},
        "none",
        "ingress.controller: must be one of",
    ),
    "another login than the server's": ({"auth": "basic"}, "mlflow", "give both the same"),
    "no provider": ({"auth": "oidc"}, "none", "needs 'oidc' and 'oidc_image'"),
    "twice": ({"users": ["mlflow"]}, "none", "must not be named twice"),
    "latest": ({"image": "nginx"}, "none", "image: must name a version"),
    "latest of oauth2-proxy": ({"auth": "oidc", **OIDC, "oidc_image": "o:latest"}, "none", "image: must name"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "mode", "reason"), BAD.values(), ids=BAD)
def test_what_cannot_work_is_refused(changes, mode, reason):
    def made():
        with pytest.raises(ValueError, match=reason):
            program(changes, mode)()

    seen, _ = cluster.run(made)
    assert not [item for item in seen if item.kind in ("Deployment", "Ingress", "HTTPRoute")]


def test_a_server_elsewhere_is_refused_by_name():
    def made():
        with pytest.raises(
            UnreachableEndpointError, match=r"proxy runs in .* cannot reach tracking"
        ):
            program(tracking={"reach": ["network:mlflow-dev"]})()

    cluster.run(made)
