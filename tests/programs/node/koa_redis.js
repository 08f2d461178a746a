// Sessions of a Koa application with koa-redis and koa-generic-session: node koa_redis.js PORT
const assert = require('node:assert');
const Koa = require('koa');
const session = require('koa-generic-session');
const { port, killLeader, run } = require('./site');
const store = require('koa-redis');

run(async () => {
  const app = new Koa();
  app.keys = ['secret'];
  app.use(session({ store: store({ port, host: '127.0.0.1' }), ttl: 600000 }));
  app.use(async (context) => {
    if (context.path === '/leave') context.session = null;
    else context.session.visits = (context.session.visits || 0) + 1;
    context.body = String(context.session ? context.session.visits : 'bye');
  });
  const server = app.listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  let cookie = '';
  const visit = async (path = '/') => {
    const page = await fetch(`http://127.0.0.1:${server.address().port}${path}`, { headers: { cookie } });
    const set = page.headers.getSetCookie().map((each) => each.split(';')[0]);
    if (set.length) cookie = set.join('; ');
    return page.text();
  };
  assert.deepStrictEqual([await visit(), await visit()], ['1', '2']);
  await killLeader();
  assert.strictEqual(await visit(), '3');
  assert.strictEqual(await visit('/leave'), 'bye');
  assert.strictEqual(await visit(), '1');
});
