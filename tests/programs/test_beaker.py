"""Beaker: caches and sessions of WSGI applications."""

from beaker.cache import CacheManager
from beaker.middleware import SessionMiddleware


def test_a_value_is_made_once(site):
    """Beaker has a lock for who makes it, freed in a transaction with WATCH."""
    pages = CacheManager(type="ext:redis", url=site.url).get_cache("pages", expire=600)
    made: list[None] = []

    def make() -> str:
        made.append(None)
        site.kill_leader()
        return "page"

    assert pages.get(key="home", createfunc=make) == "page"
    assert pages.get(key="home", createfunc=make) == "page"
    assert len(made) == 1
    pages.put("b", 2)
    assert "b" in pages
    pages.remove_value("b")
    assert "b" not in pages
    pages.clear()
    assert "home" not in pages


def test_sessions(site):
    def shop(environment, start_response):
        session = environment["beaker.session"]
        session["visits"] = session.get("visits", 0) + 1
        session.save()
        start_response("200 OK", [])
        return [str(session["visits"]).encode()]

    app = SessionMiddleware(shop, {"session.type": "ext:redis", "session.url": site.url})
    cookies: list[str] = []

    def visit() -> bytes:
        def start_response(_status, headers, _error=None):
            cookies[:] = [
                value.partition(";")[0] for name, value in headers if name == "Set-cookie"
            ] or cookies

        request = {"PATH_INFO": "/", "REQUEST_METHOD": "GET", "HTTP_COOKIE": "; ".join(cookies)}
        return b"".join(app(request, start_response))

    assert [visit(), visit()] == [b"1", b"2"]
    site.kill_leader()
    assert visit() == b"3"
