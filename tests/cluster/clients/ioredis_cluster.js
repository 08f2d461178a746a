// ioredis Cluster, unchanged, against nodes in redirect mode: node ioredis_cluster.js PORT PREFIX. Exit status 0 and
// the last line `ok` are success.
const assert = require('node:assert');
const Redis = require('ioredis');

async function total(nodes) {
  const sizes = await Promise.all(nodes.map((node) => node.dbsize()));
  return sizes.reduce((sum, size) => sum + size, 0);
}

async function scanned(nodes, pattern) {
  const found = [];
  for (const node of nodes) {
    let cursor = '0';
    do {
      const [next, keys] = await node.scan(cursor, 'MATCH', pattern, 'COUNT', 50);
      found.push(...keys);
      cursor = next;
    } while (cursor !== '0');
  }
  return found;
}

async function story(cluster, prefix) {
  const keys = Array.from({ length: 200 }, (_, n) => `${prefix}:${n}`);
  const masters = cluster.nodes('master');
  assert.strictEqual(masters.length, 3, `${masters.length} masters`);
  assert.strictEqual(cluster.nodes('slave').length, 0);
  const before = await total(masters);
  for (const key of keys) assert.strictEqual(await cluster.set(key, `of ${key}`), 'OK');
  for (const key of keys) assert.strictEqual(await cluster.get(key), `of ${key}`);
  assert.strictEqual((await total(masters)) - before, keys.length);
  assert.deepStrictEqual((await scanned(masters, `${prefix}:*`)).sort(), [...keys].sort());
  const tagged = [1, 2, 3].map((n) => `{${prefix}}${n}`);
  assert.strictEqual(await cluster.mset(tagged[0], '1', tagged[1], '2'), 'OK');
  assert.deepStrictEqual(await cluster.mget(...tagged), ['1', '2', null]);
  const transaction = cluster.multi().incr(tagged[0]).get(tagged[0]);
  assert.deepStrictEqual(await transaction.exec(), [[null, 2], [null, '2']]);
  assert.deepStrictEqual(await cluster.pipeline().incr(tagged[1]).get(tagged[1]).exec(), [[null, 3], [null, '3']]);
  assert.strictEqual(await cluster.eval('return redis.call("INCR", KEYS[1])', 1, tagged[2]), 1);
  assert.strictEqual((await cluster.mget(keys[0], keys[1], keys[2], keys[3])).length, 4);
  for (const key of [...keys, ...tagged]) assert.strictEqual(await cluster.del(key), 1);
  assert.strictEqual(await total(masters), before);
}

async function main() {
  const [port, prefix] = process.argv.slice(2);
  const cluster = new Redis.Cluster([{ host: '127.0.0.1', port: Number(port) }]);
  await new Promise((resolve) => cluster.once('ready', resolve));
  await story(cluster, prefix);
  await cluster.quit();
  console.log('ok');
}

main().catch((error) => { console.error(error); process.exit(1); });
