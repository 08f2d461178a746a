"""The page of a node that asks for a token: a browser asks for a password, and the page stays current."""

import os
import signal

import pytest

from tests.cluster.certificates import Certificates, sections
from tests.cluster.harness import wait_until

TOKEN = "0123456789abcdef" * 4
LIVE = "told => document.getElementById('live').textContent !== told"


def test_the_token_is_the_password_of_the_page(make_cluster, open_window, tmp_path):
    """Also of its events. Over TLS, whose CA this browser does not know."""
    certificates = Certificates(tmp_path / "certs")
    file = tmp_path / "token"
    file.write_text(TOKEN)
    [server] = cluster = make_cluster(1)
    certificates.node("K1")
    http = {"tls": "required", "token_file": str(file)}
    server.configure(cluster.members, **sections(certificates, server, http=http))
    server.security, server.token = certificates.context(), TOKEN
    cluster.start()
    url = f"https://127.0.0.1:{server.http_port}/"

    stranger = open_window(ignore_https_errors=True)
    with pytest.raises(Exception, match="ERR_INVALID_AUTH_CREDENTIALS"):  # here nobody is there to ask
        stranger.page.goto(url)

    password = {"username": "anybody", "password": TOKEN}
    window = open_window(ignore_https_errors=True, http_credentials=password)
    assert window.page.goto(url).status == 200
    window.wait("() => document.querySelector('.headline').textContent.includes('All well')")
    window.wait(LIVE, window.text("#live"))
    assert window.complaints == []

    file.write_text("f" * 64)
    os.kill(server.pid, signal.SIGHUP)
    wait_until(lambda: server.events("config_reloaded"), "the token has changed")
    window.wait("() => document.body.classList.contains('stale')")
