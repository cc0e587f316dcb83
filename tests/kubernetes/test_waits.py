"""What is waited for: every workload of ours, and by whom."""

import pytest
from tests.kubernetes import cluster, test_data, test_proxy, test_tracking

HERE = {"cluster": {"context": "prod"}}
PROGRAMS = {
    "tracking": (
        test_tracking.program,
        {"auth": "mlflow", "jobs": {}},
        {"tracking-migration", "tracking-deployment", "tracking-jobs-deployment"},
    ),
    "proxy": (
        lambda changes: test_proxy.program({"auth": "oidc", **test_proxy.OIDC, **changes}),
        {},
        {"proxy-deployment", "proxy-oidc-deployment"},
    ),
    "store": (test_data.store, {}, {"artifacts-store", "artifacts-bucket"}),
}


def waits(seen):
    return {
        item.name.removesuffix("-ready"): item for item in seen if item.kind == "KubernetesReady"
    }


@pytest.fixture(scope="module", params=PROGRAMS)
def made(request):
    program, changes, names = PROGRAMS[request.param]
    seen, _ = cluster.run(program({**changes, **HERE}))
    cluster.judge(seen)
    return seen, names


def test_each_workload_is_seen_through_by_us_and_taken_as_it_is_by_the_provider(made):
    seen, names = made
    assert set(waits(seen)) == names
    for name, wait in waits(seen).items():
        [workload] = [item for item in seen if item.name == name]
        assert workload.name in wait.depends_on
        assert wait.inputs["kind"] == workload.kind
        assert wait.inputs["name"] == workload.physical
        labels = workload.template["metadata"]["labels"]
        assert (
            dict(one.split("=") for one in wait.inputs["selector"].split(",")).items()
            <= labels.items()
        )
        annotations = workload.inputs["metadata"]["annotations"]
        assert annotations["pulumi.com/waitFor"] == "jsonpath={.metadata.uid}"


def test_what_comes_after_a_workload_comes_after_its_wait(made):
    """Whatever depends on a workload, but is not its own wait, depends on that too."""
    seen, names = made
    for item in seen:
        for name in item.depends_on & names:
            if item.name != f"{name}-ready":
                assert f"{name}-ready" in item.depends_on, f"{item.name} does not wait for {name}"


def test_servers_come_after_the_migration_has_been_seen_through():
    seen, _ = cluster.run(test_tracking.program({"jobs": {}, **HERE}))
    for role in ("tracking", "jobs"):
        assert "tracking-migration-ready" in cluster.only(seen, "Deployment", role).depends_on
    failed, _ = cluster.run(test_tracking.program(HERE), failing=("tracking-migration-ready",))
    assert not [item for item in failed if item.kind == "Deployment"]


def versions(changes):
    seen, _ = cluster.run(test_tracking.program({**HERE, **changes}))
    return {name: item.inputs["version"] for name, item in waits(seen).items()}


def test_what_is_rolled_out_anew_is_waited_for_again_and_nothing_else():
    usual = versions({})
    assert versions({}) == usual
    for changes, name in (
        ({"replicas": 3}, "tracking-deployment"),
        ({"cpus": 3.5}, "tracking-deployment"),
    ):
        found = versions(changes)
        assert {one for one in usual if usual[one] != found[one]} == {name}


def test_without_a_way_to_the_cluster_the_provider_waits():
    seen, _ = cluster.run(test_tracking.program({"jobs": {}}))
    assert waits(seen) == {}
    for role in ("tracking", "jobs"):
        server = cluster.only(seen, "Deployment", role)
        assert "pulumi.com/waitFor" not in server.inputs["metadata"].get("annotations", {})
        assert "tracking-migration" in server.depends_on


@pytest.mark.parametrize("access", [{}, {"context": "a", "kubeconfig": "b"}])
def test_one_way_to_the_cluster_is_enough_and_needed(access):
    with pytest.raises(ValueError, match="cluster: must have either context or kubeconfig"):
        cluster.run(test_tracking.program({"cluster": access}))
