// Load on a server, over keep-alive connections, with requests in turn from a list.
// Reads what to do from stdin, as JSON: {url, method, headers, paths, bodies, connections, seconds,
// rate}; each request takes the next of paths and of bodies. Without rate: as many as the server
// takes. With it: so many a second, evenly spread, each timed from the moment when it was due.
// Prints {answered, failed, seconds, p50, p99}, the last two in milliseconds.
//
// It writes and reads sockets itself, for what does more is slower than the servers measured
// (autocannon and one Node's core end at 26,000 requests a second), and what sends a second's
// requests in one burst tells nothing of a rate.
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'

const load = JSON.parse(readFileSync(0))
const { hostname, port } = new URL(load.url)
const requests = makeRequests()
const interval = load.rate ? 1000 / load.rate : 0
const latencies = []
const idle = []
const waiting = []
let failed = 0
let sent = 0
let until = Infinity

function makeRequests () {
  const length = Math.max(load.paths.length, load.bodies.length)
  return Array.from({ length }, (_, i) => {
    const body = Buffer.from(load.bodies.length ? load.bodies[i % load.bodies.length] : '')
    const headers = { host: `${hostname}:${port}`, 'content-length': body.length, ...load.headers }
    if (!body.length) delete headers['content-length']
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
    const path = load.paths[i % load.paths.length]
    return Buffer.concat([
      Buffer.from(`${load.method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1'), body])
  })
}

class Connection {
  constructor () {
    this.due = 0
    this.left = -1 // bytes of the body still to come; -1: the head is not yet complete
    this.ok = false
    this.head = null
    this.socket = connect(port, hostname).setNoDelay()
    this.socket.on('data', (chunk) => this.read(chunk))
    this.socket.on('error', (error) => { throw error })
    this.socket.on('close', () => { if (performance.now() < until) throw new Error('hung up') })
    this.ready = new Promise((resolve) => this.socket.once('connect', resolve))
  }

  send (due) {
    this.due = due
    this.socket.write(requests[sent++ % requests.length])
  }

  read (chunk) {
    if (this.left < 0) {
      if (this.head) chunk = Buffer.concat([this.head, chunk])
      const end = chunk.indexOf('\r\n\r\n')
      if (end < 0) {
        this.head = chunk
        return
      }
      this.head = null
      const head = chunk.latin1Slice(0, end)
      const length = /\r\ncontent-length: *(\d+)/i.exec(head)
      if (!length) throw new Error(`an answer without its length: ${head}`)
      this.ok = head.startsWith('HTTP/1.1 200')
      this.left = +length[1] + end + 4
    }
    this.left -= chunk.length
    if (this.left === 0) this.answered()
  }

  answered () {
    const now = performance.now()
    this.left = -1
    if (this.ok) latencies.push(now - this.due)
    else failed += 1
    if (now >= until) return
    if (!interval) this.send(now)
    else if (waiting.length) this.send(waiting.shift())
    else idle.push(this)
  }
}

const connections = Array.from({ length: load.connections }, () => new Connection())
await Promise.all(connections.map((connection) => connection.ready))
const began = performance.now()
until = began + load.seconds * 1000
if (interval) {
  let due = began
  idle.push(...connections)
  const spin = () => {
    const now = performance.now()
    for (; due <= now && due < until; due += interval) {
      if (idle.length) idle.shift().send(due)
      else waiting.push(due)
    }
    if (now < until) setImmediate(spin)
  }
  spin()
} else {
  for (const connection of connections) connection.send(performance.now())
}
await new Promise((resolve) => setTimeout(resolve, until - performance.now()))
const seconds = (performance.now() - began) / 1000
const answered = latencies.length
for (const { socket } of connections) socket.destroy()
latencies.push(...waiting.map((due) => performance.now() - due))
latencies.sort((a, b) => a - b)
const quantile = (share) => latencies[Math.ceil(share * latencies.length) - 1]
console.log(JSON.stringify({ answered, failed, seconds, p50: quantile(0.5), p99: quantile(0.99) }))
