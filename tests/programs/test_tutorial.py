"""docs/tutorial.md as a reader does it: its files, run beside each other, while the leader is killed."""

import os
import re
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import pytest

from tests.cluster.harness import Cluster, free_ports, wait_until

PAGE = Path(__file__).parents[2] / "docs/tutorial.md"
FILES = ("nodes.py", "shop.py", "customers.py")
STOCK = 100_000
BUYING_SECONDS = 8
END_SECONDS = 120.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files of the page."""
    files = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE.read_text(), re.DOTALL))
    assert tuple(files) == FILES
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


class Shop:
    """A process with the shop, and how to ask it."""

    def __init__(self, folder: Path, nodes: list[str]) -> None:
        """`nodes` are the addresses of kraft, in the order in which the shop tries them."""
        [port] = free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        with (folder / "shop.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flask", "--app", "shop", "run", "--port", str(port)],
                cwd=folder,
                env=os.environ | {"KRAFT_NODES": " ".join(nodes)},
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, "the shop answers")

    def ask(self, path: str, method: str = "GET", browser: OpenerDirector | None = None) -> str:
        """The text of a page."""
        request = Request(f"{self.url}{path}", method=method)
        reply: bytes = (browser or build_opener()).open(request, timeout=END_SECONDS).read()
        return reply.decode()

    def status(self, path: str, method: str) -> int:
        """The status of a page that may be refused."""
        try:
            self.ask(path, method)
        except HTTPError as refusal:
            return refusal.code
        return 200

    def customers(self) -> subprocess.Popen[str]:
        """The customers of the page, at work."""
        return subprocess.Popen(
            [sys.executable, "customers.py", str(BUYING_SECONDS), self.url],
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def close(self) -> None:
        """End the process, and print what it said."""
        self.process.kill()
        self.process.wait()
        sys.stdout.write((self._folder / "shop.log").read_text()[-4000:])

    def _answers(self) -> bool:
        assert self.process.poll() is None, (self._folder / "shop.log").read_text()
        try:
            return bool(self.ask("/stock"))
        except OSError:
            return False


@pytest.fixture
def open_shop(site, folder: Path) -> Iterator[Callable[[list[str]], Shop]]:
    """Opens the shop, with more in stock than the customers can buy."""
    shops = []

    def open_(nodes: list[str]) -> Shop:
        assert site.near.ask("SET", "stock", STOCK) == "OK"
        shops.append(Shop(folder, nodes))
        return shops[-1]

    yield open_
    for shop in shops:
        shop.close()


@pytest.mark.parametrize("first", ["the leader", "another node"])
def test_customers_notice_only_a_pause(site, cluster: Cluster, open_shop, first):
    """The shop is connected to the node that dies, or to one that lives."""
    leader = cluster.leader()
    servers = sorted(cluster, key=lambda each: (each is leader) != (first == "the leader"))
    shop = open_shop([f"127.0.0.1:{each.client_port}" for each in servers])
    mine = build_opener(HTTPCookieProcessor())
    assert [shop.ask("/", browser=mine) for _ in range(2)] == ["visit 1", "visit 2"]
    page = shop.ask("/catalogue")
    order = f"/orders/{uuid.uuid4()}"  # once for ever: no other test may have asked for it
    assert [shop.ask(order, "PUT") for _ in range(2)] == [f"{STOCK - 1} left"] * 2
    attempts = [shop.status("/login", "POST") for _ in range(3)]

    with shop.customers() as customers:
        try:
            wait_until(lambda: int(shop.ask("/stock")) < STOCK - 20, "the customers buy")
            leader.kill()
            said, _ = customers.communicate(timeout=END_SECONDS)
        finally:
            customers.kill()
    assert customers.returncode == 0, said
    orders = re.fullmatch(r"(\d+) orders, as many pieces sold, longest wait [\d.]+ s\n", said)
    assert orders, said
    assert int(shop.ask("/stock")) == STOCK - 1 - int(orders[1])

    assert shop.ask("/", browser=mine) == "visit 3"
    assert shop.ask("/catalogue") == page
    assert shop.ask(order, "PUT") == f"{STOCK - 1} left"
    attempts += [shop.status("/login", "POST") for _ in range(4)]
    counts = Counter(attempts)
    assert attempts[-1] == 429, attempts
    assert set(counts) == {403, 429}
    assert 4 <= counts[403] <= 5, attempts  # one that was repeated after the kill may count twice
