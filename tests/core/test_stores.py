"""What a store cannot do is refused with the reason, and what it can is not."""

import pytest

from pulumi_mlflow.core import stores

KINDS = ("folder", "versitygw", "minio", "s3", "gcs", "azure")


def test_every_kind_is_known():
    assert tuple(stores.ABILITIES) == KINDS
    with pytest.raises(ValueError, match=r"store: must be one of folder, .* \(got 'ftp'\)"):
        stores.abilities("ftp")


@pytest.mark.parametrize(("store", "able"), [(kind, kind in ("minio", "s3")) for kind in KINDS])
def test_unfinished_uploads(store, able):
    reason = stores.check_lifecycle(store)
    assert (reason is None) == able
    if reason:
        assert reason.startswith(f"{store} does not remove unfinished uploads; ")


@pytest.mark.parametrize(
    ("store", "can"), [("minio", {"sse-s3"}), ("s3", {"sse-s3", "sse-kms"}), ("versitygw", set())]
)
def test_encryption(store, can):
    for wish in ("none", "sse-s3", "sse-kms"):
        reason = stores.check_encryption(store, wish)
        assert (reason is None) == (wish in can | {"none"})
        assert reason is None or reason.startswith(f"{store} cannot do {wish}; ")


@pytest.mark.parametrize("store", KINDS)
def test_direct_mode_needs_a_store_that_clients_reach(store):
    assert stores.check_mode(store, "proxied") is None
    assert (stores.check_mode(store, "direct") is None) == (store != "folder")


@pytest.mark.parametrize("store", ["folder", "gcs", "azure"])
def test_multipart_needs_signed_urls(store):
    reason = stores.check_multipart(store, "proxied", "http://172.17.0.1:9000")
    assert reason == f"{store} has no URLs that the server could sign; use versitygw, minio or s3"


@pytest.mark.parametrize("store", ["versitygw", "minio"])
def test_multipart_of_our_store_needs_a_shared_url(store):
    assert "needs artifacts.public_url" in stores.check_multipart(store, "proxied", "")
    assert stores.check_multipart(store, "proxied", "http://172.17.0.1:9000") is None
    assert "mode direct" in stores.check_multipart(store, "direct", "http://172.17.0.1:9000")


def test_multipart_of_s3_itself_needs_no_url():
    assert stores.check_multipart("s3", "proxied", "") is None
    assert stores.check_multipart("s3", "proxied", "https://s3.example.com") is None


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000", "http://0.0.0.0"]
)
def test_url_of_another_machine_is_none_that_is_shared(url):
    assert "is another machine to the server" in stores.check_shared_url(url)


@pytest.mark.parametrize("url", ["172.17.0.1:9000", "s3://bucket", "http://"])
def test_shared_url_is_a_url(url):
    assert (
        stores.check_shared_url(url)
        == f"must be a URL such as http://172.17.0.1:9000 (got {url!r})"
    )


@pytest.mark.parametrize("url", ["http://s3/path", "http://s3?x=1", "http://me@s3"])
def test_shared_url_is_host_and_port_alone(url):
    assert "a host and a port alone" in stores.check_shared_url(url)


def test_driver_of_the_store_is_in_the_image():
    assert stores.extras("gcs") == ["gcs"]
    assert stores.extras("azure", ("gcs", "azure")) == ["azure", "gcs"]
    assert stores.extras("versitygw", ("gcs",)) == ["gcs"]
    assert stores.extras("s3") == []


def test_scratch_is_for_what_the_server_spools():
    assert stores.scratch_mb("versitygw", "proxied", multipart=False) == 4 * 1280
    for store, mode, multipart in (
        ("versitygw", "direct", False),
        ("s3", "proxied", True),
        ("folder", "proxied", False),
    ):
        assert stores.scratch_mb(store, mode, multipart=multipart) == 512


def test_buckets_name():
    assert [stores.default_bucket(kind) for kind in ("minio", "versitygw")] == ["default", "mlflow"]
