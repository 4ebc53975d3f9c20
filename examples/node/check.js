import assert from 'node:assert/strict'

// fails checks that a call gives exactly one kind of error.
export async function fails(kind, call) {
  await assert.rejects(call, (err) => {
    assert.ok(err instanceof kind, `want ${kind.name}, got ${err?.name}: ${err?.message}`)
    return true
  })
}
