// How buckets and users are managed with the SDK.
import assert from 'node:assert/strict'
import couchbase from 'couchbase'
import { fails } from './check.js'

// buckets makes, changes, flushes and drops a bucket.
export async function buckets(cluster, ephemeral) {
  const manager = cluster.buckets()
  const name = `example-node-${Date.now()}`
  const wanted = {
    name,
    ramQuotaMB: 100,
    numReplicas: 0,
    flushEnabled: false,
    maxExpiry: 3600,
    bucketType: ephemeral ? couchbase.BucketType.Ephemeral : couchbase.BucketType.Couchbase,
    evictionPolicy: ephemeral ? couchbase.EvictionPolicy.NoEviction : couchbase.EvictionPolicy.ValueOnly,
    compressionMode: couchbase.CompressionMode.Passive,
  }
  await manager.createBucket(wanted)
  let dropped = false
  try {
    await fails(couchbase.BucketExistsError, manager.createBucket(wanted))
    await fails(couchbase.InvalidArgumentError, manager.createBucket({ name: 'a name with blanks', ramQuotaMB: 100 }))
    await settingsAre(manager, wanted)
    const bucket = cluster.bucket(name)
    await bucket.waitUntilReady(20000)
    const docs = bucket.defaultCollection()
    await docs.upsert('a', {})
    await fails(couchbase.BucketNotFlushableError, manager.flushBucket(name))
    const changed = { ...wanted, ramQuotaMB: 128, flushEnabled: true, maxExpiry: 7200 }
    await manager.updateBucket(changed)
    await settingsAre(manager, changed)
    await manager.flushBucket(name)
    await fails(couchbase.DocumentNotFoundError, docs.get('a'))
    await manager.dropBucket(name)
    dropped = true
    await fails(couchbase.BucketNotFoundError, manager.getBucket(name))
    await fails(couchbase.BucketNotFoundError, manager.dropBucket(name))
    await fails(couchbase.BucketNotFoundError, manager.flushBucket(name))
  } finally {
    if (!dropped) {
      await manager.dropBucket(name)
    }
  }
}

// settingsAre compares a bucket's settings, read alone and in the list of all.
async function settingsAre(manager, wanted) {
  const all = await manager.getAllBuckets()
  for (const got of [await manager.getBucket(wanted.name), all.find((b) => b.name === wanted.name)]) {
    for (const [member, value] of Object.entries(wanted)) {
      assert.equal(got[member], value, `${member} of the bucket`)
    }
  }
}

// users makes a user who may only read, tries what it may and may not, and deletes it.
export async function users(cluster, bucket, docs, key, connect) {
  const manager = cluster.users()
  const username = `example-node-${Date.now()}`
  const password = 'may only read'
  const reader = { username, displayName: 'A reader', password, roles: [new couchbase.Role({ name: 'data_reader', bucket })] }
  await manager.upsertUser(reader)
  let dropped = false
  try {
    const got = await manager.getUser(username)
    assert.equal(got.displayName, reader.displayName)
    assert.deepEqual(got.roles.map((r) => [r.name, r.bucket]), [['data_reader', bucket]])
    await assert.rejects(manager.upsertUser({ ...reader, roles: ['no-such-role'] }))
    await docs.upsert(key, { v: 1 })
    await asReader(await connect(username, password), bucket, key)
    await docs.remove(key)
    await manager.dropUser(username)
    dropped = true
    await fails(couchbase.UserNotFoundError, manager.getUser(username))
    await fails(couchbase.UserNotFoundError, manager.dropUser(username))
  } finally {
    if (!dropped) {
      await manager.dropUser(username)
    }
  }
}

// asReader reads and tries to write.
async function asReader(cluster, bucket, key) {
  try {
    const docs = cluster.bucket(bucket).defaultCollection()
    assert.deepEqual((await docs.get(key)).content, { v: 1 })
    await fails(couchbase.AuthenticationFailureError, docs.upsert(key, {}))
    await fails(couchbase.AuthenticationFailureError, docs.remove(key))
  } finally {
    await cluster.close()
  }
}
