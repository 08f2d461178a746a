// keyv with @keyv/redis: node keyv.js PORT
const assert = require('node:assert');
const { createKeyv } = require('@keyv/redis');
const { url, killLeader, run } = require('./site');

run(async () => {
  const keyv = createKeyv(url, { namespace: 'pages', throwOnErrors: true });
  const other = createKeyv(url, { namespace: 'other', throwOnErrors: true });
  assert.strictEqual(await keyv.set('a', { any: ['object'] }, 600000), true);
  assert.deepStrictEqual(await keyv.get('a'), { any: ['object'] });
  assert.strictEqual(await keyv.get('missing'), undefined);
  await other.set('a', 1);
  await keyv.setMany([{ key: 'b', value: 1 }, { key: 'c', value: 2, ttl: 600000 }]);
  await killLeader();
  assert.deepStrictEqual(await keyv.getMany(['b', 'c', 'missing']), [1, 2, undefined]);
  assert.deepStrictEqual(await keyv.hasMany(['a', 'missing']), [true, false]);
  const found = [];
  for await (const [key, value] of keyv.iterator()) found.push([key, value]);
  assert.deepStrictEqual(found.filter(([, value]) => typeof value === 'number').map(([, value]) => value).sort(), [1, 2]);
  assert.strictEqual(await keyv.delete('b'), true);
  assert.strictEqual(await keyv.has('b'), false);
  await keyv.clear();
  assert.strictEqual(await keyv.get('a'), undefined);
  assert.strictEqual(await other.get('a'), 1);
});
