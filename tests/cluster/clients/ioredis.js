// ioredis, unchanged, against one node: node ioredis.js PORT PREFIX. Exit status 0 and the last line `ok` are success.
const assert = require('node:assert');
const Redis = require('ioredis');

async function story(redis, prefix) {
  const key = (name) => `${prefix}:${name}`;
  assert.strictEqual(await redis.set(key('a'), 'hello'), 'OK');
  assert.strictEqual(await redis.get(key('a')), 'hello');
  assert.strictEqual(await redis.get(key('missing')), null);
  assert.strictEqual(await redis.set(key('a'), 'x', 'NX'), null);
  assert.strictEqual(await redis.incr(key('n')), 1);
  assert.strictEqual(await redis.incrby(key('n'), 41), 42);
  assert.strictEqual(await redis.mset(key('b'), '1', key('c'), '2'), 'OK');
  assert.deepStrictEqual(await redis.mget(key('b'), key('c'), key('missing')), ['1', '2', null]);
  assert.strictEqual(await redis.set(key('t'), 'x', 'EX', 100), 'OK');
  const left = await redis.ttl(key('t'));
  assert.ok(left > 90 && left <= 100, String(left));
  const binary = Buffer.from([0, 13, 10, 255, 128]);
  await redis.set(key('binary'), binary);
  assert.deepStrictEqual(await redis.getBuffer(key('binary')), binary);
  const replies = await redis.pipeline().incr(key('n')).get(key('a')).incr(key('a')).exec();
  assert.deepStrictEqual(replies.slice(0, 2), [[null, 43], [null, 'hello']]);
  assert.match(replies[2][0].message, /not an integer/);
  const transaction = redis.multi().set(key('multi'), '1').incr(key('multi')).get(key('multi'));
  assert.deepStrictEqual(await transaction.exec(), [[null, 'OK'], [null, 2], [null, '2']]);
  await redis.watch(key('multi'));
  await redis.del(key('multi'));
  assert.strictEqual(await redis.multi().set(key('multi'), '1').exec(), null);
  await assert.rejects(redis.multi().lpush(key('l'), 'x').exec(), /Transaction discarded/);
  assert.strictEqual(await redis.exists(key('multi')), 0);
  await assert.rejects(redis.call('LPUSH', key('l'), 'x'), /unknown command/);
  assert.strictEqual(await redis.del(key('a'), key('b'), key('c'), key('n'), key('t'), key('binary')), 6);
}

async function main() {
  const [port, prefix] = process.argv.slice(2);
  const redis = new Redis({ port: Number(port), host: '127.0.0.1', maxRetriesPerRequest: 1 });
  await story(redis, prefix);
  await redis.quit();
  console.log('ok');
}

main().catch((error) => { console.error(error); process.exit(1); });
