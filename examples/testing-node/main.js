// What a test in Node.js can do with a Charpoy test server: make operations fail, let time pass, go back to a snapshot, stall and
// restart the node, and look at what the SDK really sent. Each step checks what comes of it; the program ends with code 1 at the
// first surprise.
//
//   npm install --no-save && node main.js --binary ../../bin/charpoy [--data DIR]

import assert from 'node:assert/strict'
import { parseArgs } from 'node:util'
import couchbase from 'couchbase'
import { TestServer } from './server.js'

const { values: flags } = parseArgs({
  options: { binary: { type: 'string', default: 'charpoy' }, data: { type: 'string' } },
})

async function main() {
  const server = await TestServer.start(flags.binary, ...(flags.data ? ['--data', flags.data] : []))
  const { connection_string, user, password } = server.line
  const cluster = await couchbase.connect(connection_string, { username: user, password })
  try {
    const docs = cluster.bucket('default').defaultCollection()
    await retries(server, docs)
    await ambiguity(server, docs)
    await expiry(server, docs)
    await snapshots(server, docs)
    await stalls(server, docs)
    await restarts(server, docs)
  } finally {
    await cluster.close()
    await server.stop()
  }
  console.log('all steps went as expected')
}

// The SDK tries a write again by itself when the server is busy for a moment, and the application never hears of it.
async function retries(server, docs) {
  await server.clearOps()
  await server.inject({ op: 'upsert', key: 'cart::*', status: 'ETMPFAIL', times: 2 })
  await docs.upsert('cart::1', { lamps: 2 })
  const sent = (await server.ops()).filter((o) => o.key === 'cart::1').map((o) => `${o.op} ${o.status_name}`)
  assert.deepEqual(sent, ['set ETMPFAIL', 'set ETMPFAIL', 'set SUCCESS'])
  assert.equal((await server.rules())[0].acted, 2)
  await server.clearRules()
  console.log('retries: the SDK wrote three times, the application once')
}

// The answer to a write gets lost. The application must not take that for "not written".
async function ambiguity(server, docs) {
  await server.inject({ op: 'increment', key: 'visits', drop: true, times: 1 })
  await assert.rejects(docs.binary().increment('visits', 1, { initial: 1, timeout: 300 }), couchbase.TimeoutError)
  assert.equal((await server.doc('default', 'visits')).value, 1)
  await server.clearRules()
  console.log('ambiguity: the increment timed out, and it has happened')
}

// A session of an hour is over at once.
async function expiry(server, docs) {
  await docs.upsert('session', { who: 'anna' }, { expiry: 3600 })
  assert.ok((await docs.exists('session')).exists)
  assert.equal(await server.advance(3601), 1)
  await assert.rejects(docs.get('session'), couchbase.DocumentNotFoundError)
  console.log('expiry: an hour has passed in no time')
}

// Each part of a test begins with the same documents.
async function snapshots(server, docs) {
  const { cas } = await docs.upsert('stock', { lamps: 10 })
  const clean = await server.snapshot()
  for (const left of [4, 0]) {
    await docs.upsert('stock', { lamps: left })
    await docs.upsert(`order::${left}`, {})
    await server.restore(clean)
    const stock = await docs.get('stock')
    assert.deepEqual(stock.content, { lamps: 10 })
    assert.equal(stock.cas.toString(), cas.toString())
    assert.ok(!(await docs.exists(`order::${left}`)).exists)
  }
  console.log('snapshots: twice back to where it began, CAS and all')
}

// The node hangs. Requests wait, and are answered when it goes on.
async function stalls(server, docs) {
  await server.pause()
  await assert.rejects(docs.get('stock', { timeout: 200 }), couchbase.TimeoutError)
  const late = docs.get('stock', { timeout: 20000 })
  await server.resume()
  assert.deepEqual((await late).content, { lamps: 10 })
  console.log('stalls: one read timed out, the next one waited and got its answer')
}

// The node dies and comes back on the same ports; the SDK finds it again by itself.
async function restarts(server, docs) {
  await server.kill()
  await server.restart()
  for (let tries = 1; ; tries++) {
    try {
      await docs.upsert('after', { restart: true }, { timeout: 2000 })
      break
    } catch (error) {
      if (tries === 10) throw error
    }
  }
  if (flags.data) assert.deepEqual((await docs.get('stock')).content, { lamps: 10 })
  console.log('restarts: the SDK has found the node again')
}

await main()
