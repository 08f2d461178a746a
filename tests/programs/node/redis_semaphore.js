// Mutex of redis-semaphore through ioredis, and a rival at another node: node redis_semaphore.js PORT PORT
const assert = require('node:assert');
const Redis = require('ioredis');
const { Mutex, TimeoutError } = require('redis-semaphore');
const { port, killLeader, run } = require('./site');

run(async () => {
  const options = { lockTimeout: 300000, acquireTimeout: 500, retryInterval: 100 };
  const mutex = (at) => new Mutex(new Redis({ port: Number(at), host: '127.0.0.1' }), 'report', options);
  const mine = mutex(port);
  await mine.acquire();
  await assert.rejects(mutex(process.argv[3]).acquire(), TimeoutError);
  await killLeader();
  const rival = mutex(port);
  assert.strictEqual(await rival.tryAcquire(), false);
  assert.strictEqual(mine.isAcquired, true);
  await mine.release();
  assert.strictEqual(await rival.tryAcquire(), true);
  await rival.release();
});
