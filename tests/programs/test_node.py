"""Libraries for Node.js: rate limiters, caches, sessions and locks. The programs are in `node/`."""

import pytest


@pytest.mark.parametrize("client", ["ioredis", "redis"])
def test_rate_limiter_flexible(site, client):
    site.run_node("rate_limiter_flexible.js", client)


def test_keyv(site):
    site.run_node("keyv.js")


def test_connect_redis(site):
    """Sessions of an Express application."""
    site.run_node("connect_redis.js")


def test_express_rate_limit(site):
    """With rate-limit-redis, through ioredis."""
    site.run_node("express_rate_limit.js")


def test_fastify_rate_limit(site):
    """A Fastify application, through ioredis."""
    site.run_node("fastify_rate_limit.js")


def test_redlock(site, other):
    """One lock at two nodes is one lock: any node takes it."""
    site.run_node("redlock.js", other.client_port)


def test_mutex_of_redis_semaphore(site, other):
    site.run_node("redis_semaphore.js", other.client_port)


@pytest.mark.parametrize("program", ["unstorage", "catbox", "koa_redis"])
def test_storages_and_sessions(site, program):
    """The storage of Nuxt, the cache of hapi, and sessions of Koa."""
    site.run_node(f"{program}.js")


def test_scripts_of_ioredis(site):
    """defineCommand, pipelines, transactions and a scan as a stream."""
    site.run_node("ioredis_scripts.js")
