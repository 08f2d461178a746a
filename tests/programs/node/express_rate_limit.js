// express-rate-limit with rate-limit-redis: node express_rate_limit.js PORT
const assert = require('node:assert');
const express = require('express');
const { rateLimit } = require('express-rate-limit');
const { RedisStore } = require('rate-limit-redis');
const Redis = require('ioredis');
const { port, killLeader, run } = require('./site');

run(async () => {
  const client = new Redis({ port, host: '127.0.0.1' });
  const store = new RedisStore({ sendCommand: (command, ...args) => client.call(command, ...args) });
  const app = express();
  app.use(rateLimit({ windowMs: 600000, limit: 4, store, standardHeaders: 'draft-7', legacyHeaders: false }));
  app.get('/', (request, response) => response.send('welcome'));
  const server = await new Promise((resolve) => { const s = app.listen(0, '127.0.0.1', () => resolve(s)); });
  const status = async () => (await fetch(`http://127.0.0.1:${server.address().port}/`)).status;
  assert.deepStrictEqual([await status(), await status()], [200, 200]);
  await killLeader();
  assert.deepStrictEqual([await status(), await status(), await status()], [200, 200, 429]);
  await store.resetKey('127.0.0.1');
  assert.strictEqual(await status(), 200);
});
