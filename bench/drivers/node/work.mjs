// The work that all handlers do, and how often they did it.
export const count = { times: 0 };

// Refused is what the work fails with when the event says so.
export class Refused extends Error {}

export function work(event) {
  count.times++;
  if (event.Dies) process.exit(0); // As where the sandbox is gone: nobody is told.
  if (event.Fails) throw new Refused('the event says so');
  return { done: event.JobId, text: event.Text ?? '' };
}

export function recordWork(record) {
  count.times++;
  return { done: record.messageId };
}
