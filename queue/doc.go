// Package queue carries typed jobs over asynq: a client that queues parts, a
// server that runs them, and the clock that pokes scheduled runs.
//
// Redis is transport and nothing else. A job holds names only, never keys,
// wrapped or not; losing every job loses no work, because the journal knows
// what is not done. asynq's archive is capped and is no record of anything.
package queue
