// ioredis with its own commands: node ioredis_scripts.js PORT
const assert = require('node:assert');
const Redis = require('ioredis');
const { port, killLeader, run } = require('./site');

const BOUNDED = `
local n = tonumber(redis.call('GET', KEYS[1]) or '0')
if n >= tonumber(ARGV[1]) then return {err = 'full at ' .. n} end
return redis.call('INCR', KEYS[1])
`;

run(async () => {
  const redis = new Redis({ port, host: '127.0.0.1', keyPrefix: 'app:' });
  redis.defineCommand('bounded', { numberOfKeys: 1, lua: BOUNDED });
  assert.deepStrictEqual([await redis.bounded('n', 3), await redis.bounded('n', 3)], [1, 2]);
  await killLeader();
  assert.strictEqual(await redis.bounded('n', 3), 3);
  await assert.rejects(redis.bounded('n', 3), /full at 3/);
  const replies = await redis.pipeline().set('a', '1').bounded('m', 5).bounded('m', 5).get('a').exec();
  assert.deepStrictEqual(replies, [[null, 'OK'], [null, 1], [null, 2], [null, '1']]);
  const executed = await redis.multi().incr('a').expire('a', 600).get('a').exec();
  assert.deepStrictEqual(executed, [[null, 2], [null, 1], [null, '2']]);
  for (let i = 0; i < 50; i += 1) await redis.set(`scan:${i}`, String(i));
  const seen = [];
  for await (const keys of redis.scanStream({ match: 'app:scan:*', count: 10 })) seen.push(...keys);
  assert.strictEqual(new Set(seen).size, 50);
  assert.strictEqual(seen.length, 50);
});
