"""AwsEksCluster under mocks: who gets in, what is encrypted and protected, what comes after what, what is refused."""

import json
from types import SimpleNamespace

import botocore.session
import pulumi
import pytest
from tests.components.aws_support import ACCOUNT, NETWORK, REGION, Program, check_request
from tests.iam.simulator import STRANGERS, TrustPolicy

from pulumi_mlflow.aws.cluster import AwsClusterAccess
from pulumi_mlflow.aws.eks import AwsEksCluster
from pulumi_mlflow.core import eks

ADMIN = f"arn:aws:iam::{ACCOUNT}:role/platform/admin"
ARGS = {
    "network": NETWORK,
    "version": "1.33",
    "admins": {"platform": ADMIN},
    "deployment": "mlflow-prod",
}
NAME = "mlflow-prod-eks"


def cluster(**args):
    def make():
        made = AwsEksCluster("eks", {**ARGS, **args})
        return SimpleNamespace(
            endpoint={
                "cluster": made.cluster,
                "kubeconfig": made.kubeconfig,
                "security_group": made.security_group,
                "place": made.place,
            }
        )

    return Program(make)


@pytest.fixture(scope="module")
def usual():
    return cluster()


def network(*without, **other):
    """The usual one, changed."""
    return {key: value for key, value in NETWORK.items() if key not in without} | other


def differing(was, now):
    return {key for key in {*was, *now} if was.get(key) != now.get(key)}


def policies_of(found, role):
    return {
        item.inputs["policyArn"].removeprefix("arn:aws:iam::aws:policy/")
        for item in found.of("iam/rolePolicyAttachment:RolePolicyAttachment")
        if item.inputs["role"] == found[role]["name"]
    }


def test_nobody_reaches_the_api_from_outside_by_itself(usual):
    config = usual["eks-cluster"]["vpcConfig"]
    assert config == {
        "subnetIds": NETWORK["private_subnets"],
        "securityGroupIds": ["eks-api-group-id"],
        "endpointPrivateAccess": True,
        "endpointPublicAccess": False,
    }
    assert not usual.of("vpc/securityGroupIngressRule:SecurityGroupIngressRule")
    for key in ("ingress", "egress"):
        assert key not in usual["eks-api-group"]


def test_private_addresses_come_by_the_private_endpoint():
    found = cluster(allowed_cidrs=["10.42.0.0/16", "100.64.0.0/10"])
    rules = [
        (item.inputs["securityGroupId"], item.inputs["cidrIpv4"], item.inputs["fromPort"])
        for item in found.of("vpc/securityGroupIngressRule:SecurityGroupIngressRule")
    ]
    assert rules == [
        ("eks-api-group-id", "10.42.0.0/16", 443),
        ("eks-api-group-id", "100.64.0.0/10", 443),
    ]
    assert found["eks-cluster"]["vpcConfig"]["endpointPublicAccess"] is False


def test_public_addresses_come_by_the_public_endpoint_and_nodes_do_not():
    found = cluster(public=True, allowed_cidrs=["52.1.2.0/24", "10.0.0.0/8"])
    config = found["eks-cluster"]["vpcConfig"]
    assert config["endpointPublicAccess"] is config["endpointPrivateAccess"] is True
    assert config["publicAccessCidrs"] == ["52.1.2.0/24"]
    [rule] = found.of("vpc/securityGroupIngressRule:SecurityGroupIngressRule")
    assert rule.inputs["cidrIpv4"] == "10.0.0.0/8"


def test_secrets_are_encrypted_with_a_key_of_ours(usual):
    config = usual["eks-cluster"]["encryptionConfig"]
    assert config["resources"] == ["secrets"]
    assert config["provider"]["keyArn"].endswith("key/eks-key")
    assert usual["eks-key"]["enableKeyRotation"] is True
    assert usual["eks-key"]["deletionWindowInDays"] == 30


def test_cluster_and_key_are_protected(usual):
    assert usual.protected() == {"eks-cluster", "eks-key"}
    assert usual["eks-cluster"]["deletionProtection"] is True
    assert cluster(deletion_protection=False)["eks-cluster"]["deletionProtection"] is False


def test_only_named_roles_administer_it():
    found = cluster(admins={"platform": ADMIN, "pipeline": f"arn:aws:iam::{ACCOUNT}:role/pipeline"})
    assert found["eks-cluster"]["accessConfig"] == {
        "authenticationMode": "API",
        "bootstrapClusterCreatorAdminPermissions": False,
    }
    entries = {item.inputs["principalArn"] for item in found.of("eks/accessEntry:AccessEntry")}
    assert entries == {ADMIN, f"arn:aws:iam::{ACCOUNT}:role/pipeline"}
    for item in found.of("eks/accessPolicyAssociation:AccessPolicyAssociation"):
        assert item.inputs["policyArn"] == (
            "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
        )
        assert item.inputs["accessScope"] == {"type": "cluster"}
        assert item.inputs["principalArn"] in entries
        assert item.name.removesuffix("-policy") in found.waits_for(item.name)


def test_another_administrator_moves_no_entry_of_others(usual):
    more = cluster(admins={"first": f"arn:aws:iam::{ACCOUNT}:role/first", **ARGS["admins"]})
    assert more["eks-admin-platform"] == usual["eks-admin-platform"]


def test_logs_are_kept_for_a_month_and_not_for_ever(usual):
    assert usual["eks-cluster"]["enabledClusterLogTypes"] == ["audit", "authenticator"]
    assert usual["eks-logs"]["name"] == f"/aws/eks/{usual['eks-cluster']['name']}/cluster"
    assert usual["eks-logs"]["retentionInDays"] == 30
    # EKS would make one of its own, without an end.
    assert "eks-logs" in usual.waits_for("eks-cluster")
    every = cluster(log_types=list(eks.LOG_TYPES))["eks-cluster"]["enabledClusterLogTypes"]
    assert every == list(eks.LOG_TYPES)


def test_only_this_cluster_takes_its_role_on(usual):
    trust = TrustPolicy(usual["eks-cluster-role"]["assumeRolePolicy"])
    who = "eks.amazonaws.com"
    own = {
        "aws:SourceAccount": ACCOUNT,
        "aws:SourceArn": f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/{NAME}",
    }
    assert trust.actions() == ["sts:AssumeRole"]
    assert trust.decide(who, own) == "allow"
    assert trust.decide("ec2.amazonaws.com", own) == "none"
    for stranger in (
        {"aws:SourceAccount": STRANGERS},
        {"aws:SourceArn": own["aws:SourceArn"] + "-2"},
    ):
        assert trust.decide(who, {**own, **stranger}) == "none"
    assert policies_of(usual, "eks-cluster-role") == {"AmazonEKSClusterPolicy"}
    assert "eks-cluster-AmazonEKSClusterPolicy" in usual.waits_for("eks-cluster")


def test_nodes_may_join_pull_and_be_entered_by_session_manager_and_no_more(usual):
    trust = TrustPolicy(usual["eks-nodes-role"]["assumeRolePolicy"])
    assert trust.actions() == ["sts:AssumeRole"]
    assert trust.decide("ec2.amazonaws.com") == "allow"
    assert trust.decide("pods.eks.amazonaws.com") == "none"
    granted = policies_of(usual, "eks-nodes-role")
    assert granted == {
        "AmazonEKSWorkerNodePolicy",
        "AmazonEC2ContainerRegistryPullOnly",
        "AmazonSSMManagedInstanceCore",
    }
    # A node without them does not join, and the group's creation fails.
    for policy in granted:
        assert f"eks-nodes-{policy}" in usual.waits_for("eks-nodes")
    assert "remoteAccess" not in usual["eks-nodes"]
    assert "keyName" not in usual["eks-template"]


@pytest.mark.parametrize(
    ("addon", "account", "policy"),
    [
        ("vpc-cni", "aws-node", "AmazonEKS_CNI_Policy"),
        (
            "aws-ebs-csi-driver",
            "ebs-csi-controller-sa",
            "service-role/AmazonEBSCSIDriverPolicy",
        ),
    ],
)
def test_addons_that_use_aws_have_roles_of_their_own(usual, addon, account, policy):
    [identity] = usual[f"eks-{addon}"]["podIdentityAssociations"]
    role = usual[f"eks-{addon}-role"]
    assert identity == {
        "roleArn": f"arn:aws:iam::{ACCOUNT}:role/{role['name']}",
        "serviceAccount": account,
    }
    trust = TrustPolicy(role["assumeRolePolicy"])
    assert trust.actions() == ["sts:AssumeRole", "sts:TagSession"]
    for action in trust.actions():
        assert trust.decide("pods.eks.amazonaws.com", action=action) == "allow"
    assert trust.decide("ec2.amazonaws.com") == "none"
    assert policies_of(usual, f"eks-{addon}-role") == {policy}
    assert {
        f"eks-{addon}-{policy.rpartition('/')[2]}",
        "eks-eks-pod-identity-agent",
    } <= usual.waits_for(f"eks-{addon}")


def test_the_other_addons_have_no_role(usual):
    for addon in ("eks-pod-identity-agent", "kube-proxy", "coredns", "metrics-server"):
        assert "podIdentityAssociations" not in usual[f"eks-{addon}"]
        assert "serviceAccountRoleArn" not in usual[f"eks-{addon}"]


def test_a_node_has_an_encrypted_disk_and_keeps_its_role_to_itself(usual):
    template = usual["eks-template"]
    [disk] = template["blockDeviceMappings"]
    assert disk["deviceName"] == "/dev/xvda"
    assert disk["ebs"] == {
        "volumeType": "gp3",
        "volumeSize": 100,
        "encrypted": "true",
        "deleteOnTermination": "true",
    }
    assert template["metadataOptions"] == {
        "httpEndpoint": "enabled",
        "httpTokens": "required",
        "httpPutResponseHopLimit": 1,
    }
    # Public addresses, groups and keys would be in network interfaces; there are none of ours.
    assert "networkInterfaces" not in template
    for one in template["tagSpecifications"]:
        assert one["tags"]["pulumi-mlflow/deployment"] == "mlflow-prod"
    assert {one["resourceType"] for one in template["tagSpecifications"]} >= {"instance", "volume"}


@pytest.mark.parametrize(
    ("nodes", "changed"),
    [({"disk_gb": 500}, "blockDeviceMappings"), ({"instance_type": "r6i.large"}, "instanceType")],
)
def test_another_disk_or_type_is_another_version_of_the_template_and_no_other_group(
    usual, nodes, changed
):
    """The provider replaces a group for its own `instanceTypes` and `diskSize`."""
    other = cluster(nodes=nodes)
    assert differing(usual["eks-template"], other["eks-template"]) == {changed}
    assert differing(usual["eks-nodes"], other["eks-nodes"]) == {"launchTemplate"}
    was, now = (one["eks-nodes"]["launchTemplate"] for one in (usual, other))
    assert was["id"] == now["id"] == "eks-template-id"
    assert was["version"] != now["version"]
    for group in (usual, other):
        assert not {"instanceTypes", "diskSize"} & set(group["eks-nodes"])


def test_nodes_are_in_private_subnets_and_of_our_images_processor(usual):
    nodes = usual["eks-nodes"]
    assert nodes["subnetIds"] == NETWORK["private_subnets"]
    assert nodes["amiType"] == "AL2023_x86_64_STANDARD"


def test_numbers_of_nodes_change_in_place_and_the_desired_one_is_the_autoscalers(usual):
    assert usual["eks-nodes"]["scalingConfig"] == {"minSize": 2, "maxSize": 4, "desiredSize": 2}
    assert usual.seen["eks-nodes"].ignored == {"scalingConfig.desiredSize"}
    more = cluster(nodes={"min": 3, "max": 9, "desired": 5})
    assert more["eks-nodes"]["scalingConfig"] == {"minSize": 3, "maxSize": 9, "desiredSize": 5}
    # The provider replaces for others (ForceNew): https://github.com/hashicorp/terraform-provider-aws,
    # internal/service/eks/node_group.go.
    assert differing(usual["eks-nodes"], more["eks-nodes"]) == {"scalingConfig"}


def test_a_version_is_raised_at_the_cluster_and_then_at_its_nodes(usual):
    later = cluster(version="1.34", nodes={"release": "1.34.1-20251112"})
    for name in ("eks-cluster", "eks-nodes"):
        assert later[name]["version"] == "1.34"
        assert differing(usual[name], later[name]) <= {"version", "releaseVersion"}
    assert later["eks-nodes"]["releaseVersion"] == "1.34.1-20251112"
    assert "eks-cluster" in usual.waits_for("eks-nodes")
    assert later["eks-nodes"]["forceUpdateVersion"] is False


def test_support_of_old_versions_costs_only_who_asks(usual):
    assert usual["eks-cluster"]["upgradePolicy"] == {"supportType": "STANDARD"}
    longer = cluster(extended_support=True)
    assert longer["eks-cluster"]["upgradePolicy"] == {"supportType": "EXTENDED"}


def test_addons_are_all_there_and_by_us_alone(usual):
    assert usual["eks-cluster"]["bootstrapSelfManagedAddons"] is False
    found = {item.inputs["addonName"]: item.inputs for item in usual.of("eks/addon:Addon")}
    assert set(found) == {
        "vpc-cni",
        "coredns",
        "kube-proxy",
        "eks-pod-identity-agent",
        "aws-ebs-csi-driver",
        "metrics-server",
    }
    assert json.loads(found["vpc-cni"]["configurationValues"]) == {"enableNetworkPolicy": "true"}
    for inputs in found.values():
        assert inputs["clusterName"] == NAME
        assert "addonVersion" not in inputs
    chosen = cluster(addon_versions={"coredns": "v1.12.1-eksbuild.2"})
    assert chosen["eks-coredns"]["addonVersion"] == "v1.12.1-eksbuild.2"
    assert "addonVersion" not in chosen["eks-kube-proxy"]


def test_the_network_is_before_nodes_and_what_needs_nodes_after_them(usual):
    before = usual.waits_for("eks-nodes")
    assert {"eks-vpc-cni", "eks-kube-proxy", "eks-eks-pod-identity-agent"} <= before
    for addon in ("coredns", "aws-ebs-csi-driver", "metrics-server"):
        assert "eks-nodes" in usual.waits_for(f"eks-{addon}")
        assert f"eks-{addon}" not in before


def test_the_kubeconfig_is_a_secret_without_a_token(usual):
    text, secret = usual.endpoint("kubeconfig")
    assert secret is True
    found = json.loads(text)
    [entry], [user], [context] = found["clusters"], found["users"], found["contexts"]
    assert (found["apiVersion"], found["kind"]) == ("v1", "Config")
    assert entry["cluster"] == {
        "server": "https://ABC.gr7.eks.example",
        "certificate-authority-data": "Q0E=",
    }
    assert set(user["user"]) == {"exec"}
    login = user["user"]["exec"]
    assert login["apiVersion"] == "client.authentication.k8s.io/v1beta1"
    command = " ".join([login["command"], *login["args"]])
    assert command == f"aws eks get-token --cluster-name {NAME} --region {REGION} --output json"
    assert context["name"] == found["current-context"]
    assert context["context"] == {"cluster": entry["name"], "user": user["name"]}


def test_what_logs_in_comes_after_nodes_addons_and_administrators():
    def make():
        made = AwsEksCluster("eks", ARGS)
        pulumi.CustomResource("test:index:After", "after", {"kubeconfig": made.kubeconfig})

    found = Program(make)
    assert found.seen["after"].secret == {"kubeconfig"}
    waited = found.waits_for("after")
    assert {
        "eks-nodes",
        "eks-coredns",
        "eks-metrics-server",
        "eks-aws-ebs-csi-driver",
        "eks-admin-platform-policy",
    } <= waited


def test_its_outputs_are_what_access_and_stacks_ask_for(usual):
    assert usual.endpoint("cluster") == (NAME, False)
    assert usual.endpoint("security_group") == ("sg-nodes", False)
    assert usual.endpoint("place") == (NETWORK["place"], False)

    def make():
        made = AwsEksCluster("eks", ARGS)
        AwsClusterAccess(
            "access",
            {
                "region": REGION,
                "artifacts": {"component": "artifacts", "uri": "s3://b", "reach": ["public"]},
                "cluster": made.cluster,
                "namespace": "mlflow",
                "service_account": "mlflow",
                "database": {
                    "component": "database",
                    "port": 5432,
                    "security_group": "sg-database",
                },
                "security_group": made.security_group,
                "deployment": "mlflow-prod",
            },
        )

    found = Program(make)
    assert found["access-identity"]["clusterName"] == NAME
    assert found["access-database-in"]["referencedSecurityGroupId"] == "sg-nodes"


def test_without_the_internet_nodes_have_endpoints_before_they_start():
    found = cluster(network=network(internet=False))
    made = found.of("ec2/vpcEndpoint:VpcEndpoint")
    services = {
        item.inputs["serviceName"].removeprefix(f"com.amazonaws.{REGION}.") for item in made
    }
    assert services == {"ec2", "eks", "eks-auth", "sts", "ssm", "ssmmessages"}
    for item in made:
        assert item.inputs["securityGroupIds"] == ["sg-endpoints"]
        assert item.inputs["subnetIds"] == NETWORK["private_subnets"]
        assert item.name in found.waits_for("eks-nodes")


@pytest.mark.parametrize("args", [{}, {"network": network(internet=False), "endpoints": False}])
def test_with_a_way_of_their_own_they_have_none(args):
    assert not cluster(**args).of("ec2/vpcEndpoint:VpcEndpoint")


def test_all_that_can_have_tags_has_ours():
    untagged = ("RolePolicyAttachment", "AccessPolicyAssociation")
    found = cluster(network=network(internet=False), allowed_cidrs=["10.0.0.0/8"])
    for item in found.seen.values():
        if item.typ.startswith("aws:") and not item.typ.endswith(untagged):
            assert item.inputs["tags"]["pulumi-mlflow/deployment"] == "mlflow-prod", item.name
            assert item.inputs["tags"]["pulumi-mlflow/role"] == "eks", item.name


def test_children_have_their_component_as_parent(usual):
    assert {name for name, item in usual.seen.items() if item.parent != "eks"} == {"eks"}


@pytest.mark.parametrize("deployment", ["mlflow-prod", "m" * 80])
def test_names_are_within_awss_limits(deployment):
    found = cluster(deployment=deployment)
    # EKS: 100; IAM: 64; launch templates: 128; groups' prefixes see core/eks.py.
    assert len(found["eks-cluster"]["name"]) <= 100
    for item in found.of("iam/role:Role"):
        assert len(item.inputs["name"]) <= 64
    assert len(found["eks-template"]["name"]) <= 128
    prefix = found["eks-nodes"]["nodeGroupNamePrefix"]
    assert prefix.endswith("-")
    assert len(prefix) <= 37
    assert "nodeGroupName" not in found["eks-nodes"]
    names = [item.inputs["name"] for item in found.of("iam/role:Role")]
    assert len(set(names)) == len(names) == 4


def whole(value):
    """Numbers as AWS gets them: Pulumi's wire knows only floating ones."""
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) else value


def upper(inputs):
    """Inputs under the names that EC2 has for them."""
    return {key[0].upper() + key[1:]: whole(value) for key, value in inputs.items()}


def test_awss_own_description_takes_the_requests(usual):
    made, nodes = usual["eks-cluster"], whole(usual["eks-nodes"])
    check_request(
        "eks",
        "CreateCluster",
        name=made["name"],
        version=made["version"],
        roleArn=made["roleArn"],
        resourcesVpcConfig=made["vpcConfig"],
        accessConfig=made["accessConfig"],
        encryptionConfig=[made["encryptionConfig"]],
        bootstrapSelfManagedAddons=made["bootstrapSelfManagedAddons"],
        upgradePolicy=made["upgradePolicy"],
        deletionProtection=made["deletionProtection"],
        tags=made["tags"],
    )
    check_request(
        "eks",
        "CreateNodegroup",
        nodegroupName="n",
        nodeRole=nodes["nodeRoleArn"],
        subnets=nodes["subnetIds"],
        **{key: nodes[key] for key in ("clusterName", "scalingConfig", "amiType")},
        **{key: nodes[key] for key in ("launchTemplate", "updateConfig", "version", "tags")},
    )
    for item in usual.of("eks/addon:Addon"):
        check_request(
            "eks",
            "CreateAddon",
            resolveConflicts=item.inputs["resolveConflictsOnCreate"],
            **{
                key: value
                for key, value in item.inputs.items()
                if not key.startswith("resolveConflicts")
            },
        )
    model = botocore.session.get_session().get_service_model("eks")
    assert set(model.shape_for("LogType").enum) == set(eks.LOG_TYPES)
    assert nodes["amiType"] in model.shape_for("AMITypes").enum
    assert made["upgradePolicy"]["supportType"] in model.shape_for("SupportType").enum
    assert made["accessConfig"]["authenticationMode"] in model.shape_for("AuthenticationMode").enum
    template = usual["eks-template"]
    [disk] = template["blockDeviceMappings"]
    ebs = {
        key: value == "true" if value in ("true", "false") else value
        for key, value in upper(disk["ebs"]).items()
    }
    check_request(
        "ec2",
        "CreateLaunchTemplate",
        LaunchTemplateName=template["name"],
        LaunchTemplateData={
            "InstanceType": template["instanceType"],
            "MetadataOptions": upper(template["metadataOptions"]),
            "BlockDeviceMappings": [{"DeviceName": disk["deviceName"], "Ebs": ebs}],
        },
    )


@pytest.mark.parametrize("instance_type", ["m6i.large", "g5.xlarge", "m7i-flex.large", "t3a.large"])
def test_types_of_x86_are_taken(instance_type):
    found = cluster(nodes={"instance_type": instance_type})
    assert found["eks-template"]["instanceType"] == instance_type


def test_an_administrator_may_be_another_programs_output():
    found = Program(
        lambda: AwsEksCluster("eks", {**ARGS, "admins": {"a": pulumi.Output.from_input(ADMIN)}})
    )
    assert found["eks-admin-a"]["principalArn"] == ADMIN


@pytest.mark.parametrize(
    ("args", "refusal"),
    [
        ({"public": True}, "eks: allowed_cidrs: must name public addresses while public is true"),
        ({"public": True, "allowed_cidrs": ["10.0.0.0/8"]}, "must name public addresses"),
        ({"public": True, "allowed_cidrs": ["0.0.0.0/0"]}, "must be /16 or smaller"),
        ({"public": True, "allowed_cidrs": ["0.0.0.0/1", "128.0.0.0/1"]}, "must be /16 or smaller"),
        ({"public": True, "allowed_cidrs": ["52.0.0.0/15"]}, "must be /16 or smaller"),
        ({"allowed_cidrs": ["240.0.0.0/7"]}, "must be /8 or smaller"),
        ({"allowed_cidrs": ["52.1.2.0/24"]}, "52.1.2.0/24 cannot reach a private endpoint"),
        ({"allowed_cidrs": ["10.0.0.1/8"]}, "must be blocks such as 10.0.0.0/8: .* host bits"),
        ({"allowed_cidrs": ["fd00::/8"]}, "must be blocks such as"),
        ({"version": "latest"}, "version: must be a minor version of Kubernetes"),
        ({"version": "1.33.2"}, "version: must be a minor version"),
        ({"version": 1.3}, "version: must be .* in quotes"),
        ({"version": "1.26"}, 'version: must be a minor version of Kubernetes from "1.27"'),
        ({"admins": {}}, "admins: must name a role"),
        (
            {"admins": {"me": f"arn:aws:sts::{ACCOUNT}:assumed-role/admin/me"}},
            "admins.me: must be the ARN of a role",
        ),
        ({"admins": {"me": f"arn:aws:iam::{ACCOUNT}:user/me"}}, "admins.me: must be the ARN"),
        ({"nodes": {"min": 0}}, "nodes: must be 1 ≤ min ≤ desired ≤ max"),
        ({"nodes": {"min": 3, "desired": 2}}, "nodes: must be 1 ≤ min ≤ desired ≤ max"),
        ({"nodes": {"desired": 5, "max": 4}}, "nodes: must be 1 ≤ min ≤ desired ≤ max"),
        ({"nodes": {"disk_gb": 10}}, "nodes.disk_gb: must be 20 to 16384"),
        ({"nodes": {"instance_type": ""}}, "nodes.instance_type: must be a type"),
        ({"nodes": {"instance_type": "large"}}, "nodes.instance_type: must be a type"),
        ({"nodes": {"instance_type": "m7g.large"}}, "must be of x86"),
        ({"nodes": {"instance_type": "c7gn.large"}}, "must be of x86"),
        ({"log_types": ["everything"]}, "log_types: must be of api, audit"),
        ({"addon_versions": {"cilium": "1"}}, "addon_versions: must be of eks-pod-identity-agent"),
        (
            {"network": network("endpoints", internet=False)},
            "endpoints: network names no security group .* endpoints to false",
        ),
    ],
)
def test_clusters_that_cannot_be_are_refused_before_anything_is_registered(args, refusal):
    with pytest.raises(ValueError, match=refusal):
        cluster(**args)
