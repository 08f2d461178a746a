// @fastify/rate-limit in a Fastify application: node fastify_rate_limit.js PORT
const assert = require('node:assert');
const fastify = require('fastify');
const Redis = require('ioredis');
const { port, killLeader, run } = require('./site');

run(async () => {
  const redis = new Redis({ port, host: '127.0.0.1' });
  const app = fastify();
  await app.register(require('@fastify/rate-limit'), { max: 4, timeWindow: '10 minutes', redis });
  app.get('/', async () => 'welcome');
  const ask = async () => {
    const response = await app.inject({ url: '/' });
    return [response.statusCode, Number(response.headers['x-ratelimit-remaining'])];
  };
  assert.deepStrictEqual([await ask(), await ask()], [[200, 3], [200, 2]]);
  await killLeader();
  assert.deepStrictEqual([await ask(), await ask(), await ask()], [[200, 1], [200, 0], [429, 0]]);
  await app.close();
});
