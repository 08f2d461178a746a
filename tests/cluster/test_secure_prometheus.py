"""A real Prometheus reads the pages of a node by TLS, with its token; without the token it gets nothing."""

import pytest

from tests.cluster.certificates import Certificates, sections
from tests.cluster.harness import wait_until
from tests.cluster.prometheus import Prometheus

pytestmark = pytest.mark.slow


@pytest.fixture
def watched(make_cluster, tmp_path):
    """A node that asks for TLS and a token, and the job of a Prometheus, with the folder of its tokens."""
    certificates = Certificates(tmp_path / "certificates")
    certificates.node("K1")
    token = tmp_path / "token"
    token.write_text("ab" * 32 + "\n")
    cluster = make_cluster(1)
    http = {"tls": "required", "token_file": str(token)}
    server = cluster["K1"]
    server.configure(cluster.members, **sections(certificates, server, http=http))
    server.security, server.token = certificates.context(), token.read_text().strip()
    cluster.start()
    job = {"scheme": "https", "tls_config": {"ca_file": certificates.path("ca.crt")}}
    return server, job, token


def test_prometheus_reads_by_tls_with_a_token(watched, tmp_path, need):
    program = need("prometheus")
    server, job, token = watched
    wrong = tmp_path / "wrong"
    wrong.write_text("another token\n")
    right_folder, wrong_folder = tmp_path / "p1", tmp_path / "p2"
    right_folder.mkdir()
    wrong_folder.mkdir()
    right = Prometheus(program, right_folder, [server], **job, authorization={"credentials_file": str(token)})
    other = Prometheus(program, wrong_folder, [server], **job, authorization={"credentials_file": str(wrong)})
    try:
        right.wait_up(1)
        wait_until(lambda: other.told("up") == [0.0], "the other one is refused")
        assert not other.told("kraft_node_info")
    finally:
        right.close()
        other.close()
    assert server.events("http_refused")
