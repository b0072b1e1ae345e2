/** Where a value stands in a message, and what it is. */
export interface Field {
  readonly number: number;
  readonly name: string;
  /** A kind of number or string, `data` (numbers that are read when they are needed), or the name of a message. */
  readonly kind: 'int' | 'float' | 'double' | 'string' | 'bytes' | 'data' | MessageName;
  readonly repeated: boolean;
}

const one = (number: number, name: string, kind: Field['kind']): Field => ({
  number,
  name,
  kind,
  repeated: false,
});
const many = (number: number, name: string, kind: Field['kind']): Field => ({
  number,
  name,
  kind,
  repeated: true,
});

export type MessageName =
  | 'Model'
  | 'OperatorSet'
  | 'Graph'
  | 'Node'
  | 'Attribute'
  | 'Body'
  | 'BodyNode'
  | 'BodyAttribute'
  | 'Tensor'
  | 'ValueInfo'
  | 'Type'
  | 'TensorType'
  | 'Shape'
  | 'Dimension'
  | 'Entry';

const attributeFields: readonly Field[] = [
  one(1, 'name', 'string'),
  one(2, 'f', 'float'),
  one(3, 'i', 'int'),
  one(4, 's', 'string'),
  one(5, 't', 'Tensor'),
  many(7, 'floats', 'float'),
  many(8, 'ints', 'int'),
  many(9, 'strings', 'string'),
  one(20, 'type', 'int'),
  one(21, 'refAttrName', 'string'),
];

const nodeFields = (attribute: 'Attribute' | 'BodyAttribute'): readonly Field[] => [
  many(1, 'input', 'string'),
  many(2, 'output', 'string'),
  one(3, 'name', 'string'),
  one(4, 'opType', 'string'),
  many(5, 'attribute', attribute),
  one(7, 'domain', 'string'),
];

const graphFields = (node: 'Node' | 'BodyNode'): readonly Field[] => [
  many(1, 'node', node),
  one(2, 'name', 'string'),
  many(5, 'initializer', 'Tensor'),
  many(11, 'input', 'ValueInfo'),
  many(12, 'output', 'ValueInfo'),
  many(15, 'sparseInitializer', 'bytes'),
];

/**
 * The messages of ONNX (IR version 3 and later) by the numbers of their fields, as far as they are read or written here. A graph inside an
 * attribute is a `Body`, whose own attributes have none, so that messages have a known depth.
 */
export const messages: Readonly<Record<MessageName, readonly Field[]>> = {
  Model: [
    one(1, 'irVersion', 'int'),
    one(2, 'producerName', 'string'),
    one(3, 'producerVersion', 'string'),
    one(7, 'graph', 'Graph'),
    many(8, 'opsetImport', 'OperatorSet'),
  ],
  OperatorSet: [one(1, 'domain', 'string'), one(2, 'version', 'int')],
  Graph: graphFields('Node'),
  Node: nodeFields('Attribute'),
  Attribute: [...attributeFields, one(6, 'g', 'Body')],
  Body: graphFields('BodyNode'),
  BodyNode: nodeFields('BodyAttribute'),
  BodyAttribute: attributeFields,
  Tensor: [
    many(1, 'dims', 'int'),
    one(2, 'dataType', 'int'),
    one(3, 'segment', 'bytes'),
    many(4, 'floatData', 'data'),
    many(5, 'int32Data', 'data'),
    many(7, 'int64Data', 'data'),
    one(8, 'name', 'string'),
    one(9, 'rawData', 'bytes'),
    many(10, 'doubleData', 'data'),
    many(13, 'externalData', 'Entry'),
    one(14, 'dataLocation', 'int'),
  ],
  ValueInfo: [one(1, 'name', 'string'), one(2, 'type', 'Type')],
  Type: [one(1, 'tensorType', 'TensorType')],
  TensorType: [one(1, 'elemType', 'int'), one(2, 'shape', 'Shape')],
  Shape: [many(1, 'dim', 'Dimension')],
  Dimension: [one(1, 'dimValue', 'int'), one(2, 'dimParam', 'string')],
  Entry: [one(1, 'key', 'string'), one(2, 'value', 'string')],
};

/** Integers lie within ±(2^53 − 1): larger ones, which only say "to the end", are drawn to it. */
export interface ModelMessage {
  irVersion?: number;
  producerName?: string;
  producerVersion?: string;
  graph?: GraphMessage;
  opsetImport?: { domain?: string; version?: number }[];
}

export interface GraphMessage {
  node?: NodeMessage[];
  name?: string;
  initializer?: TensorMessage[];
  input?: ValueInfoMessage[];
  output?: ValueInfoMessage[];
  sparseInitializer?: Uint8Array[];
}

/** A graph that an operator runs. */
export type BodyMessage = GraphMessage;

export interface NodeMessage {
  input?: string[];
  output?: string[];
  name?: string;
  opType?: string;
  attribute?: AttributeMessage[];
  domain?: string;
}

export interface AttributeMessage {
  name?: string;
  f?: number;
  i?: number;
  s?: string;
  t?: TensorMessage;
  g?: BodyMessage;
  floats?: number[];
  ints?: number[];
  strings?: string[];
  type?: number;
  refAttrName?: string;
}

export interface TensorMessage {
  dims?: number[];
  dataType?: number;
  segment?: Uint8Array;
  /** Each piece as it lies in the file: packed, or of one number. */
  floatData?: Uint8Array[];
  int32Data?: Uint8Array[];
  int64Data?: Uint8Array[];
  name?: string;
  rawData?: Uint8Array;
  doubleData?: Uint8Array[];
  externalData?: { key?: string; value?: string }[];
  dataLocation?: number;
}

export interface ValueInfoMessage {
  name?: string;
  type?: {
    tensorType?: { elemType?: number; shape?: { dim?: { dimValue?: number; dimParam?: string }[] } };
  };
}

/** What an attribute says it is. */
export const attributeTypes = {
  float: 1,
  int: 2,
  string: 3,
  tensor: 4,
  graph: 5,
  floats: 6,
  ints: 7,
  strings: 8,
} as const;

/** Types of elements, by their numbers. */
export const elementTypes = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
  complex64: 14,
  complex128: 15,
  bfloat16: 16,
} as const;

export type ElementType = keyof typeof elementTypes;

/** How messages call a type of elements. */
export function elementName(code: number | undefined): string {
  const known = Object.entries(elementTypes).find(([, number]) => number === code);
  return known ? known[0] : `the type of number ${code ?? 0}`;
}
