// Goes through the operations of memjs, a client of memcached's binary protocol, and checks every answer. It ends with a code
// other than 0 at the first difference.
//
//   node client.js HOST:PORT [--user NAME]      the password comes from CHARPOY_PASSWORD

import assert from 'node:assert/strict';
import memjs from 'memjs';

const args = process.argv.slice(2);
const user = args[args.indexOf('--user') + 1];
const options = { timeout: 5, conntimeout: 5, retries: 1 };
if (args.includes('--user')) {
  options.username = user;
  options.password = process.env.CHARPOY_PASSWORD;
}
const client = memjs.Client.create(args[0], options);

const text = async (key) => {
  const { value } = await client.get(key);
  return value === null ? null : value.toString();
};

assert.equal(await text('js-none'), null);
assert.equal(await client.set('js-a', 'abc', { expires: 600 }), true);
assert.equal(await text('js-a'), 'abc');
assert.equal(await client.add('js-a', 'x', {}), false);
assert.equal(await client.add('js-b', 'x', {}), true);
assert.equal(await client.replace('js-b', 'y', {}), true);
assert.equal(await client.replace('js-none', 'y', {}), false);
assert.equal(await client.append('js-a', 'def'), true);
assert.equal(await text('js-a'), 'abcdef'); // prepend is left out: memjs 1.3.2 sends an append for it
await assert.rejects(client.append('js-none', 'def'), /not stored/i);

assert.deepEqual(await client.increment('js-n', 5, { initial: 7 }), { success: true, value: 7 });
assert.deepEqual(await client.increment('js-n', 5, {}), { success: true, value: 12 });
assert.deepEqual(await client.decrement('js-n', 20, {}), { success: true, value: 0 });
await assert.rejects(client.increment('js-a', 1, {}), /non-numeric/i);

assert.equal(await client.touch('js-a', 300), true);
assert.equal(await client.touch('js-none', 300), false);
assert.equal(await client.delete('js-b'), true);
assert.equal(await client.delete('js-b'), false);

const big = Buffer.alloc(900 * 1024, 'z');
assert.equal(await client.set('js-big', big, {}), true);
assert.ok((await client.get('js-big')).value.equals(big));
await assert.rejects(client.set('js-big', Buffer.alloc(2 << 20, 'z'), {}), /large/i);
assert.equal(await text('js-big'), null);

// Many at once over one connection.
const keys = Array.from({ length: 500 }, (_, i) => `js-many-${i}`);
await Promise.all(keys.map((key) => client.set(key, `value of ${key}`, {})));
assert.deepEqual(await Promise.all(keys.map(text)), keys.map((key) => `value of ${key}`));

const stats = await new Promise((resolve, reject) => {
  client.stats((err, server, values) => (err ? reject(err) : resolve(values)));
});
assert.ok(Number(stats.curr_items) >= keys.length, `curr_items is ${stats.curr_items}`);
assert.ok(Number(stats.get_hits) > 0);
assert.match(stats.version, /^1\.6\.\d+/);

// Documents of other clients, if there are any.
const theirs = await text('from-go');
if (theirs !== null) assert.equal(theirs, '{"from":"go"}');
await client.set('from-js', '{"from":"js"}', {});
client.close();
console.log('memjs: all as it should be');
