// Shows that the Couchbase Node.js SDK works with Charpoy unchanged, and how each operation is written: insert, upsert, get,
// replace with CAS, remove, counters, append, touch, locks, exists, bulk, expiry, durable writes, then buckets and users
// (manage.js), each with the errors that it gives. It checks every answer and ends with code 1 at the first difference.
//
// Start a server and run it from this directory:
//
//   charpoy dev &
//   npm install --no-save && CHARPOY_PASSWORD=password node main.js --connect couchbase://127.0.0.1
//
// With TLS, give the certificate that the server made: --connect couchbases://127.0.0.1 --ca charpoy-data/tls/ca.pem.
// The documents it makes have keys that begin with "example-node::"; it removes them, and the bucket and the user that it makes.
import assert from 'node:assert/strict'
import { parseArgs } from 'node:util'
import couchbase from 'couchbase'
import { fails } from './check.js'
import { buckets, users } from './manage.js'

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

async function holds(docs, name, value) {
  const got = await docs.get(key(name))
  assert.deepEqual(got.content, value)
  return got.cas
}

// vanishes waits until a document has expired.
async function vanishes(docs, name) {
  const deadline = Date.now() + 10000
  while ((await docs.exists(key(name))).exists) {
    assert.ok(Date.now() < deadline, `${name} does not expire`)
    await sleep(50)
  }
}

const parts = {
  async insert(docs) {
    const made = await docs.insert(key('insert'), { n: 1 })
    assert.ok(made.token, 'no mutation token')
    assert.equal(String(await holds(docs, 'insert', { n: 1 })), String(made.cas))
    await fails(couchbase.DocumentExistsError, docs.insert(key('insert'), { n: 2 }))
    await fails(couchbase.ValueTooLargeError, docs.insert(key('large'), 'x'.repeat((20 << 20) + 1), { timeout: 20000 }))
    await fails(couchbase.InvalidArgumentError, docs.insert('k'.repeat(251), {}))
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
    await fails(couchbase.DocumentNotFoundError, docs.replace(key('replace'), { v: 5 }, { cas: changed.cas }))
  },

  async remove(docs) {
    await fails(couchbase.DocumentNotFoundError, docs.remove(key('remove')))
    const made = await docs.insert(key('remove'), { v: 1 })
    const changed = await docs.upsert(key('remove'), { v: 2 })
    await fails(couchbase.CasMismatchError, docs.remove(key('remove'), { cas: made.cas }))
    await docs.remove(key('remove'), { cas: changed.cas })
    await fails(couchbase.DocumentNotFoundError, docs.get(key('remove')))
    await fails(couchbase.DocumentNotFoundError, docs.remove(key('remove')))
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
    await fails(couchbase.DeltaInvalidError, counter.decrement(key('counter'), 1))
    await docs.remove(key('counter'))
  },

  async 'append and prepend'(docs) {
    const raw = { transcoder: new RawTranscoder() }
    // There is nothing to append to; the SDK has no kind of its own for that.
    await fails(couchbase.CouchbaseError, docs.binary().append(key('append'), 'x'))
    await fails(couchbase.CouchbaseError, docs.binary().prepend(key('append'), 'x'))
    await fails(couchbase.DocumentNotFoundError, docs.get(key('append')))
    const made = await docs.upsert(key('append'), Buffer.from('middle'), raw)
    const longer = await docs.binary().append(key('append'), Buffer.from('-end'), { cas: made.cas })
    await fails(couchbase.CasMismatchError, docs.binary().append(key('append'), 'x', { cas: made.cas }))
    await fails(couchbase.CasMismatchError, docs.binary().prepend(key('append'), 'x', { cas: made.cas }))
    await docs.binary().prepend(key('append'), Buffer.from('begin-'), { cas: longer.cas })
    assert.equal((await docs.get(key('append'), raw)).content.toString(), 'begin-middle-end')
    await fails(couchbase.ValueTooLargeError, docs.binary().append(key('append'), Buffer.alloc(20 << 20), { timeout: 20000 }))
    await docs.remove(key('append'))
  },

  async 'touch and expiry'(docs) {
    await fails(couchbase.DocumentNotFoundError, docs.touch(key('touch'), 10))
    await fails(couchbase.DocumentNotFoundError, docs.getAndTouch(key('touch'), 10))
    const lasting = ['touched', 'got', 'replaced']
    const short = ['short', 'preserved']
    await Promise.all([...lasting, ...short].map((name) => docs.insert(key(name), { v: 1 }, { expiry: 3 })))
    await docs.insert(key('late'), { v: 1 })
    // These outlive the three seconds …
    await docs.touch(key('touched'), 3600)
    assert.deepEqual((await docs.getAndTouch(key('got'), 0)).content, { v: 1 })
    await docs.upsert(key('replaced'), { v: 1 })
    // … and these do not.
    await docs.upsert(key('preserved'), { v: 1 }, { preserveExpiry: true })
    await docs.touch(key('late'), 3)
    for (const name of [...short, 'late']) {
      await vanishes(docs, name)
      await fails(couchbase.DocumentNotFoundError, docs.get(key(name)))
    }
    await docs.insert(key('short'), {}) // a key can be used again
    for (const name of lasting) {
      await holds(docs, name, { v: 1 })
    }
    await Promise.all([...lasting, 'short'].map((name) => docs.remove(key(name))))
  },

  async locks(docs) {
    await fails(couchbase.DocumentNotFoundError, docs.getAndLock(key('lock'), 5))
    const made = await docs.upsert(key('lock'), { v: 1 })
    await fails(couchbase.DocumentNotLockedError, docs.unlock(key('lock'), made.cas))
    const locked = await docs.getAndLock(key('lock'), 15)
    assert.deepEqual(locked.content, { v: 1 })
    // A locked document is worth another try to the SDK, which gives up when its time is over.
    await fails(couchbase.TimeoutError, docs.upsert(key('lock'), { v: 2 }, { timeout: 300 }))
    await fails(couchbase.TimeoutError, docs.getAndLock(key('lock'), 5, { timeout: 300 }))
    await fails(couchbase.TimeoutError, docs.remove(key('lock'), { timeout: 300 }))
    await fails(couchbase.TimeoutError, docs.touch(key('lock'), 100, { timeout: 300 }))
    await fails(couchbase.DocumentExistsError, docs.insert(key('lock'), {}))
    await fails(couchbase.CasMismatchError, docs.unlock(key('lock'), made.cas))
    await holds(docs, 'lock', { v: 1 })
    await docs.unlock(key('lock'), locked.cas)
    await docs.upsert(key('lock'), { v: 3 })
    const again = await docs.getAndLock(key('lock'), 15)
    await docs.replace(key('lock'), { v: 4 }, { cas: again.cas }) // a write with the lock's CAS ends the lock
    await docs.upsert(key('lock'), { v: 5 })
    await docs.getAndLock(key('lock'), 1)
    await docs.upsert(key('lock'), { v: 6 }, { timeout: 10000 }) // tried again until the lock has ended by itself
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
    const mixed = await Promise.allSettled([docs.get(key('bulk-0')), docs.get(key('no-such')), docs.insert(key('bulk-1'), {})])
    assert.equal(mixed[0].status, 'fulfilled') // each has its own result
    assert.ok(mixed[1].reason instanceof couchbase.DocumentNotFoundError, `got ${mixed[1].reason}`)
    assert.ok(mixed[2].reason instanceof couchbase.DocumentExistsError, `got ${mixed[2].reason}`)
    await Promise.all(names.map((name) => docs.remove(key(name))))
    await fails(couchbase.DocumentNotFoundError, docs.get(key(names[0])))
  },

  async 'durable writes'(docs) {
    const level = couchbase.DurabilityLevel
    for (const durabilityLevel of [level.Majority, level.MajorityAndPersistOnMaster, level.PersistToMajority]) {
      const how = { durabilityLevel }
      const name = key('durable')
      if (args.ephemeral && durabilityLevel !== level.Majority) { // there is no disk to promise
        await docs.insert(name, 1)
        await fails(couchbase.DurabilityLevelNotAvailableError, docs.insert(key('other'), 1, how))
        await fails(couchbase.DurabilityLevelNotAvailableError, docs.upsert(name, 2, how))
        await fails(couchbase.DurabilityLevelNotAvailableError, docs.replace(name, 2, how))
        await fails(couchbase.DurabilityLevelNotAvailableError, docs.binary().increment(name, 1, how))
        await fails(couchbase.DurabilityLevelNotAvailableError, docs.binary().append(name, '0', how))
        await fails(couchbase.DurabilityLevelNotAvailableError, docs.remove(name, how))
        await holds(docs, 'durable', 1)
        await docs.remove(name)
        continue
      }
      await fails(couchbase.DocumentNotFoundError, docs.replace(name, 1, how))
      const made = await docs.insert(name, 1, how)
      await fails(couchbase.DocumentExistsError, docs.insert(name, 1, how))
      await docs.upsert(name, 2, how)
      await fails(couchbase.CasMismatchError, docs.replace(name, 3, { ...how, cas: made.cas }))
      await docs.replace(name, 3, how)
      assert.equal((await docs.binary().increment(name, 1, how)).value, 4)
      await docs.binary().append(name, '0', how)
      await docs.binary().prepend(name, '1', how)
      await holds(docs, 'durable', 140)
      await docs.remove(name, how)
      await fails(couchbase.DocumentNotFoundError, docs.remove(name, how))
    }
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

// health asks the cluster what the SDK asks it about itself. The ping of a bucket reaches its key-value ports only.
async function health(cluster, bucket) {
  const { KeyValue, Management } = couchbase.ServiceType
  const answers = [await bucket.ping(), await cluster.ping({ serviceTypes: [KeyValue, Management] })]
  for (const [i, services] of [[KeyValue], [KeyValue, Management]].entries()) {
    for (const service of services) {
      const endpoints = answers[i].services[service] ?? []
      assert.ok(endpoints.length > 0, `ping ${i + 1} reached no ${service}`)
      for (const endpoint of endpoints) {
        assert.equal(endpoint.state, couchbase.PingState.Ok)
      }
    }
  }
  const report = await cluster.diagnostics()
  assert.ok(report.services[KeyValue]?.length > 0, 'diagnostics know no connection')
}

// strangers tries a wrong password and a bucket that does not exist.
async function strangers() {
  await fails(couchbase.AuthenticationFailureError, connect(args.user, `${password}-wrong`))
  const cluster = await connect(args.user, password)
  try {
    // The SDK is told at once, and says so on the standard error; what was asked of the bucket ends with its time.
    const docs = cluster.bucket('no-such-bucket').defaultCollection()
    await fails(couchbase.TimeoutError, docs.get('any', { timeout: 1000 }))
  } finally {
    await cluster.close()
  }
}

async function main() {
  const cluster = await connect(args.user, password)
  try {
    const bucket = cluster.bucket(args.bucket)
    await bucket.waitUntilReady(20000)
    const docs = bucket.defaultCollection()
    const rest = {
      'ping and diagnostics': () => health(cluster, bucket),
      buckets: () => buckets(cluster, args.ephemeral),
      users: () => users(cluster, args.bucket, docs, key('read'), connect),
      strangers,
    }
    for (const [name, check] of Object.entries({ ...parts, ...rest })) {
      try {
        await check(docs)
      } catch (err) {
        throw new Error(`${name}: ${err.message}`, { cause: err })
      }
      console.log('ok', name)
    }
  } finally {
    await cluster.close()
  }
}

try {
  await main()
  console.log('All as expected.')
} catch (err) {
  console.error('DIFFERENCE:', err)
  process.exitCode = 1
}
