// Package chaos shows the sidecar's promise under faults: work is done at most
// once per key while a claim holds, a finished result is neither changed nor
// forgotten before its time, and a crashed run blocks no retry longer than its
// lease.
//
// # What runs
//
// Sidecars are processes of the program as it ships, killed with SIGKILL and
// started again. Handlers call them over HTTP, on a few keys, in the ways in
// which handlers do: they work too long, end a claim twice, on another sidecar,
// or never, give up waiting, and send again what was not answered. All sidecars
// reach one DynamoDB Local through a proxy that makes the faults of a network
// and of DynamoDB itself. Every random choice comes from one seed, in streams
// named by what they decide, so a seed repeats the plan; what the machine makes
// of it is its own.
//
// # What is recorded
//
// Handlers record each call and what it was told, between two moments of this
// process. The proxy notes each write that DynamoDB confirmed, between the
// moments at which it was passed on and confirmed. It is the only way to the
// store, so when all is over nothing can take effect any more, and the notes say
// which unanswered calls had an effect, and when.
//
// # How a history is judged
//
// Each key's history is given to porcupine, a checker of linearizability, as a
// set of events:
//
//   - An answered call, from its call to its answer. It is judged by what its
//     caller was told and by nothing else.
//   - A write that no answered call explains, from its passing on to its
//     confirmation: the effect of a call that was never answered, or was
//     answered in another sense after a retry had met a later state. An
//     answered call explains a write if it had that effect by its answer and
//     was under way for all the time in which the write can have happened.
//     A call without answer and without write had no effect and is left out.
//
// So there is nothing to guess about lost answers, and no operation that stays
// open until the end of the history, which would make the search exponential.
// The proxy is trusted to see what is written, not to judge it: each write has to
// fit the specification like any answer.
//
// The specification has the states none, held (by a caller, with fence, attempt,
// lease and the acquire's id), released, completed (with its result) and failed.
// Token, result, fence, attempt, lease and the holder's id in an answer must be
// those of the state.
//
// Time makes leases lapse and records expire between operations. Sidecars and
// checker share a machine and so a wall clock, and what an operation decides by
// the clock stays true up to its effect: an unexpired record that was read was
// unexpired, a lapsed claim that is still there at the conditional write is still
// lapsed. So each operation has one moment, between its call and its end and not
// before that of the operation ahead of it, at which all it tells is true. The
// state carries the earliest time that it can be, and each operation takes
// place at the earliest moment that its outcome allows: a claim told of as held,
// as soon as it can, a takeover no sooner than the lease's end. Earlier is never
// worse for what follows, so the choice is complete and no search over time is
// needed. The expiration is not told by the API; the model keeps the bounds that
// follow from the call's own bounds and narrows them by what is seen. The one
// decision not judged at that moment is whether the attempts are counted on,
// which the sidecar takes before its write: there, any time of the operation
// counts.
//
// An answered lease is a promise: in the specification a renewal never shortens
// one, however late it takes effect.
//
// # The promise itself
//
// Beside the model, and by answers alone: work under live claims on one key never
// overlaps, from the answer of the acquire, or of a renewal, to the lease's end
// or the call of an end; all duplicates get the one result that the claim's
// caller sent; a completed run is told to every later acquire and not granted
// again before its time; fences of later grants are higher, and no two callers
// have the same fence or token; no sidecar answers with a fault of its own or
// ends by itself. And by the proxy's notes: no grant and no end is answered that
// the store never took.
//
// # What a violation shows
//
// A violation of the model is shown by the shortest history found. Each step of
// shortening keeps what follows from the longer history, so the rest shows the
// same fault: the end is cut at the first answer that fits no order, reads are
// dropped, and the beginning is cut where nothing was under way.
//
// # What is not covered
//
// Clocks of hosts that differ, deletion by DynamoDB's own TTL, and tables with a
// sort key. Sidecars run outside Lambda, so a claim that its handler left open is
// settled by nobody and waits for its lease.
package chaos
