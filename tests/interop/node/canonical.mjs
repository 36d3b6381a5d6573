// The canonical form of a change, from its message alone.

import { Array as Elements, DataChangeRecord_ModType as ModType, Mod, Value } from "./envelope.js";
import { reader, typed } from "./json_text.mjs";

const UNKNOWN = '"unknown"';
const NAN = "7ff8000000000000";
const MOD_TYPES = { [ModType.INSERT]: "INSERT", [ModType.UPDATE]: "UPDATE", [ModType.DELETE]: "DELETE" };

// The columns of a message by role, with how their JSON text is read.
export class Shape {
  constructor(columns) {
    this.table = columns.table;
    this.keys = new Map();
    this.rest = new Map();
    for (const column of columns.columns.toArray()) {
      (column.isPrimaryKey ? this.keys : this.rest).set(column.name, reader(column.type));
    }
  }
}

// One change, without the end of its line.
export function line(record, mod, shape) {
  let objects = [UNKNOWN, UNKNOWN, UNKNOWN];
  if (mod.which() === Mod.TYPED) {
    const { keys, newValues, oldValues, others } = mod.typed;
    const found = [cells(keys, shape.keys), cells(newValues, shape.rest), cells(oldValues, shape.rest)];
    for (const other of others.toArray()) {
      const object = found[other.place];
      if (object && !object.has(other.name)) object.set(other.name, standIn(other.json));
    }
    objects = found.map(braced);
  } else if (mod.which() === Mod.JSON) {
    const { keys, newValues, oldValues } = mod.json;
    objects = [typed(keys, shape.keys), typed(newValues, shape.rest), typed(oldValues, shape.rest)].map(braced);
  }
  const { seconds, nanos } = record.commitTimestamp;
  const version = [timestamp(seconds, nanos), record.serverTransactionId, record.recordSequence, mod.number].join("/");
  return `{"keys":${objects[0]},"mod_type":"${MOD_TYPES[record.modType] ?? "UNKNOWN"}","new":${objects[1]},` +
    `"old":${objects[2]},"table":${quote(shape.table)},"version":${quote(version)}}`;
}

// A list may be shorter than its columns: what is not there is missing.
function cells(list, role) {
  const names = [...role.keys()];
  const object = new Map();
  for (const [place, cell] of list.toArray().entries()) {
    if (cell.which() !== Value.MISSING) object.set(names[place], value(cell));
  }
  return object;
}

function value(cell) {
  switch (cell.which()) {
    case Value.NULL: return "null";
    case Value.BOOL: return String(cell.bool);
    case Value.INT64: return integer(cell.int64);
    case Value.FLOAT64: return float(cell.float64);
    case Value.TEXT: return quote(cell.text);
    case Value.BYTES: return bytes(cell.bytes);
    case Value.TIMESTAMP: return moment(cell.timestamp);
    case Value.ARRAY: return array(cell.array);
    case Value.JSON: return standIn(cell.json);
    default: return UNKNOWN;
  }
}

function array(array) {
  switch (array.which()) {
    case Elements.BOOL: return elements(array, array.bool, String);
    case Elements.INT64: return elements(array, array.int64, integer);
    case Elements.FLOAT64: return elements(array, array.float64, float);
    case Elements.TEXT: return elements(array, array.text, quote);
    case Elements.BYTES: return elements(array, array.bytes, bytes);
    case Elements.TIMESTAMP: return elements(array, array.timestamp, moment);
    case Elements.JSON: return elements(array, array.json, standIn);
    default: return UNKNOWN;
  }
}

function elements(array, list, write) {
  const nulls = array.nulls.toUint8Array();
  return bracketed(list.toArray().map((element, place) =>
    (nulls[place >> 3] ?? 0) >> (place & 7) & 1 ? "null" : write(element)));
}

export const integer = (number) => `"${number}"`;

export function float(number) {
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, number);
  return `"${Number.isNaN(number) ? NAN : view.getBigUint64(0).toString(16).padStart(16, "0")}"`;
}

const bytes = (data) => `"${Buffer.from(data.toUint8Array()).toString("base64")}"`;

const moment = ({ seconds, nanos }) => quote(timestamp(seconds, nanos));

function timestamp(seconds, nanos) {
  const second = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  return `${second}.${String(nanos).padStart(9, "0")}Z`;
}

export const bracketed = (elements) => `[${elements.join(",")}]`;

// JavaScript sorts by UTF-16, the form by UTF-8.
function braced(object) {
  const members = [...object].map(([name, value]) => [Buffer.from(name), name, value]);
  members.sort(([one], [other]) => Buffer.compare(one, other));
  return `{${members.map(([, name, value]) => `${quote(name)}:${value}`).join(",")}}`;
}

// JSON.stringify escapes what the form does, and no more.
export const quote = (text) => JSON.stringify(text);

// JSON text in place of a value: no typed value is an object.
export const standIn = (text) => `{"json":${quote(text)}}`;
