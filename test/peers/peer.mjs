// A Python process that answers one JSON line with one JSON line.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** @param script beside this file; the interpreter is $DEEPRNN_PEER_PYTHON or `python3` */
export function startPeer(script, python = process.env.DEEPRNN_PEER_PYTHON ?? 'python3') {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const child = spawn(python, [path], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const gone = new Promise((_, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`${script} ended with exit status ${code}`)));
  });
  gone.catch(() => undefined);
  return {
    /** @throws what the peer says went wrong */
    async ask(command) {
      child.stdin.write(`${JSON.stringify(command)}\n`);
      const { value, done } = await Promise.race([lines.next(), gone]);
      if (done) await gone;
      const answer = JSON.parse(value);
      if (answer.error) throw new Error(answer.error);
      return answer;
    },
    end: () => child.stdin.end(),
  };
}

/** The largest difference of two arrays; NaN where one is. */
export function largestDifference(a, b) {
  if (a.length !== b.length) return Number.POSITIVE_INFINITY;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i] - b[i]);
    if (!(d <= largest)) largest = d;
    if (Number.isNaN(largest)) return largest;
  }
  return largest;
}
