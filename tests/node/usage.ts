// How somebody would use the types that openapi-typescript makes: it has to compile, strictly.
import type { components, operations, paths } from './api'

type Schemas = components['schemas']
type Json<Operation extends keyof operations, Status extends keyof operations[Operation]['responses']> =
  operations[Operation]['responses'][Status] extends { content: { 'application/json': infer Body } } ? Body : never

// A batch answers with results, a dry run of it with a forecast: which it is tells a member.
type Batched = Json<'getStatuses', 200>
type Result = Extract<Batched, { results: unknown }>['results'][number]

// The kind tells the two records apart, and each has its own fields; all there, or those asked for.
export function describe (record: NonNullable<Result['record']>): string {
  if (record.kind === 'HlrLookup') return `${record.reachability} in ${record.homeNetwork?.name ?? 'no network'}`
  const state: Schemas['MessageState'] | undefined = record.state
  return `${state}, ${record.cost?.amount ?? '?'}, ${record.error?.code ?? 'no error'}`
}

export function stateOf (message: Schemas['Message']): Schemas['MessageState'] {
  return message.state
}

// A closed list of outcomes: who forgets one is told by the compiler.
export function told (result: Result): string {
  switch (result.outcome) {
    case 'FOUND': return result.record === null ? '' : describe(result.record)
    case 'NOT_FOUND': return 'not found'
    case 'UNAVAILABLE': return `again in ${result.problem?.retryAfter ?? 0} s`
    case 'INVALID': return result.problem?.detail ?? ''
  }
}

type Batch = paths['/v1/statuses/batch']['post']['requestBody']['content']['application/json']
export const batch: Batch = { items: [{ id: '1', phone: '79990000001' }], fields: ['state', 'cost.amount'] }

// @ts-expect-error: there is no such field, so the types are more than any
export const mistaken: Batch = { items: [], fields: ['nonsense'] }

export function when (problem: Schemas['HttpProblem']): number | null {
  return problem.retryable ? problem.retryAfter ?? null : null
}
