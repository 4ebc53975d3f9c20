// Shows that the Couchbase Node.js SDK works with Charpoy unchanged, and how each operation on documents is written: insert,
// upsert, get, replace with CAS, remove, counters, append, touch, locks, exists, bulk, expiry, durable writes, each with the
// errors that it gives. It checks every answer and ends with code 1 at the first difference.
//
// Start a server and run it from this directory:
//
//   charpoy dev &
//   npm ci && CHARPOY_PASSWORD=password node main.js --connect couchbase://127.0.0.1
//
// With TLS, give the certificate that the server made: --connect couchbases://127.0.0.1 --ca charpoy-data/tls/ca.pem.
// The documents it makes have keys that begin with "example-node::"; it removes them.
import assert from 'node:assert/strict'
import { parseArgs } from 'node:util'
import couchbase from 'couchbase'

const { values: args } = parseArgs({
  options: {
    connect: { type: 'string', default: process.env.CHARPOY_CONNECT ?? 'couchbase://127.0.0.1' },
    user: { type: 'string', default: process.env.CHARPOY_USER ?? 'Administrator' },
    bucket: { type: 'string', default: process.env.CHARPOY_BUCKET ?? 'default' },
    ca: { type: 'string', default: process.env.CHARPOY_CA ?? '' },
    ephemeral: { type: 'boolean', default: false },
  },
})
// A password in an argument would be visible to every user of the machine.
const password = process.env.CHARPOY_PASSWORD ?? 'password'

const prefix = `example-node::${Date.now()}::`
const key = (name) => prefix + name
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

// fails checks that a call gives exactly one kind of error.
async function fails(kind, call) {
  await assert.rejects(call, (err) => {
    assert.ok(err instanceof kind, `want ${kind.name}, got ${err?.name}: ${err?.message}`)
    return true
  })
}

async function holds(docs, name, value) {
  const got = await docs.get(key(name))
  assert.deepEqual(got.content, value)
  return got.cas
}

const parts = {
  async insert(docs) {
    const made = await docs.insert(key('insert'), { n: 1 })
    assert.ok(made.token, 'no mutation token')
    assert.equal(String(await holds(docs, 'insert', { n: 1 })), String(made.cas))
    await fails(couchbase.DocumentExistsError, docs.insert(key('insert'), { n: 2 }))
    await docs.remove(key('insert'))
    await docs.insert(key('insert'), { n: 3 }) // a key can be used again
    await docs.remove(key('insert'))
  },

  async upsert(docs) {
    const one = await docs.upsert(key('upsert'), { n: 1 })
    const two = await docs.upsert(key('upsert'), { n: 2 })
    assert.notEqual(String(one.cas), String(two.cas))
    await holds(docs, 'upsert', { n: 2 })
    await fails(couchbase.ValueTooLargeError, docs.upsert(key('upsert'), 'x'.repeat((20 << 20) + 1), { timeout: 20000 }))
    await holds(docs, 'upsert', { n: 2 })
    await docs.remove(key('upsert'))
  },

  async get(docs) {
    await fails(couchbase.DocumentNotFoundError, docs.get(key('never')))
    const value = { text: 'ü', list: [1, 2.5, null, true], nested: { a: {} } }
    await docs.upsert(key('get'), value)
    await holds(docs, 'get', value)
    await docs.remove(key('get'))
  },

  async 'replace with CAS'(docs) {
    await fails(couchbase.DocumentNotFoundError, docs.replace(key('replace'), {}))
    const made = await docs.insert(key('replace'), { v: 1 })
    const changed = await docs.replace(key('replace'), { v: 2 }, { cas: made.cas })
    await fails(couchbase.CasMismatchError, docs.replace(key('replace'), { v: 3 }, { cas: made.cas }))
    assert.equal(String(await holds(docs, 'replace', { v: 2 })), String(changed.cas))
    await docs.replace(key('replace'), { v: 4 })
    await docs.remove(key('replace'))
  },

  async remove(docs) {
    await fails(couchbase.DocumentNotFoundError, docs.remove(key('remove')))
    const made = await docs.insert(key('remove'), { v: 1 })
    const changed = await docs.upsert(key('remove'), { v: 2 })
    await fails(couchbase.CasMismatchError, docs.remove(key('remove'), { cas: made.cas }))
    await docs.remove(key('remove'), { cas: changed.cas })
    await fails(couchbase.DocumentNotFoundError, docs.get(key('remove')))
  },

  async counters(docs) {
    const counter = docs.binary()
    await fails(couchbase.DocumentNotFoundError, counter.increment(key('counter'), 1))
    assert.equal((await counter.increment(key('counter'), 5, { initial: 10 })).value, 10)
    assert.equal((await counter.increment(key('counter'), 5, { initial: 10 })).value, 15)
    assert.equal((await counter.decrement(key('counter'), 6)).value, 9)
    assert.equal((await counter.decrement(key('counter'), 100)).value, 0) // it stops at zero
    await docs.upsert(key('counter'), { no: 'number' })
    await fails(couchbase.DeltaInvalidError, counter.increment(key('counter'), 1))
    await docs.remove(key('counter'))
  },

  async 'append and prepend'(docs) {
    const raw = { transcoder: new RawTranscoder() }
    await assert.rejects(docs.binary().append(key('append'), 'x')) // there is nothing to append to
    await docs.upsert(key('append'), Buffer.from('middle'), raw)
    await docs.binary().append(key('append'), Buffer.from('-end'))
    await docs.binary().prepend(key('append'), Buffer.from('begin-'))
    assert.equal((await docs.get(key('append'), raw)).content.toString(), 'begin-middle-end')
    await docs.remove(key('append'))
  },

  async 'touch and expiry'(docs) {
    await fails(couchbase.DocumentNotFoundError, docs.touch(key('touch'), 10))
    await docs.upsert(key('touch'), { v: 1 }, { expiry: 100 })
    const before = await docs.get(key('touch'), { withExpiry: false })
    assert.deepEqual(before.content, { v: 1 })
    const touched = await docs.getAndTouch(key('touch'), 50)
    assert.deepEqual(touched.content, { v: 1 })
    await docs.touch(key('touch'), 1)
    const deadline = Date.now() + 5000
    while ((await docs.exists(key('touch'))).exists) {
      assert.ok(Date.now() < deadline, 'the document does not expire')
      await sleep(100)
    }
    await fails(couchbase.DocumentNotFoundError, docs.get(key('touch')))
  },

  async locks(docs) {
    await fails(couchbase.DocumentNotFoundError, docs.getAndLock(key('lock'), 5))
    await docs.upsert(key('lock'), { v: 1 })
    const locked = await docs.getAndLock(key('lock'), 15)
    assert.deepEqual(locked.content, { v: 1 })
    // A locked document is worth another try to the SDK, which gives up when its time is over.
    await fails(couchbase.TimeoutError, docs.upsert(key('lock'), { v: 2 }, { timeout: 300 }))
    await fails(couchbase.TimeoutError, docs.getAndLock(key('lock'), 5, { timeout: 300 }))
    await holds(docs, 'lock', { v: 1 })
    await docs.unlock(key('lock'), locked.cas)
    await docs.upsert(key('lock'), { v: 3 })
    const again = await docs.getAndLock(key('lock'), 15)
    await docs.replace(key('lock'), { v: 4 }, { cas: again.cas }) // a write with the lock's CAS ends the lock
    await docs.upsert(key('lock'), { v: 5 })
    await docs.remove(key('lock'))
  },

  async exists(docs) {
    assert.equal((await docs.exists(key('exists'))).exists, false)
    const made = await docs.insert(key('exists'), {})
    const there = await docs.exists(key('exists'))
    assert.equal(there.exists, true)
    assert.equal(String(there.cas), String(made.cas))
    await docs.remove(key('exists'))
    assert.equal((await docs.exists(key('exists'))).exists, false)
  },

  async bulk(docs) {
    const names = Array.from({ length: 1000 }, (_, i) => `bulk-${i}`)
    await Promise.all(names.map((name, i) => docs.upsert(key(name), { i })))
    const got = await Promise.all(names.map((name) => docs.get(key(name))))
    got.forEach((doc, i) => assert.deepEqual(doc.content, { i }))
    await Promise.all(names.map((name) => docs.remove(key(name))))
    await fails(couchbase.DocumentNotFoundError, docs.get(key(names[0])))
  },

  async 'durable writes'(docs) {
    const level = couchbase.DurabilityLevel
    await docs.upsert(key('durable'), { v: 1 }, { durabilityLevel: level.Majority })
    for (const persist of [level.MajorityAndPersistOnMaster, level.PersistToMajority]) {
      const write = docs.upsert(key('durable'), { v: persist }, { durabilityLevel: persist })
      if (args.ephemeral) {
        await fails(couchbase.DurabilityLevelNotAvailableError, write) // there is no disk
        continue
      }
      await write
      await holds(docs, 'durable', { v: persist })
    }
    await docs.remove(key('durable'), { durabilityLevel: level.Majority })
  },
}

// RawTranscoder writes bytes as they are.
class RawTranscoder {
  encode(value) {
    return [value, 0x03000000]
  }

  decode(bytes) {
    return bytes
  }
}

async function connect(user, secret) {
  return couchbase.connect(args.connect, {
    username: user,
    password: secret,
    ...(args.ca ? { security: { trustStorePath: args.ca } } : {}),
  })
}

async function management(cluster, bucket) {
  const ping = await bucket.ping({ serviceTypes: [couchbase.ServiceType.KeyValue, couchbase.ServiceType.Management] })
  const endpoints = Object.values(ping.services).flat()
  assert.ok(endpoints.length > 0, 'the ping reached nobody')
  for (const endpoint of endpoints) {
    assert.equal(endpoint.state, couchbase.PingState.Ok)
  }
  await cluster.diagnostics()
  const settings = await cluster.buckets().getBucket(args.bucket)
  assert.equal(settings.name, args.bucket)
  await fails(couchbase.BucketNotFoundError, cluster.buckets().getBucket('there-is-no-such-bucket'))
}

async function main() {
  const cluster = await connect(args.user, password)
  try {
    const bucket = cluster.bucket(args.bucket)
    await bucket.waitUntilReady(20000)
    const docs = bucket.defaultCollection()
    for (const [name, check] of Object.entries(parts)) {
      try {
        await check(docs)
      } catch (err) {
        throw new Error(`${name}: ${err.message}`, { cause: err })
      }
      console.log('ok', name)
    }
    await management(cluster, bucket)
    console.log('ok ping and diagnostics')
  } finally {
    await cluster.close()
  }
  await fails(couchbase.AuthenticationFailureError, connect(args.user, 'a wrong password'))
  console.log('ok strangers')
}

try {
  await main()
  console.log('All as expected.')
} catch (err) {
  console.error('DIFFERENCE:', err)
  process.exitCode = 1
}
