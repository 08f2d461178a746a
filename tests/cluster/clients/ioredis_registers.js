// ioredis Cluster, unchanged, while nodes fail: node ioredis_registers.js PORT ... Each of eight workers owns one key,
// sets it to ascending numbers, and reads it: a read must not find less than what was acknowledged, nor more than what
// was sent. It ends with its standard input, and prints {done, failures, mistakes} as JSON.
const Redis = require('ioredis');

const WORKERS = 8;
const result = { done: 0, failures: {}, mistakes: [] };
const KNOWN = /^(CLUSTERDOWN|TRYAGAIN|BUSY|UNCERTAIN|MOVED)|Connection is closed|Failed to refresh slots|Too many Cluster redirections|ECONN|None of startup nodes|Command timed out/;
let stopped = false;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function failed(error) {
  const text = String(error.message);
  const word = text.split(' ')[0];
  result.failures[word] = (result.failures[word] || 0) + 1;
  if (!KNOWN.test(text)) result.mistakes.push(text);
}

async function work(cluster, number) {
  const key = `register:${number}`;
  let sent = 0;
  let done = 0;
  while (!stopped) {
    try {
      sent += 1;
      if ((await cluster.set(key, sent)) === 'OK') done = sent;
      const found = Number(await cluster.get(key));
      if (found < done || found > sent) result.mistakes.push(`${key}: ${found}, not from ${done} to ${sent}`);
      result.done += 1;
      await pause(5);
    } catch (error) {
      failed(error);
      await pause(50);
    }
  }
}

async function main() {
  const nodes = process.argv.slice(2).map((port) => ({ host: '127.0.0.1', port: Number(port) }));
  const cluster = new Redis.Cluster(nodes, { clusterRetryStrategy: () => 100 });
  cluster.on('error', failed);
  process.stdin.resume();
  process.stdin.on('end', () => { stopped = true; });
  await Promise.all(Array.from({ length: WORKERS }, (_, number) => work(cluster, number)));
  cluster.disconnect();
  console.log(JSON.stringify(result));
}

main().catch((error) => { console.error(error); process.exit(1); });
