// What the programs share: the port, the death of the leader, and the end. See Site.run_node in ../conftest.py.
const readline = require('node:readline');

const port = Number(process.argv[2]);

async function killLeader() {
  console.log('kill the leader');
  const lines = readline.createInterface({ input: process.stdin });
  await new Promise((resolve) => lines.once('line', resolve));
  lines.close();
}

function run(story) {
  story().then(() => { console.log('ok'); process.exit(0); })
    .catch((error) => { console.error(error); process.exit(1); });
}

module.exports = { port, url: `redis://127.0.0.1:${port}`, killLeader, run };
