// SMSC's npm client, node-smsc, against the provider whose address is given.
// Usage: node smsc.mjs URL CALL QUERY [FILE], the query as JSON; with a file the call is a form.
// Prints {result} or {error, code}, as the client tells it.
import { createReadStream } from 'node:fs'
import smsc from 'node-smsc'

const [url, call, query, file] = process.argv.slice(2)
const client = smsc({ login: 'demo', password: 'demo', request: `${url}/sys/` })
const options = file ? { files: [{ field: 'file', value: createReadStream(file) }] } : {}
const told = await client[call](JSON.parse(query), options).then(
  (result) => ({ result }),
  (error) => ({ error: error.message, code: error.response?.error_code ?? null })
)
console.log(JSON.stringify(told))
