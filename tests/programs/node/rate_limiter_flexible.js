// rate-limiter-flexible: node rate_limiter_flexible.js PORT ioredis|redis
const assert = require('node:assert');
const { RateLimiterRedis, BurstyRateLimiter } = require('rate-limiter-flexible');
const { port, url, killLeader, run } = require('./site');

async function client(name) {
  if (name === 'ioredis') return [new (require('ioredis'))({ port, host: '127.0.0.1' }), {}];
  const redis = require('redis').createClient({ url });
  await redis.connect();
  return [redis, { useRedisPackage: true }];
}

run(async () => {
  const [storeClient, options] = await client(process.argv[3]);
  const limiter = new RateLimiterRedis({ storeClient, points: 5, duration: 600, keyPrefix: 'login', ...options });
  const first = await limiter.consume('user', 2);
  assert.strictEqual(first.remainingPoints, 3);
  assert.ok(first.isFirstInDuration && first.msBeforeNext > 590000, String(first.msBeforeNext));
  await killLeader();
  assert.strictEqual((await limiter.consume('user', 3)).remainingPoints, 0);
  await assert.rejects(limiter.consume('user'), (refused) => refused.consumedPoints === 6);
  assert.strictEqual((await limiter.get('user')).consumedPoints, 6);
  assert.strictEqual((await limiter.penalty('user', 2)).consumedPoints, 8);
  assert.strictEqual((await limiter.reward('user', 4)).consumedPoints, 4);
  await limiter.block('user', 60);
  await assert.rejects(limiter.consume('user'), (refused) => refused.msBeforeNext > 50000);
  assert.strictEqual(await limiter.delete('user'), true);
  assert.strictEqual(await limiter.get('user'), null);

  const forEver = new RateLimiterRedis({ storeClient, points: 2, duration: 0, keyPrefix: 'once', ...options });
  assert.strictEqual((await forEver.consume('user')).msBeforeNext, -1);

  const burst = new RateLimiterRedis({ storeClient, points: 2, duration: 600, keyPrefix: 'burst', ...options });
  const bursty = new BurstyRateLimiter(forEver, burst);
  for (let i = 0; i < 3; i += 1) await bursty.consume('user');
  await assert.rejects(bursty.consume('user'));
});
