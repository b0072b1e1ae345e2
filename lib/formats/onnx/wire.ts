import { BinaryReader, BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { type Field, type MessageName, messages } from './messages';

type Message = Record<string, unknown>;

/** Values that a message has room for, by the file's bytes: a tag of one byte and nothing behind it. */
const MOST_NUMBERS = 2 ** 27;

function safeInt(value: bigint | string | number): number {
  const n = Number(value);
  return Math.min(Math.max(n, -Number.MAX_SAFE_INTEGER), Number.MAX_SAFE_INTEGER);
}

const readers = {
  int: (reader: BinaryReader) => safeInt(reader.int64()),
  float: (reader: BinaryReader) => reader.float(),
  double: (reader: BinaryReader) => reader.double(),
};
const numberWire = { int: WireType.Varint, float: WireType.Bit32, double: WireType.Bit64 } as const;

const byNumber = Object.fromEntries(
  Object.entries(messages).map(([name, fields]) => [name, new Map(fields.map((f) => [f.number, f]))]),
) as Readonly<Record<string, ReadonlyMap<number, Field>>>;

/** The numbers of one kind in a piece of bytes. */
export function readNumbers(bytes: Uint8Array, kind: keyof typeof readers): number[] {
  const reader = new BinaryReader(bytes);
  const numbers: number[] = [];
  while (reader.pos < reader.len) {
    if (numbers.length === MOST_NUMBERS)
      throw new Error(`it has more than ${MOST_NUMBERS} numbers in one field`);
    numbers.push(readers[kind](reader));
  }
  return numbers;
}

function isNumber(kind: Field['kind']): kind is keyof typeof readers {
  return kind in readers;
}

/** Adds one occurrence of a field to what has been read of a message. */
function readField(reader: BinaryReader, wire: WireType, field: Field, message: Message): void {
  const { kind, name, repeated } = field;
  const wrong = () => new Error(`field '${name}' is not written as such a field is`);
  const push = (...values: unknown[]) => {
    message[name] ??= [];
    for (const value of values) (message[name] as unknown[]).push(value);
  };
  if (isNumber(kind)) {
    if (repeated && wire === WireType.LengthDelimited) {
      message[name] ??= [];
      for (const value of readNumbers(reader.bytes(), kind)) (message[name] as unknown[]).push(value);
      return;
    }
    if (wire !== numberWire[kind]) throw wrong();
    const value = readers[kind](reader);
    if (repeated) push(value);
    else message[name] = value;
    return;
  }
  if (kind === 'data') {
    push(wire === WireType.LengthDelimited ? reader.bytes() : reader.skip(wire));
    return;
  }
  if (wire !== WireType.LengthDelimited) throw wrong();
  const value =
    kind === 'bytes' ? reader.bytes() : kind === 'string' ? reader.string() : decode(reader.bytes(), kind);
  if (repeated) push(value);
  else message[name] = value;
}

/**
 * A message from its bytes; byte fields and data are views on them.
 * @throws Error that says why these bytes are no such message
 */
export function decode<M>(bytes: Uint8Array, message: MessageName): M {
  const reader = new BinaryReader(bytes);
  const fields = byNumber[message] as ReadonlyMap<number, Field>;
  const read: Message = {};
  while (reader.pos < reader.len) {
    const [number, wire] = reader.tag();
    if (wire === WireType.StartGroup || wire === WireType.EndGroup)
      throw new Error(`a message ${message} has a group, which ONNX has not`);
    const field = fields.get(number);
    if (field) readField(reader, wire, field, read);
    else reader.skip(wire);
    if (reader.pos > reader.len) throw new Error(`a message ${message} ends in the middle of a field`);
  }
  return read as M;
}

function writeNumber(writer: BinaryWriter, kind: keyof typeof readers, value: number): void {
  if (kind === 'int') writer.int64(value);
  else if (kind === 'float') writer.float(value);
  else writer.double(value);
}

function writeField(writer: BinaryWriter, { number, kind, repeated }: Field, value: unknown): void {
  if (isNumber(kind)) {
    if (!repeated) {
      writeNumber(writer.tag(number, numberWire[kind]), kind, value as number);
      return;
    }
    writer.tag(number, WireType.LengthDelimited).fork();
    for (const n of value as number[]) writeNumber(writer, kind, n);
    writer.join();
    return;
  }
  for (const part of repeated ? (value as unknown[]) : [value]) {
    writer.tag(number, WireType.LengthDelimited);
    if (kind === 'string') writer.string(part as string);
    else
      writer.bytes(kind === 'bytes' || kind === 'data' ? (part as Uint8Array) : encode(part as object, kind));
  }
}

/** The bytes of a message; what is undefined is left out. */
export function encode(message: object, name: MessageName): Uint8Array {
  const writer = new BinaryWriter();
  for (const field of messages[name]) {
    const value = (message as Message)[field.name];
    if (value !== undefined) writeField(writer, field, value);
  }
  return writer.finish();
}
