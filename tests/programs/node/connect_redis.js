// connect-redis: sessions of an Express application. node connect_redis.js PORT
const assert = require('node:assert');
const express = require('express');
const session = require('express-session');
const { RedisStore } = require('connect-redis');
const { createClient } = require('redis');
const { url, killLeader, run } = require('./site');

run(async () => {
  const client = createClient({ url });
  await client.connect();
  const store = new RedisStore({ client, prefix: 'shop:', ttl: 600 });
  const app = express();
  app.use(session({ store, secret: 'for tests', resave: false, saveUninitialized: false }));
  app.get('/', (request, response) => {
    request.session.visits = (request.session.visits ?? 0) + 1;
    response.send(String(request.session.visits));
  });
  app.get('/leave', (request, response) => request.session.destroy(() => response.send('bye')));
  const server = await new Promise((resolve) => { const s = app.listen(0, '127.0.0.1', () => resolve(s)); });
  let cookie;
  const get = async (path) => {
    const response = await fetch(`http://127.0.0.1:${server.address().port}${path}`, { headers: cookie ? { cookie } : {} });
    cookie = response.headers.get('set-cookie')?.split(';')[0] ?? cookie;
    return response.text();
  };
  assert.deepStrictEqual([await get('/'), await get('/')], ['1', '2']);
  await killLeader();
  assert.strictEqual(await get('/'), '3');
  const call = (method, ...args) => new Promise((resolve, reject) => {
    store[method](...args, (error, result) => (error ? reject(error) : resolve(result)));
  });
  assert.strictEqual(await call('length'), 1);
  assert.strictEqual((await call('all'))[0].visits, 3);
  const [id] = await call('ids');
  await call('touch', id, { cookie: { expires: new Date(Date.now() + 60000) } });
  const left = await client.ttl(`shop:${id}`);
  assert.ok(left > 50 && left <= 60, String(left));
  assert.strictEqual(await get('/leave'), 'bye');
  assert.strictEqual(await call('length'), 0);
  await call('clear');
});
