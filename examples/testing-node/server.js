// Starts `charpoy test-server` for a test and gives what its control channel can do. Nothing here but Node.js itself is needed;
// in other languages it is the same few lines.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'

export class TestServer {
  // start runs the server and waits for its line, which it prints when an operation would succeed.
  static async start(binary, ...args) {
    const child = spawn(binary, ['test-server', '--print-json', '--vbuckets', '64', ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
    const failed = once(child, 'exit').then(([code]) => {
      throw new Error(`the server ended with ${code} before it was ready`)
    })
    failed.catch(() => {}) // it also ends at the end of the test
    const [line] = await Promise.race([once(createInterface({ input: child.stdout }), 'line'), failed])
    return new TestServer(child, JSON.parse(line))
  }

  constructor(child, line) {
    this.child = child
    this.line = line // ports, user, password, connection_string, control, …
  }

  // stop closes the server's standard input, which ends it in order.
  async stop() {
    const ended = once(this.child, 'exit')
    this.child.stdin.end()
    const [code] = await ended
    if (code !== 0) throw new Error(`the server ended with ${code}`)
  }

  async call(method, path, body) {
    const answer = await fetch(this.line.control + path, { method, body: body && JSON.stringify(body) })
    const json = await answer.json()
    if (!answer.ok) throw new Error(`${method} ${path}: ${json.error}`)
    return json
  }

  inject = async (rule) => (await this.call('POST', '/rules', rule)).id
  rules = async () => (await this.call('GET', '/rules')).rules
  clearRules = () => this.call('DELETE', '/rules')
  advance = async (seconds) => (await this.call('POST', '/advance', { seconds })).expired
  snapshot = async () => (await this.call('POST', '/snapshot')).id
  restore = (id) => this.call('POST', '/restore', { id })
  ops = async () => (await this.call('GET', '/ops')).ops
  clearOps = () => this.call('DELETE', '/ops')
  doc = (bucket, key) => this.call('GET', `/doc?bucket=${encodeURIComponent(bucket)}&key=${encodeURIComponent(key)}`)
  kill = () => this.call('POST', '/node/1/kill')
  pause = () => this.call('POST', '/node/1/pause')
  resume = () => this.call('POST', '/node/1/resume')
  restart = () => this.call('POST', '/node/1/restart')
}
