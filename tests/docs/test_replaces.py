"""docs/replaces.md is current, and no setting that should change in place replaces what holds data."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def modules():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        import replaces
        import replaces_page

        yield replaces, replaces_page
    for name in ("replaces", "replaces_page"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def facts():
    return json.loads((ROOT / "docs" / "replaces.json").read_text())


@pytest.fixture(scope="module")
def outcomes(modules, facts):
    _, page = modules
    return page.outcomes(facts)


def test_no_setting_replaces_what_holds_data_but_those_that_it_was_made_with(outcomes):
    for setting, found in outcomes:
        name = f"{setting.component} {setting.name}"
        assert bool(found.data.replaces) == setting.made_with, f"{name}: {found.data.replaces}"
        assert not found.removed, name
        lost = found.data.replaces and not (found.refused or found.protected)
        assert not lost, f"{name} would be lost"


def test_what_holds_no_data_is_made_anew_only_where_that_is_known(outcomes):
    """Sizes, versions, numbers of nodes, their type and disks are none of these."""
    found = {
        f"{setting.component} {setting.name}": {
            typ.rsplit(":", 1)[1] for typ in done.others.replaces
        }
        for setting, done in outcomes
        if done.others.replaces and not setting.made_with
    }
    assert found == {
        "AwsDatabase version, major (allow_major_upgrade)": {"ParameterGroup"},
        "AwsDatabase, Aurora version": {"ClusterParameterGroup"},
        "AwsEksCluster admins, another role": {"AccessEntry", "AccessPolicyAssociation"},
        "AwsEksCluster network, a third zone": {"NodeGroup"},
    }


def test_every_change_is_proved(outcomes):
    assert {s.name: found.data.unproved for s, found in outcomes if found.data.unproved} == {}


def test_of_a_cluster_every_change_is_proved_and_every_type_is_known(modules, facts, outcomes):
    _, page = modules
    [*ours] = [(s, found) for s, found in outcomes if s.component == "AwsEksCluster"]
    assert {s.name: found.others.unproved for s, found in ours if found.others.unproved} == {}
    made = {
        one.typ
        for setting, _ in ours
        for one in page.ran(setting, setting.after).values()
        if one.typ.startswith("aws:")
    }
    assert made <= set(facts)
    assert "aws:ec2/vpcEndpoint:VpcEndpoint" in made  # the rarest


def test_every_argument_of_what_holds_data_is_tried(modules):
    """Names, places and secrets aside."""
    from pulumi_mlflow.aws import artifacts, backup, database, eks, network

    settings = modules[1].SETTINGS
    tried = {word for s in settings for word in {*s.before, *s.after, *s.after.get("nodes", ())}}
    aside = {"network", "deployment", "ca", "places", "region", "role", "resources", "prefix", "existing"}  # fmt: skip
    for given in (
        database.AwsDatabaseArgs,
        artifacts.AwsArtifactStoreArgs,
        backup.AwsBackupArgs,
        network.AwsNetworkArgs,
        eks.AwsEksClusterArgs,
        eks.AwsEksNodesArgs,
    ):
        assert set(given.__annotations__) - aside <= tried


def test_the_page_is_current(modules, facts, outcomes):
    replaces, page = modules
    assert replaces.PAGE.read_text() == page.page(facts, outcomes)


def test_facts_name_their_source(modules, facts):
    replaces, _ = modules
    assert set(facts) == set(replaces.RESOURCES)
    for token, known in facts.items():
        module = replaces.SOURCES[token.split(":")[0]].split(" (")[0]
        assert known["source"].startswith(f"{module}: internal/"), token
        assert known["source"].endswith(".go")
        assert known["replaces"], token
        assert not set(known["replaces"]) & set(known["in_place"]), token


@pytest.mark.parametrize(
    ("token", "replaced", "kept"),
    [
        ("aws:rds/instance:Instance", "dbName engine username kmsKeyId storageEncrypted", "instanceClass engineVersion multiAz port"),
        ("aws:rds/cluster:Cluster", "databaseName engine masterUsername", "engineVersion backupRetentionPeriod"),
        ("aws:s3/bucket:Bucket", "bucket", "forceDestroy tags"),
        ("aws:kms/key:Key", "keyUsage multiRegion", "policy description enableKeyRotation"),
        ("aws:eks/cluster:Cluster", "name roleArn bootstrapSelfManagedAddons", "version vpcConfig enabledClusterLogTypes upgradePolicy"),
        ("aws:eks/nodeGroup:NodeGroup", "instanceTypes diskSize subnetIds amiType", "scalingConfig version releaseVersion"),
        ("aws:ec2/launchTemplate:LaunchTemplate", "name", "instanceType blockDeviceMappings metadataOptions"),
        ("aws:eks/podIdentityAssociation:PodIdentityAssociation", "serviceAccount namespace", "roleArn"),
        ("docker:index/volume:Volume", "name driver labels", ""),
    ],
)  # fmt: skip
def test_some_that_everybody_knows(facts, token, replaced, kept):
    assert set(replaced.split()) <= set(facts[token]["replaces"])
    assert set(kept.split()) <= set(facts[token]["in_place"])


GO = """
// @SDKResource("aws_thing", name="Thing")
func resourceThing() *schema.Resource {
	return &schema.Resource{
		Schema: map[string]*schema.Schema{
			names.AttrARN: {
				Type:     schema.TypeString,
				Computed: true,
			},
			"deep": {
				Type:     schema.TypeList,
				Optional: true,
				Elem: &schema.Resource{
					Schema: map[string]*schema.Schema{
						"inner": {
							Type:     schema.TypeString,
							ForceNew: true,
						},
					},
				},
			},
			names.AttrName: {
				Type:     schema.TypeString,
				ForceNew: true,
			},
			"one": {
				Type:     schema.TypeSet,
				MaxItems: 1,
				ForceNew:     true,
			},
			names.AttrTags: tftags.TagsSchema(),
			"shared": sharedSchemaForceNew(),
			"size": {
				Type:     schema.TypeInt,
				Optional: true,
			},
		},
		CustomizeDiff: customdiff.ForceNewIf("size", shrinks),
	}
}
"""


def test_the_source_is_read(modules):
    """A `ForceNew` of a part is not one of the whole."""
    replaces, _ = modules
    names = {"AttrARN": "arn", "AttrName": "name", "AttrTags": "tags"}
    found = {one.name: one for one in replaces.schema(GO, names)}
    assert {name for name, one in found.items() if one.replaces} == {"name", "one", "shared"}
    assert set(found) == {"arn", "deep", "name", "one", "tags", "shared", "size"}
    assert {name: one.parts for name, one in found.items() if one.parts} == {"deep": ("inner",)}
    assert replaces.sometimes(GO, names) == {"size"}
    with pytest.raises(replaces.SourceError):
        list(replaces.schema("package x", names))


NEWER = """
// @FrameworkResource("aws_thing", name="Thing")
func (r *thingResource) Schema(ctx context.Context) {
	response.Schema = schema.Schema{
		Attributes: map[string]schema.Attribute{
			names.AttrName: schema.StringAttribute{
				Required: true,
				PlanModifiers: []planmodifier.String{
					stringplanmodifier.RequiresReplace(),
				},
			},
			names.AttrID: framework.IDAttribute(),
			"size": schema.Int64Attribute{
				Optional: true,
				PlanModifiers: []planmodifier.Int64{
					int64planmodifier.UseStateForUnknown(),
				},
			},
		},
	}
}
"""


def test_the_source_of_the_newer_framework_is_read(modules, tmp_path):
    replaces, _ = modules
    file = tmp_path / "internal" / "service" / "things" / "thing.go"
    file.parent.mkdir(parents=True)
    file.write_text(NEWER)
    read, arguments, _ = replaces.read_resource(tmp_path, "aws_thing")
    assert str(read) == "internal/service/things/thing.go"
    assert [(one.name, one.replaces) for one in arguments] == [
        ("AttrName", True),
        ("AttrID", False),
        ("size", False),
    ]


@pytest.mark.parametrize(
    ("before", "after", "replaces"),
    [
        ({"id": "a", "version": "1"}, {"id": "a", "version": "2"}, False),
        ({"id": "a", "version": "1"}, {"id": "b", "version": "1"}, True),
        ([{"id": "a", "version": "1"}], [{"id": "a", "version": "2"}], False),
        ([{"id": "a"}], [{"id": "a"}, {"id": "b"}], True),
        ({"ids": ["a"]}, {"ids": ["b"]}, True),
        (None, {"id": "a"}, True),
    ],
)
def test_a_part_that_replaces_is_told_from_the_others(modules, before, after, replaces):
    _, page = modules
    known = {"t": {"replaces": [], "in_place": [], "parts": {"template": ["id"]}}}
    was, now = (
        SimpleNamespace(typ="t", inputs={"template": one}, ignored=set()) for one in (before, after)
    )
    found = page.Changes({}, {}, {})
    page.judge(found, known, was, now)
    assert (found.replaces if replaces else found.updates) == {"t": ["template"]}
