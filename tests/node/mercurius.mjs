// Mercurius with its JIT, over the gateway's schema and records in a Map: the peer to be measured.
// Usage: node mercurius.mjs SCHEMA RECORDS, two files: SDL, and a JSON list of records as REST
// shows them. Prints its address.
import { readFileSync } from 'node:fs'
import Fastify from 'fastify'
import mercurius from 'mercurius'

const [schema, file] = process.argv.slice(2)
const records = new Map(JSON.parse(readFileSync(file)).map((record) => [record.id, record]))

function find (id, phone) {
  const record = records.get(id)
  return record.phone === phone ? record : null
}

const app = Fastify({ logger: false })
app.register(mercurius, {
  schema: readFileSync(schema, 'utf8'),
  jit: 1,
  resolvers: {
    StatusRecord: { resolveType: (record) => record.kind },
    Query: {
      message: (_, { id, phone }) => find(id, phone),
      statuses: (_, { items }) => items.map(({ id, phone }) => (
        { id, phone, outcome: 'FOUND', record: find(id, phone), problem: null }
      ))
    }
  }
})
console.log(await app.listen({ host: '127.0.0.1', port: 0 }))
