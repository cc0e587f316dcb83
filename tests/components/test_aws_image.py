"""AwsImage: what is pushed, under which tag, when nothing is; and a push, against stand-ins for ECR and the engine."""

import base64
import json
import re

import botocore.session
import pytest
from botocore.exceptions import ClientError
from tests.components.aws_support import ACCOUNT, REGION, Program, check_request

from pulumi_mlflow import builds, recipes
from pulumi_mlflow.aws import registry
from pulumi_mlflow.aws.image import AwsImage
from pulumi_mlflow.core import aws_image
from pulumi_mlflow.recipes import ImageSource

DIGEST = "sha256:" + "e" * 64
GOV = "arn:aws-us-gov:ecr:us-gov-east-1:{}:repository/"
CHINA = "arn:aws-cn:ecr:cn-north-1:{}:repository/"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PULUMI_MLFLOW_CACHE", str(tmp_path))
    (tmp_path / "images").mkdir()
    for name in ("rootfs-x.tar", "oauth2-proxy-1"):
        (tmp_path / "images" / name).write_text("x")
    return tmp_path


def made(**args):
    return Program(lambda: AwsImage("image", {"region": REGION, **args}))


def test_a_repository_is_scanned_immutable_and_goes_with_its_images():
    found = made()
    repository = found["image-repository"]
    assert repository["name"] == "mlflow-prod/mlflow"
    assert repository["imageTagMutability"] == "IMMUTABLE"
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    assert repository["forceDelete"] is True
    rules = json.loads(found["image-lifecycle"]["policy"])["rules"]
    assert [rule["selection"]["tagStatus"] for rule in rules] == ["untagged", "any"]


def test_tasks_get_the_digest_and_nothing_else():
    found = made()
    pushed = found["image-push"]
    assert pushed["repository"] == "mlflow-prod/mlflow"
    assert len(pushed["tag"]) == 16
    assert {item.parent for name, item in found.seen.items() if name != "image"} == {"image"}


@pytest.mark.parametrize(
    ("host", "arn"),
    [
        ("registry.example.com", ""),
        ("public.ecr.aws/acme", ""),
        ("1.dkr.ecr.eu-central-1.amazonaws.com", ""),
        (f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com", "arn:aws:ecr:eu-west-1:{}:repository/"),
        (f"{ACCOUNT}.dkr.ecr-fips.us-gov-east-1.amazonaws.com", GOV),
        (f"{ACCOUNT}.dkr-ecr.us-gov-east-1.on.aws", GOV),
        (f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn", CHINA),
    ],
)
def test_an_image_that_there_is_needs_no_repository_of_ours_and_is_pulled_from_its_own(host, arn):
    found = made(existing=f"{host}/team/mlflow@{DIGEST}")
    assert set(found.seen) == {"image"}
    for name in ("team/mlflow", "team/mlflow:3.17.2"):
        expected = arn.format(ACCOUNT) + "team/mlflow" if arn else ""
        assert aws_image.repository_arn(f"{host}/{name}@{DIGEST}") == expected
    assert (found.made.repository_arn is not None) == bool(arn)


@pytest.mark.parametrize("deployment", ["mlflow-Prod", "Acme.ML-prod", "mlflow-prod_", "x" * 201])
def test_ecr_takes_the_name_whatever_the_stack_is_called(deployment):
    name = made(deployment=deployment)["image-repository"]["name"]
    check_request("ecr", "CreateRepository", repositoryName=name)
    shape = botocore.session.get_session().get_service_model("ecr").shape_for("RepositoryName")
    assert re.fullmatch(shape.metadata["pattern"], name)


@pytest.mark.parametrize(
    ("args", "refusal"),
    [
        ({"kind": "postgresql"}, "image: kind: must be one of mlflow, nginx, oauth2-proxy"),
        ({"extras": ["hdfs"]}, "image: extras: hdfs is none of gcs, azure, metrics, redis"),
        ({"existing": "mlflow:latest"}, "image: existing: must end in a digest"),
        ({"existing": "mlflow:3.17"}, "image: existing: must end in a digest"),
        ({"source": "cloud"}, "image: source: must be one of registry, build"),
    ],
)
def test_what_cannot_be_is_refused(args, refusal):
    with pytest.raises(ValueError, match=refusal):
        made(**args)


def named(kind, source=ImageSource.REGISTRY, extras=()):
    return registry.tag(kind, source, registry.build_args(kind, source, extras))


def test_a_tag_is_another_for_every_difference(monkeypatch):
    tags = [
        named("mlflow"),
        named("nginx"),
        named("oauth2-proxy"),
        named("mlflow", extras=["gcs"]),
        named("mlflow", ImageSource.BUILD),
    ]
    assert len(set(tags)) == len(tags)
    assert named("mlflow", extras=["gcs", "gcs"]) == named("mlflow", extras=["gcs"])
    # Another folder to write in is another image.
    monkeypatch.setitem(aws_image._FOLDERS, "mlflow", ("/elsewhere",))
    assert named("mlflow") != tags[0]


@pytest.mark.parametrize("kind", aws_image.KINDS)
@pytest.mark.parametrize("official", [True, False])
def test_recipes_end_with_the_folders_that_tasks_write_in(kind, official):
    text = (recipes.folder() / kind / "Dockerfile").read_text()
    recipe = aws_image.dockerfile(kind, text, official=official)
    last = recipe.rstrip().splitlines()[-1]
    assert last == f"VOLUME {json.dumps(list(aws_image.volumes(kind)))}"
    assert "/run/pulumi-mlflow" in last
    # Made, and given to the user, before the line; or there by itself.
    for folder in aws_image.volumes(kind):
        assert folder in recipe[: recipe.index("VOLUME")] or folder == "/tmp"
    assert "\nUSER " in recipe
    assert "USER root" not in recipe


class Ecr:
    def __init__(self, digest="", code="ImageNotFoundException"):
        self.digest, self.code = digest, code

    def describe_images(self, **asked):
        self.asked = asked
        check_request("ecr", "DescribeImages", **asked)
        if self.digest:
            return {"imageDetails": [{"imageDigest": self.digest}]}
        raise ClientError({"Error": {"Code": self.code}}, "DescribeImages")

    def get_authorization_token(self):
        token = base64.b64encode(b"AWS:pass:word").decode()
        return {"authorizationData": [{"authorizationToken": token}]}


class Engine:
    """Remembers what it was asked to push."""

    def __init__(self, answer, architecture="amd64"):
        self.answer, self.pushed = answer, None
        self.attrs = {"Architecture": architecture}
        self.images = self.api = self

    def get(self, name):
        self.name = name
        return self

    def tag(self, repository, tag):
        self.tagged = f"{repository}:{tag}"

    def push(self, repository, **options):
        self.pushed = (repository, options)
        return iter(self.answer)


def test_a_digest_is_found_by_its_tag():
    ecr = Ecr(DIGEST)
    assert registry.find_digest(ecr, "repo", "t") == DIGEST
    assert ecr.asked == {"repositoryName": "repo", "imageIds": [{"imageTag": "t"}]}
    assert registry.find_digest(Ecr(), "repo", "t") == ""
    with pytest.raises(ClientError):
        registry.find_digest(Ecr(code="AccessDeniedException"), "repo", "t")


def test_a_push_ends_with_the_registrys_digest():
    engine = Engine([{"status": "Pushing"}, {"aux": {"Digest": DIGEST}}, {"status": "done"}])
    auth = registry.credentials(Ecr())
    assert auth == {"username": "AWS", "password": "pass:word"}
    assert registry.push(engine, "local:1", "registry.example.com:443/r:t", auth) == DIGEST
    assert engine.tagged == "registry.example.com:443/r:t"
    repository, options = engine.pushed
    assert (repository, options["tag"]) == ("registry.example.com:443/r", "t")
    assert options["auth_config"] == auth


@pytest.mark.parametrize(
    ("answer", "architecture", "refusal"),
    [
        ([{"error": "denied: no such repository"}], "amd64", "denied: no such repository"),
        ([{"status": "done"}], "amd64", "named no digest"),
        ([], "arm64", "is for arm64, and tasks run on amd64"),
    ],
)
def test_a_failed_push_says_why(answer, architecture, refusal):
    with pytest.raises(registry.RegistryError, match=refusal):
        registry.push(Engine(answer, architecture), "local:1", "r:t", {})


PROPS = {
    "kind": "mlflow",
    "source": "registry",
    "build_args": {"BASE": "python:3"},
    "tag": "t",
    "repository": "repo",
    "repository_url": "registry.example.com/repo",
    "region": REGION,
}


def test_what_is_in_the_registry_is_not_built_again(monkeypatch):
    monkeypatch.setattr(registry.boto3, "client", lambda *_a, **_k: Ecr(DIGEST))
    monkeypatch.setattr(builds, "connect", lambda: pytest.fail("asked the engine"))
    assert registry._PushProvider().create(PROPS).outs["digest"] == DIGEST


def test_what_is_not_is_built_with_its_volumes_and_pushed(monkeypatch, capsys):
    seen = {}

    def build_image(_client, name, context, arguments, _labels):
        seen[name] = ((context / "Dockerfile").read_text(), arguments)

    engine = Engine([{"aux": {"Digest": DIGEST}}])
    monkeypatch.setattr(registry.boto3, "client", lambda *_a, **_k: Ecr())
    monkeypatch.setattr(builds, "connect", lambda: engine)
    monkeypatch.setattr(builds, "build_image", build_image)
    done = registry._PushProvider().create(PROPS)
    assert (done.id, done.outs["digest"]) == ("repo:t", DIGEST)
    [(name, (recipe, arguments))] = seen.items()
    assert name == engine.name
    assert name.startswith("pulumi-mlflow/fargate-mlflow:")
    assert recipe.endswith('VOLUME ["/run/pulumi-mlflow", "/scratch", "/tmp"]\n')
    assert arguments == {"BASE": "python:3"}
    # Neither the login nor its token is shown.
    assert "pass:word" not in "".join(capsys.readouterr())


def test_without_official_images_the_base_is_built_first(monkeypatch):
    order = []
    monkeypatch.setattr(builds, "image_exists", lambda *_: "")
    monkeypatch.setattr(builds, "build_image", lambda _c, name, *_: order.append(name))
    arguments = registry.build_args("nginx", ImageSource.BUILD, [])
    name = registry.build(None, "nginx", ImageSource.BUILD, arguments)
    assert order == [arguments["BASE"], name]


def test_a_changed_tag_is_a_new_push_and_the_old_image_stays():
    provider = registry._PushProvider()
    assert not provider.diff("i", PROPS, {**PROPS, "build_args": {}}).changes
    changed = provider.diff("i", PROPS, {**PROPS, "tag": "u"})
    assert (changed.changes, changed.replaces) == (True, ["tag"])
    assert not changed.delete_before_replace


def test_an_image_that_somebody_deleted_is_pushed_again(monkeypatch):
    monkeypatch.setattr(registry.boto3, "client", lambda *_a, **_k: Ecr())
    assert registry._PushProvider().read("repo:t", PROPS).id == ""
    monkeypatch.setattr(registry.boto3, "client", lambda *_a, **_k: Ecr(DIGEST))
    assert registry._PushProvider().read("repo:t", PROPS).outs["digest"] == DIGEST
