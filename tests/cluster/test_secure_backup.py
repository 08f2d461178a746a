"""A backup of a cluster that takes TLS only and has users, into an object store by TLS, and back."""

import pytest

from tests.cli.s3_server import running_s3
from tests.cluster.certificates import Certificates, secure
from tests.cluster.test_backup import address, kraft
from tests.cluster.wire import Refusal

boto3 = pytest.importorskip("boto3")
pytest.importorskip("moto")
pytest.importorskip("cryptography")

pytestmark = pytest.mark.slow


@pytest.fixture
def certificates(tmp_path):
    return Certificates(tmp_path / "certificates")


@pytest.fixture
def bucket(tmp_path, certificates, monkeypatch):
    """A new bucket of a server that takes TLS only."""
    certificates.node("s3")
    options = ("-c", certificates.path("s3.crt"), "-k", certificates.path("s3.key"))
    with running_s3(tmp_path, options) as port:
        for name, value in {
            "AWS_ENDPOINT_URL": f"https://127.0.0.1:{port}",
            "AWS_CA_BUNDLE": certificates.path("ca.crt"),
            "AWS_ACCESS_KEY_ID": "one",
            "AWS_SECRET_ACCESS_KEY": "two",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="kraft-backups")
        client.close()
        yield "s3://kraft-backups/prod"


def test_with_tls_users_a_token_and_a_store_by_tls(make_cluster, certificates, bucket, tmp_path, monkeypatch):
    """What is refused says what is missing; the new cluster has the same users and tokens as the old one."""
    cluster = make_cluster(1)
    secure(cluster, certificates)
    cluster.start()
    [node] = cluster
    with node.client() as client:
        assert client.call("SET", "greeting", "hello") == "OK"
        assert client.call("KRAFT", "ONCE", "payment-1", "INCR", "paid") == 1
        assert client.call("ACL", "SETUSER", "backup", "on", ">secret", "+kraft|image") == "OK"
        assert client.call("ACL", "SETUSER", "app", "on", ">word", "~*", "+@all") == "OK"
        assert client.call("ACL", "SETUSER", "default", "off") == "OK"
    key = tmp_path / "key"
    key.write_text("0f" * 32)
    words = ("backup", "--to", bucket, "-s", address(node), "--key-file", key)
    trust = ("--tls", "--cacert", certificates.path("ca.crt"))
    assert "this port takes TLS only" in kraft(*words, status=1)
    assert "set KRAFT_USER and KRAFT_PASSWORD" in kraft(*words, *trust, status=1)
    monkeypatch.setenv("KRAFT_USER", "backup")
    monkeypatch.setenv("KRAFT_PASSWORD", "wrong")
    assert "wrong password of backup" in kraft(*words, *trust, status=1)
    monkeypatch.setenv("KRAFT_PASSWORD", "secret")
    made = kraft(*words, *trust, "--json")
    assert made["directory"].startswith(bucket)
    assert kraft("backup", "verify", bucket, "--key-file", key, "--json")["sound"]

    new = make_cluster(1)
    secure(new, certificates)
    [restored] = new
    kraft("restore", bucket, "--config", restored.config, "--key-file", key, "--yes")
    restored.start()
    restored.wait_listening()
    with restored.client() as client:
        assert isinstance(client.call("GET", "greeting"), Refusal)
        assert client.call("AUTH", "app", "word") == "OK"
        assert client.call("GET", "greeting") == b"hello"
        assert client.call("KRAFT", "ONCE", "payment-1", "INCR", "paid") == 1
        assert client.call("GET", "paid") == b"1"
        assert client.call("AUTH", "backup", "secret") == "OK"
        assert isinstance(client.call("GET", "greeting"), Refusal)

    monkeypatch.delenv("AWS_CA_BUNDLE")
    assert "SSL validation failed" in kraft("backup", "list", bucket, status=1)
