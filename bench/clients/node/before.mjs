export const handler = async (event) => {
  return { done: event.JobId };
};
