// unstorage, the storage of Nuxt and Nitro, with its driver for Redis: node unstorage.js PORT
const assert = require('node:assert');
const { url, killLeader, run } = require('./site');

run(async () => {
  const { createStorage } = require('unstorage');
  const driver = require('unstorage/drivers/redis');
  const storage = createStorage({ driver: (driver.default || driver)({ base: 'shop', url }) });
  await storage.setItem('pages:home', { any: ['object'] }, { ttl: 600 });
  await storage.setItem('pages:help', 'text');
  await storage.setItem('other', 1);
  assert.deepStrictEqual(await storage.getItem('pages:home'), { any: ['object'] });
  await killLeader();
  assert.deepStrictEqual((await storage.getKeys('pages')).sort(), ['pages:help', 'pages:home']);
  const found = await storage.getItems(['pages:help', 'none']);
  assert.deepStrictEqual(found, [{ key: 'pages:help', value: 'text' }, { key: 'none', value: null }]);
  assert.strictEqual(await storage.hasItem('other'), true);
  await storage.removeItem('pages:help');
  assert.deepStrictEqual((await storage.getKeys()).sort(), ['other', 'pages:home']);
  await storage.clear();
  assert.deepStrictEqual(await storage.getKeys(), []);
});
