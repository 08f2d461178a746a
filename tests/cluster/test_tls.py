"""TLS of real nodes: clients, links, commands, changes of files, and the way from plain to TLS."""

import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import sysconfig
from pathlib import Path

import pytest
import redis
import yaml

from tests.cluster.certificates import Certificates, sections, secure
from tests.cluster.harness import Server, free_ports, wait_until
from tests.cluster.load import Load
from tests.cluster.wire import Refusal

pytestmark = pytest.mark.slow

KRAFT = Path(sysconfig.get_path("scripts"), "kraft")


@pytest.fixture
def certificates(tmp_path):
    return Certificates(tmp_path / "certs")


@pytest.fixture
def secured(make_cluster, certificates):
    """Three nodes with TLS on all ports, configured."""
    cluster = make_cluster(3)
    secure(cluster, certificates)
    return cluster


def test_a_cluster_with_tls_serves(secured):
    """Links without a secret, clients, and the HTTP port."""
    secured.start()
    assert secured["K1"].ask("SET", "greeting", "hello") == "OK"
    assert secured["K3"].ask("GET", "greeting") == b"hello"
    for server in secured:
        status = server.status()
        assert [each["connected"] for each in status["members"] if each["id"] != server.id] == [True, True]


def plain(port, data=b"PING\r\n"):
    """The answer to plain bytes."""
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        client.sendall(data)
        return client.makefile("rb").read()


def run(*words, **more):
    """A program to its end, with what it printed."""
    return subprocess.run(
        list(map(str, words)), capture_output=True, text=True, timeout=60, check=False, **more
    )


def test_people_and_programs_speak_tls(secured, certificates, need):
    """redis-cli, redis-py, and the commands of kraft; without TLS or token each is told what is wrong."""
    token = certificates.folder / "token"
    token.write_text("0123456789abcdef" * 4)
    certificates.client("admin")
    asks = {"tls": "required", "certificates": "optional", "token_file": str(token)}
    secure(secured, certificates, http=asks)
    for server in secured:
        server.security = certificates.context("admin")
    secured.start()
    server, ca = secured["K1"], certificates.path("ca.crt")
    port, asked = str(server.client_port), f"127.0.0.1:{server.http_port}"

    cli = [need("redis-cli"), "-p", port]
    assert run(*cli, "--tls", "--cacert", ca, "set", "a", "1").stdout == "OK\n"
    assert "TLS only" in run(*cli, "get", "a").stdout

    with redis.Redis(port=server.client_port, ssl=True, ssl_ca_certs=ca) as client:
        assert client.get("a") == b"1"
        assert client.pipeline().incr("n").incr("n").execute() == [1, 2]
        client.set("large", b"x" * 1_000_000)
        assert client.get("large") == b"x" * 1_000_000

    tls = ["--tls", "--cacert", ca]
    assert run(KRAFT, "get", "-s", port, *tls, "a").stdout == "1\n"
    assert (
        run(
            KRAFT, "get", "-s", f"rediss://127.0.0.1:{port}", "a", env={**os.environ, "KRAFT_CACERT": ca}
        ).stdout
        == "1\n"
    )
    assert run(KRAFT, "set", "-s", port, *tls, "a", "2").stdout == "OK\n"
    assert run(KRAFT, "shell", port, *tls, "-c", "get a", "-c", "incr a").stdout == "2\n3\n"
    assert "K3" in run(KRAFT, "members", "-s", port, *tls).stdout
    told = run(KRAFT, "get", "-s", port, "a")
    assert told.returncode == 1
    assert "takes TLS only" in told.stderr
    told = run(KRAFT, "get", "-s", port, "--tls", "a")
    assert "--cacert names the CA" in told.stderr

    by_token = ["--token-file", token]
    assert "all well" in run(KRAFT, "status", *tls, *by_token, asked).stdout
    assert "all well" in run(KRAFT, "status", "--cacert", ca, *by_token, f"https://{asked}").stdout
    own = ["--cert", certificates.path("admin.crt"), "--key", certificates.path("admin.key")]
    assert "all well" in run(KRAFT, "status", *tls, *own, asked).stdout
    assert "it asks for the token" in run(KRAFT, "status", *tls, asked).stdout
    assert "https://" in run(KRAFT, "status", asked).stdout
    assert {code(server, path, certificates.context()) for path in ("/livez", "/readyz")} == {200}
    assert {code(server, path, certificates.context()) for path in ("/", "/status", "/metrics")} == {401}
    assert b"this port takes TLS only" in plain(server.http_port, b"GET / HTTP/1.1\r\n\r\n")
    doctor = run(KRAFT, "doctor", server.config)
    assert "K2 is connected" in doctor.stdout, doctor.stdout


DOCUMENT = Path(__file__).parents[2] / "docs/tls.md"


def test_the_secure_cluster_of_the_document(make_cluster, tmp_path, monkeypatch, need):
    """Its commands and its configuration, with other addresses and folders."""
    cluster = make_cluster(3)
    text = DOCUMENT.read_text().partition("## A secure cluster")[2].partition("## The ports")[0]
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    [make] = [line for line in lines if line.startswith("kraft certs K1=")]
    options = [line for line in lines if line.partition(":")[0] in ("tls", "peer", "client", "http")]
    assert len(options) == 4
    [export] = [line.removeprefix("export ") for line in lines if line.startswith("export ")]

    folder = tmp_path / "kraft-certs"
    made = re.sub(r"10\.0\.0\.\d", "127.0.0.1", make).split()[1:]
    assert run(KRAFT, *made, cwd=tmp_path).returncode == 0
    monkeypatch.chdir(tmp_path)
    for pair in export.split():
        monkeypatch.setenv(*pair.split("="))
    for server in cluster:
        own = "\n".join(options).replace("K1", server.id).replace("10.0.0.1", "127.0.0.1")
        ports = {10001: server.peer_port, 10011: server.client_port, 10021: server.http_port}
        for known, port in ports.items():
            own = own.replace(f"tcp:{known}:", f"tcp:{port}:")
        held = next(path for path in folder.rglob(f"{server.id}.key")).parent
        own = own.replace("/etc/kraft/ca.", f"{folder}/ca.").replace("/etc/kraft", str(held))
        server.configure(cluster.members, **yaml.safe_load(own))
        context = ssl.create_default_context(cafile=folder / "ca.crt")
        context.load_cert_chain(folder / "client-admin.crt", folder / "client-admin.key")
        server.security = context
        assert run(KRAFT, "check-config", server.config).returncode == 0
    cluster.start()

    server = cluster["K1"]
    asked = run(KRAFT, "status", f"https://127.0.0.1:{server.http_port}")
    assert "all well" in asked.stdout, asked
    assert run(KRAFT, "shell", str(server.client_port), "-c", "set greeting hi").stdout == "OK\n"
    [words] = [line for line in lines if line.startswith("redis-cli")]
    words = (
        os.path.expandvars(words).replace("10.0.0.1", "127.0.0.1").replace("10011", str(server.client_port))
    )
    assert run(need("redis-cli"), *words.split()[1:]).stdout == "OK\n"
    assert server.ask("GET", "greeting") == b"hello"
    bare = ssl.create_default_context(cafile=folder / "ca.crt")
    assert code(server, "/livez", bare) == 200
    assert code(server, "/status", bare) == 403
    server.security = bare
    with pytest.raises(OSError, match=r"certificate required|closed|reset|EOF"):
        server.ask("GET", "greeting")


def code(server, path, context):
    """The status code of a page without a token."""
    connection = http.client.HTTPSConnection("127.0.0.1", server.http_port, timeout=20, context=context)
    connection.request("GET", path)
    answer = connection.getresponse().status
    connection.close()
    return answer


# -- files that change --------------------------------------------------------------------------------


def loaded(server, count):
    """Wait until the node has taken its files over so many times."""
    wait_until(
        lambda: len(server.events("certificates_loaded")) >= count, f"{server.id} has loaded its files"
    )


def shown_serial(server):
    """The serial number of the certificate that a new connection shows."""
    with server.client() as client:
        return int(client.socket.getpeercert()["serialNumber"], 16)


def test_files_are_taken_over_while_connections_go_on(make_cluster, certificates):
    """By the change alone, or by SIGHUP. What cannot be used changes nothing, and is told once."""
    cluster = make_cluster(1)
    asked = {"tls": "required", "certificates": "required", "certificate_user": "CN"}
    secure(cluster, certificates, client=asked)
    [server] = cluster
    shop = certificates.client("shop")
    certificates.client("admin")
    server.security = certificates.context("shop")
    cluster.start()
    assert server.ask("ACL", "SETUSER", "shop", "on", "~*", "+@all") == "OK"
    with server.client() as old:
        assert old.call("ACL", "WHOAMI") == b"shop"
        change_files(server, certificates, shop)
        assert old.call("PING") == "PONG"
    assert len(server.events("certificates_refused")) == 1


def change_files(server, certificates, shop):
    """A renewal, a key that is none, another renewal with a revocation."""
    renewed = certificates.node("K1")
    loaded(server, 2)
    assert shown_serial(server) == renewed.certificate.serial_number

    Path(certificates.path("K1.key")).write_text("not a key")
    refused = wait_until(lambda: server.events("certificates_refused"), "the key is refused")
    assert "holds no private key" in refused[0]["problems"][0]
    assert shown_serial(server) == renewed.certificate.serial_number

    again = certificates.node("K1")
    certificates.revoke(shop)
    os.kill(server.pid, signal.SIGHUP)
    loaded(server, 3)
    with pytest.raises(OSError, match=r"revoked|closed|reset|EOF"):
        server.ask("PING")
    server.security = certificates.context("admin")
    assert shown_serial(server) == again.certificate.serial_number


def test_a_new_ca_replaces_the_old_one_under_load(secured, certificates, tmp_path):
    """Both CAs, then new certificates, then the new CA alone: no command fails, no node restarts."""
    new = Certificates(tmp_path / "new")
    secured.start()
    both = certificates.context()
    both.load_verify_locations(new.path("ca.crt"))
    for server in secured:
        server.security = both
    known = dict.fromkeys(secured, 1)

    def change(parts):
        for name, data in parts.items():
            path = Path(certificates.path(name))
            path.with_suffix(".new").write_bytes(data)
            path.with_suffix(".new").replace(path)

    def all_loaded():
        for server in secured:
            os.kill(server.pid, signal.SIGHUP)
            known[server] += 1
            loaded(server, known[server])

    def read(folder, *names):
        return {name: Path(folder.path(name)).read_bytes() for name in names}

    with Load(list(secured), writers=4) as load:
        load.advance(100)
        old, others = read(certificates, "ca.crt", "ca.crl"), read(new, "ca.crt", "ca.crl")
        change({name: old[name] + others[name] for name in old})
        all_loaded()
        for server in secured:
            new.node(server.id)
            change(read(new, f"{server.id}.crt", f"{server.id}.key"))
        all_loaded()
        load.advance(100)
        change(others)
        all_loaded()
        load.advance(100)
        secured["K2"].terminate()
        secured["K2"].start()  # its links are new: by the new CA alone
        secured.wait_serving()
        load.advance(100)
    assert not load.refusals
    for server in secured:
        load.check(server)


# -- members ------------------------------------------------------------------------------------------


def test_a_node_is_added_by_its_certificate(secured, certificates):
    """KRAFT ADD, no secret. A node with the certificate of another cluster stays out."""
    secured.start()
    other = Certificates(certificates.folder / "other", "elsewhere")
    [peer] = free_ports(1)
    added = secured.servers["K4"] = Server("K4", certificates.folder / "K4", [peer, *free_ports(2)])
    certificates.node("K4")
    added.configure({}, cluster={"standby": True}, **sections(certificates, added))
    added.security = certificates.context()
    added.start()
    wait_until(lambda: added.events("node_started"), "K4 listens")
    assert secured["K1"].order("ADD", "K4", "127.0.0.1", added.peer_port) == "OK"
    secured.wait_serving(added)
    assert added.ask("SET", "from", "K4") == "OK"

    stranger = Server("K5", certificates.folder / "K5", free_ports(3))
    other.node("K5")
    stranger.configure({}, cluster={"standby": True}, **sections(other, stranger))
    stranger.start()
    wait_until(lambda: stranger.events("node_started"), "the stranger is there")
    refused = secured["K1"].order("ADD", "K5", "127.0.0.1", stranger.peer_port)
    stranger.kill()
    assert isinstance(refused, Refusal)


# -- from plain to TLS --------------------------------------------------------------------------------


def test_the_way_from_plain_to_tls_and_back_fails_no_command(make_cluster, certificates):
    """A restart to `optional`, clients that turn to TLS, one to `required`; then the same way back."""
    cluster = make_cluster(3)
    cluster.start()
    modes = ("off", "optional", "required", "optional", "off")
    with Load(list(cluster), writers=4) as load:
        for mode in modes[1:]:
            if mode == "off":
                for server in cluster:
                    server.security = None
                load.advance(60)
            for server in cluster:
                load.advance(20)
                server.terminate()
                configure(cluster, certificates, server, mode)
                server.start()
                cluster.wait_serving(server)
            if mode == "optional":
                for server in cluster:
                    server.security = certificates.context()
            load.advance(60)
            if mode == "required":
                assert {shut_out(server.client_port) for server in cluster} == {True}
    assert not load.refusals
    for server in cluster:
        load.check(server)


def configure(cluster, certificates, server, mode):
    """Set all ports of one node to this mode."""
    if not Path(certificates.path(f"{server.id}.crt")).exists():
        certificates.node(server.id)
    modes = {name: {"tls": mode} for name in ("peer", "client", "http")}
    server.configure(cluster.members, **sections(certificates, server, **modes))


def shut_out(port):
    """Whether a client without TLS is told to use it."""
    return b"TLS only" in plain(port)


# -- what cannot start --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda c: Path(c.path("K1.key")).unlink(), "tls.key: "),
        (lambda c: c.node("K2", file="K1"), "is the certificate of node K2, and this is node K1"),
        (lambda c: c.node("K1", age=31), "expired on"),
        (lambda c: c.client("K1"), "has no name of a node"),
        (lambda c: c.revoke(c.node("K1")), "is revoked by"),
        (lambda c: Path(c.path("ca.crt")).write_bytes(Path(c.path("K1.crt")).read_bytes()), "which is no CA"),
        (
            lambda c: Path(c.path("K1.key")).write_bytes(Path(c.path("ca.key")).read_bytes()),
            "does not belong to",
        ),
    ],
)
def test_files_that_cannot_be_used_are_one_line(make_cluster, certificates, spoil, told):
    """At a start, and from `kraft check-config` and `kraft doctor`."""
    cluster = make_cluster(1)
    secure(cluster, certificates)
    [server] = cluster
    spoil(certificates)

    checked = run(KRAFT, "check-config", server.config)
    server.start()
    assert server.exit_status() == 1

    assert told in checked.stdout
    assert checked.returncode == 1
    line = next(line for line in server.output.splitlines() if line.startswith("kraft: "))
    assert told in line
    assert told in run(KRAFT, "doctor", server.config).stdout
