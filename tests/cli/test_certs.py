"""`kraft certs`: what it makes, renews and revokes, by the files that are in its folder afterwards."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from kraft.cli.certificate_folder import DAYS_DEFAULT, RENEW_DAYS, CertificateFolder
from kraft.cli.main import main
from kraft.tls.certificate_pair import hosts_of, read_certificate, read_pair, read_revoked
from kraft.tls.credentials import TlsFiles, read_credentials
from kraft.tls.errors import FilesRefused
from kraft.tls.names import NodeName, common_name, node_name


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a CA, the nodes K1 and K2, and the client admin."""
    monkeypatch.chdir(tmp_path)
    assert main(["certs", "--cluster", "shop", "K1=10.0.0.1,db1.example.org", "K2=10.0.0.2"]) == 0
    return tmp_path / "kraft-certs"


def certificate(folder, name):
    return read_certificate((folder / f"{name}.crt").read_bytes())


def files(folder, name):
    return TlsFiles(*(str(folder / each) for each in (f"{name}.crt", f"{name}.key", "ca.crt", "ca.crl")))


def revoked(folder):
    return {serial for serial, _ in read_revoked((folder / "ca.crl").read_bytes())}


def test_a_node_can_use_what_is_made(folder):
    """Its name and hosts are in the certificate, and its files pass the checks of a start."""
    credentials = read_credentials(files(folder, "K1"), node="K1")
    assert credentials.name == NodeName("shop", "K1")
    hosts = hosts_of(credentials.chain[0])
    assert set(hosts) == {"db1.example.org", "localhost", "10.0.0.1", "127.0.0.1", "::1"}


def test_a_client_has_the_name_that_the_server_sees_and_is_no_node(folder):
    made = certificate(folder, "client-admin")
    assert common_name(made) == "admin"
    assert node_name(made) is None


def test_only_their_owner_may_read_keys(folder):
    """Whatever the umask is."""
    assert folder.stat().st_mode & 0o777 == 0o700
    for key in folder.glob("*.key"):
        assert key.stat().st_mode & 0o777 == 0o600
    assert (folder / "K1.crt").stat().st_mode & 0o777 == 0o644


def test_the_commands_that_are_told_name_files_that_exist(folder, capsys):
    """scp of each node's own files and no others."""
    main(["certs", "K3=10.0.0.3"])
    [line] = [line for line in capsys.readouterr().out.splitlines() if "scp" in line]
    *paths, target = line.split()[1:]
    assert [path.rpartition("/")[2] for path in paths] == ["K3.crt", "K3.key", "ca.crt", "ca.crl"]
    assert all((folder.parent / path).exists() for path in paths)
    assert target == "root@10.0.0.3:/etc/kraft/"


@pytest.mark.parametrize("typed", [["client-admin"], ["--client", "admin"], ["K1"]])
def test_renewed_is_a_new_key_for_the_same_names(folder, typed, capsys):
    name = "K1" if typed == ["K1"] else "client-admin"
    old = certificate(folder, name)
    key = (folder / f"{name}.key").read_bytes()
    assert main(["certs", "--renew", *typed]) == 0
    new = certificate(folder, name)
    assert new.serial_number != old.serial_number
    assert (folder / f"{name}.key").read_bytes() != key
    assert (new.subject, node_name(new), hosts_of(new)) == (old.subject, node_name(old), hosts_of(old))
    assert f"made {name} for the cluster shop" in capsys.readouterr().out


def test_without_names_what_ends_soon_is_renewed(folder):
    """And nothing else, above all not the CA."""
    main(["certs", "--days", str(RENEW_DAYS - 1), "K3=10.0.0.3"])
    before = {path: path.read_bytes() for path in folder.glob("*.crt")}
    assert main(["certs", "--renew"]) == 0
    changed = {path.name for path, data in before.items() if path.read_bytes() != data}
    assert changed == {"K3.crt"}
    later = CertificateFolder(folder, datetime.now(UTC) + timedelta(days=DAYS_DEFAULT))
    assert set(later.due()) == {"K1", "K2", "K3", "client-admin"}


@pytest.mark.parametrize("typed", [["client-admin"], ["--client", "admin"]])
def test_a_revoked_client_is_in_the_list_and_its_files_are_gone(folder, typed):
    serial = certificate(folder, "client-admin").serial_number
    assert main(["certs", "--revoke", *typed]) == 0
    assert revoked(folder) == {serial}
    assert not (folder / "client-admin.crt").exists()
    assert not (folder / "client-admin.key").exists()


def test_whoever_revokes_a_name_means_all_its_certificates(folder, tmp_path):
    """That before a renewal as well: it is valid, and may be what was stolen."""
    for suffix in ("crt", "key"):
        (tmp_path / f"stolen.{suffix}").write_bytes((folder / f"K1.{suffix}").read_bytes())
    stolen = TlsFiles(
        str(tmp_path / "stolen.crt"), str(tmp_path / "stolen.key"), *files(folder, "K1").paths()[2:]
    )
    main(["certs", "--renew", "K1"])
    assert read_credentials(stolen, node="K1")
    main(["certs", "--renew", "K1"])
    main(["certs", "--revoke", "K1"])
    assert len(revoked(folder)) == 3
    with pytest.raises(FilesRefused, match="is revoked by"):
        read_credentials(stolen, node="K1")
    assert main(["certs", "K1=10.0.0.1"]) == 0
    assert read_credentials(files(folder, "K1"), node="K1")


def test_revocations_add_up(folder):
    """The list of a later one has the earlier ones; other certificates stay good."""
    main(["certs", "--revoke", "K1"])
    main(["certs", "--revoke", "client-admin"])
    assert len(revoked(folder)) == 2
    assert read_credentials(files(folder, "K2"), node="K2")


@pytest.mark.parametrize("change", ["--renew", "--revoke"])
@pytest.mark.parametrize(
    ("name", "status", "told"),
    [
        ("ca", 2, "the CA is not renewed or revoked like this"),
        ("../x", 2, "cannot be a name here"),
        ("K1=10.0.0.9", 2, "cannot be a name here"),
        ("K9", 1, "there is no certificate K9"),
    ],
)
def test_a_name_that_is_no_certificate_changes_nothing(folder, change, name, status, told, capsys):
    """The CA above all: it is the only thing here that cannot be made again."""
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    assert outcome("certs", change, name) == status
    assert told in capsys.readouterr().err
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before
    assert read_pair(folder / "ca.crt", folder / "ca.key").certificate == certificate(folder, "ca")


def outcome(*words):
    """The exit status, also of wrong usage."""
    try:
        return main(list(words))
    except SystemExit as ended:
        return ended.code


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--cluster", "other", "K3=10.0.0.3"], "is for the cluster shop"),
        (["K3"], "add where clients find the node"),
        (["K3=10.0.0.3:10001"], "leave out the port"),
        (["K3=10.0.0.3;ls"], "is neither a host name nor an IP address"),
        (["ca=10.0.0.3"], "cannot be a name here"),
        (["--client", "client-x"], "cannot be a name here"),
        (["--days", "0", "K3=10.0.0.3"], "'0' is not a number from 1 to"),
        (["--revoke"], "--revoke needs the name"),
    ],
)
def test_wrong_usage_names_the_next_step(folder, words, told, capsys):
    assert outcome("certs", *words) == 2
    assert told in capsys.readouterr().err


def test_what_is_there_is_not_overwritten(folder, capsys):
    """None of the others named with it is made either."""
    assert outcome("certs", "K4=10.0.0.4", "K1=10.0.0.1") == 1
    assert "--renew makes it anew" in capsys.readouterr().err
    assert not (folder / "K4.crt").exists()


@pytest.mark.parametrize(("file", "told"), [("K1.key", "does not belong to"), ("K1.crt", "PEM")])
def test_a_key_that_is_not_that_of_the_ca_makes_nothing(folder, file, told, capsys):
    """Nobody would accept its certificates."""
    (folder / file).replace(folder / "ca.key")
    assert outcome("certs", "K3=10.0.0.3") == 1
    assert "holds no CA of this command" in (error := capsys.readouterr().err)
    assert told in error
    assert not (folder / "K3.crt").exists()


def test_programs_get_the_same_as_json(folder, capsys):
    main(["certs", "--revoke", "K2"])
    capsys.readouterr()
    assert main(["certs", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["cluster"], told["changed"]) == ("shop", [])
    assert [each["name"] for each in told["certificates"]] == ["ca", "K1", "client-admin"]
