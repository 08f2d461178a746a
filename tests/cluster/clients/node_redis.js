// node-redis, unchanged, against one node: node node_redis.js PORT PREFIX RESP. Exit status 0 and the last line `ok`
// are success.
const assert = require('node:assert');
const { createClient } = require('redis');

async function story(client, prefix) {
  const key = (name) => `${prefix}:${name}`;
  assert.strictEqual(await client.set(key('a'), 'hello'), 'OK');
  assert.strictEqual(await client.get(key('a')), 'hello');
  assert.strictEqual(await client.get(key('missing')), null);
  assert.strictEqual(await client.incr(key('n')), 1);
  assert.strictEqual(await client.incrBy(key('n'), 41), 42);
  assert.strictEqual(await client.mSet([[key('b'), '1'], [key('c'), '2']]), 'OK');
  assert.deepStrictEqual(await client.mGet([key('b'), key('c'), key('missing')]), ['1', '2', null]);
  assert.strictEqual(await client.set(key('t'), 'x', { EX: 100 }), 'OK');
  const left = await client.ttl(key('t'));
  assert.ok(left > 90 && left <= 100, String(left));
  assert.deepStrictEqual(await Promise.all([client.incr(key('n')), client.get(key('a'))]), [43, 'hello']);
  const transaction = client.multi().set(key('multi'), '1').incr(key('multi')).get(key('multi'));
  assert.deepStrictEqual(await transaction.exec(), ['OK', 2, '2']);
  assert.strictEqual(await client.del(key('multi')), 1);
  await assert.rejects(client.multi().lPush(key('l'), 'x').exec());
  assert.strictEqual(await client.exists(key('multi')), 0);
  await assert.rejects(client.sendCommand(['LPUSH', key('l'), 'x']), /unknown command/);
  assert.strictEqual(await client.del([key('a'), key('b'), key('c'), key('n'), key('t')]), 5);
}

async function main() {
  const [port, prefix, resp] = process.argv.slice(2);
  const client = createClient({ RESP: Number(resp), socket: { host: '127.0.0.1', port: Number(port), reconnectStrategy: false } });
  client.on('error', (error) => { throw error; });
  await client.connect();
  await story(client, prefix);
  await client.close();
  console.log('ok');
}

main().catch((error) => { console.error(error); process.exit(1); });
