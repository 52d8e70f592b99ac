// A reporter for Node's test runner: one line of JSON for each case, for tests/run to count.

const outcomeOf = ({ skip, todo }, passed) =>
  skip !== undefined && skip !== false ? 'skipped' : passed || todo ? 'passed' : 'failed';

// A suite is not a case, save when it was skipped whole or failed for a reason of its own (a hook).
function countsAsCase({ type, data }) {
  if (data.details?.type !== 'suite') {
    return true;
  }
  if (type === 'test:fail') {
    return data.details.error?.failureType !== 'subtestsFailed';
  }
  return data.skip !== undefined && data.skip !== false;
}

export default async function* tally(events) {
  for await (const event of events) {
    if ((event.type === 'test:pass' || event.type === 'test:fail') && countsAsCase(event)) {
      const outcome = outcomeOf(event.data, event.type === 'test:pass');
      yield `${JSON.stringify({ name: event.data.name, outcome })}\n`;
    }
  }
}
