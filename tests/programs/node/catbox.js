// @hapi/catbox-redis, the cache of hapi: node catbox.js PORT
const assert = require('node:assert');
const { Engine } = require('@hapi/catbox-redis');
const { port, killLeader, run } = require('./site');

run(async () => {
  const cache = new Engine({ host: '127.0.0.1', port, partition: 'shop' });
  const key = { segment: 'pages', id: 'home' };
  await cache.start();
  assert.strictEqual(cache.isReady(), true);
  assert.strictEqual(await cache.get(key), null);
  await cache.set(key, { any: ['object'] }, 600000);
  await killLeader();
  const { item, ttl } = await cache.get(key);
  assert.deepStrictEqual([item, ttl], [{ any: ['object'] }, 600000]);
  await cache.drop(key);
  assert.strictEqual(await cache.get(key), null);
  await cache.stop();
});
