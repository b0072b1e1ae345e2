import { quoted, refuse } from '../errors';

// Held here because in a vm context (Jest, plugins) every look at a global takes longer than what is computed with it.
const { imul, sqrt, log, sin, cos, PI } = Math;

/**
 * Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011):
 * ten rounds of two 32×32→64 bit products, keyed by the seed. The same (key, counter) gives the same words anywhere.
 *
 * @param counter four 32-bit words, @param key two 32-bit words, @param out receives the four output words
 */
export function philox4x32(
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  k0: number,
  k1: number,
  out: Uint32Array,
): void {
  // Signed 32-bit throughout: an unsigned number may not fit the engine's small integers, and would be kept as a double.
  for (let round = 0; round < 10; round++) {
    const hi0 = mulHigh(0xd2511f53, c0);
    const lo0 = imul(0xd2511f53, c0);
    const hi1 = mulHigh(0xcd9e8d57, c2);
    const lo1 = imul(0xcd9e8d57, c2);
    c0 = hi1 ^ c1 ^ k0;
    c1 = lo1;
    c2 = hi0 ^ c3 ^ k1;
    c3 = lo0;
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** High 32 bits of an unsigned 32×32 product, by 16-bit halves; as a signed number with the same bits. */
function mulHigh(a: number, b: number): number {
  const aLo = a & 0xffff;
  const aHi = a >>> 16;
  const bLo = b & 0xffff;
  const bHi = b >>> 16;
  const mid = (imul(aHi, bLo) + (imul(aLo, bLo) >>> 16)) | 0;
  const mid2 = (imul(aLo, bHi) + (mid & 0xffff)) | 0;
  return (imul(aHi, bHi) + (mid >>> 16) + (mid2 >>> 16)) | 0;
}

/** Splits a seed (an integer in 0 … 2^53−1) into the two key words. @throws ERR_VALUE for anything else. */
export function splitSeed(seed: number, subject = 'seed'): [lo: number, hi: number] {
  if (!Number.isSafeInteger(seed) || seed < 0)
    refuse('ERR_VALUE', subject, 'an integer from 0 to 2^53-1', quoted(seed));
  return [seed >>> 0, Math.floor(seed / 4294967296)];
}

/** A sequential stream of random numbers over Philox, for initializers, shuffles and splits. `stream` separates uses of one seed. */
export class Philox {
  private readonly words = new Uint32Array(4);
  private readonly key: [number, number];
  private block = 0;
  private left = 0;
  private spare: number | undefined;

  constructor(
    seed: number,
    private readonly stream = 0,
  ) {
    this.key = splitSeed(seed);
  }

  nextUint32(): number {
    if (this.left === 0) {
      // Counter word 3 is set so that these draws never meet the dropout masks, whose word 3 is stepHi < 2^21.
      philox4x32(
        this.block >>> 0,
        Math.floor(this.block / 4294967296),
        this.stream,
        0xffffffff,
        this.key[0],
        this.key[1],
        this.words,
      );
      this.block++;
      this.left = 4;
    }
    return this.words[4 - this.left--] as number;
  }

  /** Uniform in [0, 1) with 53 random bits. */
  nextFloat(): number {
    const hi = this.nextUint32() >>> 5;
    const lo = this.nextUint32() >>> 6;
    return (hi * 67108864 + lo) / 9007199254740992;
  }

  /** Standard normal (Box–Muller). */
  nextNormal(): number {
    if (this.spare !== undefined) {
      const value = this.spare;
      this.spare = undefined;
      return value;
    }
    const radius = sqrt(-2 * log(1 - this.nextFloat()));
    const angle = 2 * PI * this.nextFloat();
    this.spare = radius * sin(angle);
    return radius * cos(angle);
  }

  /** Uniform integer in 0 … bound−1, without modulo bias. */
  nextInt(bound: number): number {
    if (!Number.isInteger(bound) || bound < 1 || bound > 4294967296) {
      refuse('ERR_VALUE', 'random bound', 'an integer from 1 to 2^32', quoted(bound));
    }
    const limit = 4294967296 - (4294967296 % bound);
    let draw = this.nextUint32();
    while (draw >= limit) draw = this.nextUint32();
    return draw % bound;
  }

  /** 0 … n−1 in random order (Fisher–Yates). */
  permutation(n: number): Uint32Array {
    const order = Uint32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.nextInt(i + 1);
      const held = order[i] as number;
      order[i] = order[j] as number;
      order[j] = held;
    }
    return order;
  }
}
