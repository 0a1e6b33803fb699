// The audits of graphql-http: does the server keep to the GraphQL-over-HTTP specification?
// Usage: node audit.mjs URL. Prints a list of {id, name, status, reason}.
import { serverAudits } from 'graphql-http'

const [url] = process.argv.slice(2)
const results = []
for (const audit of serverAudits({ url, fetchFn: fetch })) {
  const { id, name } = audit
  const { status, reason } = await audit.fn()
  results.push({ id, name, status, reason })
}
console.log(JSON.stringify(results))
