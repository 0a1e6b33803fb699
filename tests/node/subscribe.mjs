// Operations over graphql-ws (one socket for all of them) or graphql-sse (distinct connections).
// Usage: node subscribe.mjs ws|sse URL RETRIES OPERATIONS, these as JSON:
// {name: {query, variables}, …}.
// Tells in lines of JSON what happens: [name, 'next', result], [name, 'error', GraphQL's
// errors or a sentence], [name, 'complete'], and of the socket ['', 'closed', code]. Ends when all operations have.
import { createClient as createSseClient } from 'graphql-sse'
import { createClient as createWsClient } from 'graphql-ws'
import WebSocket from 'ws'

const [protocol, url, retries, operations] = process.argv.slice(2)
const retryAttempts = Number(retries)
const retryWait = () => new Promise((resolve) => setTimeout(resolve, 200))
const tell = (...news) => console.log(JSON.stringify(news))

function createClient () {
  if (protocol === 'sse') return createSseClient({ url, retryAttempts, retry: retryWait })
  return createWsClient({
    url: url.replace('http', 'ws'),
    webSocketImpl: WebSocket,
    retryAttempts,
    retryWait,
    shouldRetry: () => true,
    on: { closed: (event) => tell('', 'closed', event.code) }
  })
}

const client = createClient()
let open = 0
for (const [name, operation] of Object.entries(JSON.parse(operations))) {
  open += 1
  const end = (...news) => {
    tell(name, ...news)
    open -= 1
    if (open === 0) client.dispose()
  }
  client.subscribe(operation, {
    next: (result) => tell(name, 'next', result),
    error: (error) => end('error', Array.isArray(error) ? error : String(error.message ?? error.code ?? error)),
    complete: () => end('complete')
  })
}
