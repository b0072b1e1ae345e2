/*
 * HDF5 in a thread of its own, for hdf5.ts: the library is WebAssembly, which a hostile file may send into a loop or past all memory, and a
 * thread can be ended. It sees no files: what it reads are bytes in its memory, so links to other files lead nowhere. Plain JavaScript,
 * because a thread is started from a file that is the same in lib/ and dist/.
 */
const { randomBytes } = require('node:crypto');
const { parentPort } = require('node:worker_threads');

const PAGE = 65536;
/** Bytes that the library may have; messages set it. */
let memoryLimit = 2 ** 28;

// A refused growth is to the library what memory that runs out is: a failed call, and no crash.
const grow = WebAssembly.Memory.prototype.grow;
WebAssembly.Memory.prototype.grow = function (pages) {
  if (this.buffer.byteLength + pages * PAGE > memoryLimit) throw new RangeError('memory limit');
  return grow.call(this, pages);
};

/** Objects in a file: groups and arrays. A model has a few for each layer. */
const MOST_OBJECTS = 200_000;
const DEEPEST = 24;
const MOST_ATTRIBUTE_BYTES = 2 ** 26;
// Arrays may say that their numbers lie in another file: of this name no file knows.
const FILE = `/${randomBytes(16).toString('hex')}.h5`;
/** Attributes of Keras's files; long lists are cut into parts with numbers behind the name. */
const known = /^(model_config|training_config|keras_version|backend|name|(layer|weight)_names\d*)$/;

let library;
let guarded = false;
let file;

async function loaded() {
  library ??= await import('h5wasm');
  const module = await library.ready;
  if (!guarded) {
    guarded = true;
    const { get_dataset_data: get } = module;
    // What could not be read is memory as it was: the library gives it out all the same.
    module.get_dataset_data = (...args) => {
      const status = get(...args);
      if (!(status >= 0)) throw new Error('an array of it could not be read');
      return status;
    };
  }
  return { ...library, FS: module.FS };
}

function attributesOf(entity) {
  const found = {};
  for (const [name, attribute] of Object.entries(entity.attrs)) {
    if (!known.test(name)) continue;
    const { metadata } = attribute;
    if (metadata.size * Math.max(1, metadata.total_size ?? 1) > MOST_ATTRIBUTE_BYTES)
      throw new Error(`attribute '${name}' is too large`);
    const { value } = attribute;
    if (typeof value === 'string') found[name] = value;
    else if (Array.isArray(value) && value.every((part) => typeof part === 'string')) found[name] = value;
    else if (ArrayBuffer.isView(value) && value.length === 0) found[name] = [];
  }
  return found;
}

const kinds = { 0: 'integer', 1: 'real' };

/** Everything in the file but the numbers. */
async function open({ bytes, limit }) {
  memoryLimit = limit;
  const { File, Dataset, Group, FS } = await loaded();
  file?.close();
  file = undefined;
  FS.writeFile(FILE, bytes, { canOwn: true });
  file = new File(FILE, 'r');
  if (file.file_id < 0n) throw new Error('it is no HDF5 file');
  const groups = {};
  const arrays = {};
  let objects = 0;
  const visit = (group, path, depth) => {
    groups[path] = attributesOf(group);
    for (const name of group.keys()) {
      if (++objects > MOST_OBJECTS) throw new Error(`it has more than ${MOST_OBJECTS} objects`);
      if (depth >= DEEPEST) throw new Error(`its groups are nested deeper than ${DEEPEST}`);
      const entity = group.get(name);
      const own = path === '' ? name : `${path}/${name}`;
      if (entity instanceof Group) visit(entity, own, depth + 1);
      else if (entity instanceof Dataset) {
        const { shape, type, size } = entity.metadata;
        if (shape) arrays[own] = { shape: shape.map(Number), kind: kinds[type] ?? 'other', size };
      }
    }
  };
  visit(file, '', 0);
  return { groups, arrays };
}

/** Numbers of arrays, as float32; whole numbers of 64 bits as numbers. */
function read({ paths, limit }) {
  memoryLimit = limit;
  const values = {};
  for (const path of paths) {
    const value = file.get(path).value;
    if (value === null || value === undefined) throw new Error(`'${path}' could not be read`);
    const list = ArrayBuffer.isView(value) || Array.isArray(value) ? value : [value];
    values[path] = list instanceof Float32Array ? list : Float32Array.from(list, (number) => Number(number));
  }
  return values;
}

/** A file of groups with attributes, and arrays, in the order given: groups before what is in them. */
async function write({ groups, arrays, limit }) {
  memoryLimit = limit;
  const { File, FS } = await loaded();
  const out = new File(FILE, 'w');
  for (const [path, attributes] of groups) {
    const group = path === '' ? out : out.create_group(path);
    for (const [name, value] of Object.entries(attributes)) group.create_attribute(name, value);
  }
  const types = { real: '<f', integer32: '<i', integer64: '<q' };
  for (const { path, shape, kind, data } of arrays) {
    const at = path.lastIndexOf('/');
    const group = at < 0 ? out : out.get(path.slice(0, at));
    group.create_dataset({ name: path.slice(at + 1), data, shape, dtype: types[kind] });
  }
  out.close();
  const bytes = FS.readFile(FILE);
  FS.unlink(FILE);
  return bytes;
}

const tasks = { open, read, write };

/** Text of whatever was thrown; of numbers, which WebAssembly throws, nothing is known. */
function reason(error) {
  return typeof error?.message === 'string' ? error.message : 'the library gave up';
}

parentPort.on('message', async ({ task, ...input }) => {
  try {
    const result = await tasks[task](input);
    const buffers = ArrayBuffer.isView(result)
      ? [result.buffer]
      : task === 'read'
        ? Object.values(result).map(({ buffer }) => buffer)
        : [];
    parentPort.postMessage({ result }, [...new Set(buffers)]);
  } catch (error) {
    parentPort.postMessage({ reason: reason(error) });
  }
});
