import { appendFile, mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import type { BinaryWriter } from '@bufbuild/protobuf/wire' with { 'resolution-mode': 'import' };
import { DeepRnnError, reasonOf } from '../errors';
import { crc32c } from './crc32c';

/*
 * TensorBoard's event files: records (TFRecord: length, masked CRC-32C of it, bytes, masked CRC-32C of them), each a protobuf message Event
 * of tensorflow/core/util/event.proto. The numbers below are fields of event.proto, summary.proto, histogram.proto, tensor.proto and of
 * the plugin data of hparams.
 */

export interface HistogramValues {
  readonly min: number;
  readonly max: number;
  readonly count: number;
  readonly sum: number;
  readonly sumOfSquares: number;
  /** Upper borders of the buckets, rising. */
  readonly limits: readonly number[];
  readonly counts: readonly number[];
}

export type HparamValue = number | string | boolean;

/** What one event shows under a tag. */
export type EventValue =
  | { readonly kind: 'scalar'; readonly tag: string; readonly value: number }
  | { readonly kind: 'histogram'; readonly tag: string; readonly value: HistogramValues }
  | { readonly kind: 'text'; readonly tag: string; readonly value: string }
  | { readonly kind: 'hparams'; readonly value: Readonly<Record<string, HparamValue>> }
  | { readonly kind: 'sessionEnd'; readonly succeeded: boolean };

let files = 0;

/** One file in a folder, which is made where it is not there. Every `append` is one write. */
export class EventFile {
  readonly file: string;
  private isBegun = false;

  constructor(private readonly folder: string) {
    const seconds = Math.floor(Date.now() / 1000);
    this.file = path.join(folder, `events.out.tfevents.${seconds}.${hostname()}.${process.pid}.${files++}`);
  }

  /** @throws ERR_FILE */
  async append(step: number, values: readonly EventValue[]): Promise<void> {
    const { BinaryWriter: Writer } = await import('@bufbuild/protobuf/wire');
    const make = () => new Writer();
    const records: Uint8Array[] = [];
    if (!this.isBegun) records.push(record(event(make).tag(3, 2).string('brain.Event:2').finish()));
    for (const value of values) {
      const summary = submessage(make(), 1, () => encodeValue(make, value, Date.now() / 1000));
      const bytes = summary.finish();
      records.push(record(event(make).tag(2, 0).int64(step).tag(5, 2).bytes(bytes).finish()));
    }
    try {
      if (!this.isBegun) await mkdir(this.folder, { recursive: true });
      await appendFile(this.file, Buffer.concat(records));
    } catch (error) {
      throw new DeepRnnError('ERR_FILE', `'${this.file}' could not be written: ${reasonOf(error)}.`, {
        cause: error,
      });
    }
    this.isBegun = true;
  }
}

type Make = () => BinaryWriter;

const event = (make: Make) =>
  make()
    .tag(1, 1)
    .double(Date.now() / 1000);

function submessage(writer: BinaryWriter, field: number, inner: () => BinaryWriter): BinaryWriter {
  return writer.tag(field, 2).bytes(inner().finish());
}

/** Summary.Value. */
function encodeValue(make: Make, value: EventValue, seconds: number): BinaryWriter {
  const writer = make();
  switch (value.kind) {
    case 'scalar':
      return writer.tag(1, 2).string(value.tag).tag(2, 5).float(value.value);
    case 'histogram':
      return submessage(writer.tag(1, 2).string(value.tag), 5, () => encodeHistogram(make, value.value));
    case 'text': {
      writer.tag(1, 2).string(value.tag);
      // DT_STRING [1].
      submessage(writer, 8, () =>
        submessage(make().tag(1, 0).int32(7), 2, () => submessage(make(), 2, () => make().tag(1, 0).int64(1)))
          .tag(8, 2)
          .string(value.value),
      );
      return submessage(writer, 9, () => submessage(make(), 1, () => make().tag(1, 2).string('text')));
    }
    case 'hparams':
      return plugin(make, '_hparams_/session_start_info', 3, () => {
        const session = make();
        for (const [name, v] of Object.entries(value.value))
          submessage(session, 1, () =>
            submessage(make().tag(1, 2).string(name), 2, () => encodeHparam(make, v)),
          );
        return session.tag(5, 1).double(seconds);
      });
    case 'sessionEnd':
      return plugin(make, '_hparams_/session_end_info', 4, () =>
        make()
          .tag(1, 0)
          .int32(value.succeeded ? 1 : 2)
          .tag(2, 1)
          .double(seconds),
      );
  }
}

/** A value of the hparams plugin, whose tensor says nothing. */
function plugin(make: Make, tag: string, field: number, data: () => BinaryWriter): BinaryWriter {
  const writer = make().tag(1, 2).string(tag);
  submessage(writer, 8, () =>
    submessage(make().tag(1, 0).int32(1), 2, () => submessage(make(), 2, () => make().tag(1, 0).int64(1)))
      .tag(5, 2)
      .bytes(new Uint8Array(4)),
  );
  return submessage(writer, 9, () =>
    submessage(make(), 1, () =>
      submessage(make().tag(1, 2).string('hparams'), 2, () => submessage(make(), field, data)),
    ),
  );
}

/** google.protobuf.Value. */
function encodeHparam(make: Make, value: HparamValue): BinaryWriter {
  if (typeof value === 'number') return make().tag(2, 1).double(value);
  return typeof value === 'string' ? make().tag(3, 2).string(value) : make().tag(4, 0).bool(value);
}

function encodeHistogram(make: Make, h: HistogramValues): BinaryWriter {
  const writer = make();
  for (const [i, v] of [h.min, h.max, h.count, h.sum, h.sumOfSquares].entries())
    writer.tag(i + 1, 1).double(v);
  for (const [field, values] of [
    [6, h.limits],
    [7, h.counts],
  ] as const)
    writer.tag(field, 2).bytes(new Uint8Array(Float64Array.from(values).buffer));
  return writer;
}

/** TFRecord. A CRC is rotated and moved, so that one of bytes that hold CRCs is still good. */
function record(bytes: Uint8Array): Uint8Array {
  const masked = (part: Uint8Array) => {
    const crc = crc32c(part);
    return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
  };
  const out = Buffer.alloc(16 + bytes.length);
  out.writeBigUInt64LE(BigInt(bytes.length), 0);
  out.writeUInt32LE(masked(out.subarray(0, 8)), 8);
  out.set(bytes, 12);
  out.writeUInt32LE(masked(bytes), 12 + bytes.length);
  return out;
}

const BUCKETS = 30;

/** The finite ones of some numbers in buckets of one width; undefined where there are none. */
export function histogramOf(values: ArrayLike<number>): HistogramValues | undefined {
  let [min, max, count, sum, sumOfSquares] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 0, 0];
  for (let i = 0; i < values.length; i++) {
    const v = values[i] as number;
    if (!Number.isFinite(v)) continue;
    if (v < min) min = v;
    if (v > max) max = v;
    count++;
    sum += v;
    sumOfSquares += v * v;
  }
  if (count === 0) return undefined;
  const width = (max - min) / BUCKETS || Math.max(Math.abs(min), 1) * 1e-6;
  const counts = new Array<number>(BUCKETS).fill(0);
  for (let i = 0; i < values.length; i++) {
    const v = values[i] as number;
    if (!Number.isFinite(v)) continue;
    const bucket = Math.min(BUCKETS - 1, Math.max(0, Math.floor((v - min) / width)));
    counts[bucket] = (counts[bucket] as number) + 1;
  }
  // TensorBoard takes the first bucket to begin where no number is below.
  const limits = counts.map((_, bucket) => min + (bucket + 1) * width);
  return { min, max, count, sum, sumOfSquares, limits: [min, ...limits], counts: [0, ...counts] };
}
