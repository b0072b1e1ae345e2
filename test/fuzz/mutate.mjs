// Mutations of valid files, and a loop that counts what a reader does with them.

import { createRequire } from 'node:module';

const { Philox } = createRequire(import.meta.url)('../../dist/index.js');

/** A damaged copy of one of the files: bits flipped, cut, spliced with another, bytes or 32-bit words replaced, digits grown. */
export function mutate(files, random) {
  const base = Buffer.from(files[random.nextInt(files.length)]);
  const at = () => random.nextInt(Math.max(base.length, 1));
  // Headers are where readers go wrong.
  const near = () => random.nextInt(Math.max(Math.min(base.length, 256), 1));
  const place = () => (random.nextInt(2) ? at() : near());
  switch (random.nextInt(7)) {
    case 0:
      for (let n = 1 + random.nextInt(8); n > 0; n--) base[place()] ^= 1 << random.nextInt(8);
      return base;
    case 1:
      return base.subarray(0, at());
    case 2: {
      const other = files[random.nextInt(files.length)];
      return Buffer.concat([base.subarray(0, place()), other.subarray(random.nextInt(other.length))]);
    }
    case 3:
      for (let n = 1 + random.nextInt(4); n > 0; n--) base[place()] = random.nextInt(256);
      return base;
    case 4: {
      const word = [0, 0xffffffff, 0x7fffffff, 0x80000000, 1][random.nextInt(5)];
      if (base.length >= 4) base.writeUInt32LE(word, Math.min(place(), base.length - 4));
      return base;
    }
    case 5: {
      const i = place();
      return Buffer.concat([base.subarray(0, i), base.subarray(i, i + random.nextInt(64)), base.subarray(i)]);
    }
    default: {
      const digits = [...base.keys()].filter((i) => base[i] >= 48 && base[i] <= 57).slice(0, 400);
      for (let n = 1 + random.nextInt(3); n > 0 && digits.length > 0; n--)
        base[digits[random.nextInt(digits.length)]] = [48, 57, 45, 101, 46][random.nextInt(5)];
      return base;
    }
  }
}

/**
 * Reads `count` damaged files. A refusal is an error of the library; anything else that is thrown, a reading over `most` milliseconds, or memory
 * that grows by over 512 MiB is a finding, which ends the run with status 1.
 */
export async function fuzz(name, files, count, read, most = 2000) {
  const random = new Philox(Number(process.env.FUZZ_SEED ?? 1), 0);
  const counts = { read: 0, refused: 0 };
  const findings = [];
  for (let i = 0; i < count; i++) {
    const bytes = mutate(files, random);
    const [began, before] = [performance.now(), process.memoryUsage()];
    try {
      await read(bytes, i);
      counts.read++;
    } catch (error) {
      if (error?.name === 'DeepRnnError') counts.refused++;
      else findings.push(`${i}: ${error?.stack ?? error}\n${bytes.subarray(0, 4096).toString('base64')}`);
    }
    const took = performance.now() - began;
    const now = process.memoryUsage();
    const grown = now.rss - before.rss + now.arrayBuffers - before.arrayBuffers;
    if (took > most) findings.push(`${i}: took ${took.toFixed(0)} ms`);
    if (grown > 2 ** 29) findings.push(`${i}: took ${(grown / 2 ** 20).toFixed(0)} MiB`);
    if (findings.length >= 5) break;
  }
  for (const finding of findings) console.error(`${name}: ${finding}`);
  console.log(
    `${name}: ${counts.read + counts.refused} executions, ${counts.read} read, ${counts.refused} refused, ${findings.length} findings`,
  );
  if (findings.length > 0) process.exitCode = 1;
}
