// redlock (node-redlock 4) at one node, and a rival at another: node redlock.js PORT PORT
const assert = require('node:assert');
const Redis = require('ioredis');
const Redlock = require('redlock');
const { port, killLeader, run } = require('./site');

run(async () => {
  const redlock = (at) => new Redlock([new Redis({ port: Number(at), host: '127.0.0.1' })], { retryCount: 0 });
  const mine = redlock(port);
  const rival = redlock(process.argv[3]);
  const lock = await mine.lock(['a', 'b'], 300000);
  await assert.rejects(rival.lock('a', 1000), /Exceeded 0 attempts/);
  await killLeader();
  const again = redlock(port);
  await assert.rejects(again.lock('b', 1000), /Exceeded 0 attempts/);
  const extended = await lock.extend(600000);
  await extended.unlock();
  const next = await again.lock('b', 60000);
  await next.unlock();
  await assert.rejects(next.unlock());
});
