// The work that all handlers do, and how often they did it.
export const count = { times: 0 };

// Refused is what the work fails with when the event says so, or when it was done for the record.
export class Refused extends Error {}

export function work(event) {
  count.times++;
  if (event.Dies) process.exit(0); // As where the sandbox is gone: nobody is told.
  if (event.Fails) throw new Refused('the event says so');
  return { done: event.JobId, text: event.Text ?? '' };
}

const done = new Set();

// recordWork fails for a record that it was done for already: as many times without a failure are as many records.
export function recordWork({ messageId }) {
  count.times++;
  if (done.has(messageId)) throw new Refused(`${messageId} was done already`);
  done.add(messageId);
  return { done: messageId };
}
