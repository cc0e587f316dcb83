"""docs/replaces.md is current, and no setting that should change in place replaces what holds data."""

import json
import sys
from pathlib import Path

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
        assert bool(found.replaces) == setting.made_with, f"{name}: {found.replaces}"
        assert not found.removed, name
        assert found.refused or found.protected or not found.replaces, f"{name} would be lost"


def test_every_change_is_proved(outcomes):
    assert {s.name: found.unproved for s, found in outcomes if found.unproved} == {}


def test_every_argument_of_what_holds_data_is_tried(modules):
    """Names, places and secrets aside."""
    from pulumi_mlflow.aws import artifacts, backup, database, network

    tried = {word for s in modules[1].SETTINGS for word in {*s.before, *s.after}}
    aside = {"network", "deployment", "ca", "places", "region", "role", "resources", "prefix", "existing"}  # fmt: skip
    for given in (
        database.AwsDatabaseArgs,
        artifacts.AwsArtifactStoreArgs,
        backup.AwsBackupArgs,
        network.AwsNetworkArgs,
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
    assert [name for name, one in found.items() if one.in_parts] == ["deep"]
    assert replaces.sometimes(GO, names) == {"size"}
    with pytest.raises(replaces.SourceError):
        list(replaces.schema("package x", names))
