// Values that came as JSON text, written by their columns' types.

import { bracketed, float, integer, quote, standIn } from "./canonical.mjs";
import { TypeAnnotation, TypeCode } from "./envelope.js";

const SPECIAL = new Map([['"NaN"', NaN], ['"Infinity"', Infinity], ['"-Infinity"', -Infinity]]);
const INSTANT = /^"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)"$/;
const DECIMAL = /^"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"$/;
const DATE = /^"(\d{1,4})(-\d\d-\d\d)"$/;
const UUID = /^"[\da-fA-F]{8}(?:-[\da-fA-F]{4}){3}-[\da-fA-F]{12}"$/;
// What ends in P or T has no part where it needs one.
const INTERVAL =
  /^"P(?:-?\d+Y)?(?:-?\d+M)?(?:-?\d+W)?(?:-?\d+D)?(?:T(?:-?\d+H)?(?:-?\d+M)?(?:-?\d+(?:\.\d+)?S)?)?(?<![PT])"$/;

// The values of an object's JSON text; what does not fit its column, or has none, is its text.
export function typed(text, role) {
  const object = new Map();
  const scanner = new Scanner(text);
  scanner.each("{", "}", () => {
    const name = JSON.parse(scanner.value());
    if (!scanner.take(":")) throw new Error("JSON text without its colon");
    const raw = scanner.value();
    if (object.has(name)) return;
    const read = role.get(name);
    object.set(name, read && raw === "null" ? "null" : read?.(raw) ?? standIn(raw));
  });
  return object;
}

// How a column is read: a function from the JSON text of a value that is not null to its JSON in the
// form, undefined where it does not fit.
export function reader(type) {
  if (type.code === TypeCode.ARRAY && type._hasArrayElement()) return array(type.arrayElement);
  return scalar(type) ?? (() => undefined);
}

function scalar(type) {
  if (type.annotation === TypeAnnotation.PG_OID) return whole;
  switch (type.code) {
    case TypeCode.BOOL: return (raw) => (raw === "true" || raw === "false" ? raw : undefined);
    case TypeCode.INT64:
    case TypeCode.ENUM: return whole;
    case TypeCode.FLOAT64: return real;
    case TypeCode.FLOAT32: return single;
    case TypeCode.STRING: return text;
    case TypeCode.DATE: return date;
    case TypeCode.INTERVAL: return interval;
    case TypeCode.UUID: return uuid;
    case TypeCode.NUMERIC: return type.annotation === TypeAnnotation.PG_NUMERIC ? pgNumeric : numeric;
    case TypeCode.JSON: return (raw) => (raw.startsWith('"') ? text(raw) : quote(raw));
    case TypeCode.BYTES:
    case TypeCode.PROTO: return bytes;
    case TypeCode.TIMESTAMP: return timestamp;
    default: return undefined;
  }
}

function array(element) {
  const read = scalar(element);
  return (raw) => {
    if (!raw.startsWith("[")) return undefined;
    const found = [];
    const scanner = new Scanner(raw);
    scanner.each("[", "]", () => {
      const one = scanner.value();
      if (one === "null" || (KNOW_NULL.includes(read) && one === '"NULL"')) found.push("null");
      else found.push(read ? read(one) : standIn(one));
    });
    return found.includes(undefined) ? undefined : bracketed(found);
  };
}

function whole(raw) {
  if (!/^(?:"-?\d{1,19}"|-?\d+)$/.test(raw)) return undefined;
  const number = BigInt(raw.replaceAll('"', ""));
  return number === BigInt.asIntN(64, number) ? integer(number) : undefined;
}

function real(raw) {
  if (SPECIAL.has(raw)) return float(SPECIAL.get(raw));
  return isNumber(raw) && Number.isFinite(Number(raw)) ? float(Number(raw)) : undefined;
}

const single = (raw) => (Number.isFinite(Math.fround(Number(raw))) || SPECIAL.has(raw) ? real(raw) : undefined);

const formed = (form) => (raw) => (form.test(raw) ? raw : undefined);
const interval = formed(INTERVAL);
const uuid = formed(UUID);

const numeric = (raw) => (isNumber(raw) ? quote(raw) : formed(DECIMAL)(raw));
const pgNumeric = (raw) => (raw === '"NaN"' ? raw : numeric(raw));

function date(raw) {
  const [, year, rest] = DATE.exec(raw) ?? [];
  return year && timestamp(`"${year.padStart(4, "0")}${rest}T00:00:00Z"`) && raw;
}

// Where the string "NULL" in an array is null: nothing of these types reads so.
const KNOW_NULL = [whole, numeric, pgNumeric, date, interval, uuid];

// Half a surrogate pair is something that JavaScript's strings can hold, and UTF-8 cannot.
function unquoted(raw) {
  const text = raw.startsWith('"') ? JSON.parse(raw) : undefined;
  return text?.isWellFormed() ? text : undefined;
}

function text(raw) {
  const text = unquoted(raw);
  return text === undefined ? undefined : quote(text);
}

function bytes(raw) {
  const text = unquoted(raw);
  if (text === undefined) return undefined;
  return Buffer.from(text, "base64").toString("base64") === text ? quote(text) : undefined;
}

function timestamp(raw) {
  const [, second, fraction = ""] = INSTANT.exec(raw) ?? [];
  if (second === undefined || second.startsWith("0000")) return undefined;
  const at = new Date(`${second}Z`);
  // A day that does not exist is taken for one of the next month.
  if (Number.isNaN(at.getTime()) || !at.toISOString().startsWith(second)) return undefined;
  return quote(`${second}.${fraction.padEnd(9, "0")}Z`);
}

const isNumber = (raw) => /^[-\d]/.test(raw);

// Walks JSON text that is known to be JSON.
class Scanner {
  #text;
  #at = 0;

  constructor(text) {
    this.#text = text;
  }

  // Calls `visit` at each member or element.
  each(open, close, visit) {
    if (!this.take(open)) throw new Error(`JSON text without its ${open}`);
    if (this.take(close)) return;
    do visit();
    while (this.take(","));
  }

  // Steps over a token, and the space around it, if it is next.
  take(token) {
    this.#space();
    if (this.#text[this.#at] !== token) return false;
    this.#at += 1;
    this.#space();
    return true;
  }

  // The text of the next value.
  value() {
    const begin = this.#at;
    let depth = 0;
    do {
      const next = this.#text[this.#at];
      if (next === undefined) throw new Error("JSON text that ends early");
      if (next === '"') this.#string();
      else if (depth === 0 && !"{[".includes(next)) this.#literal();
      else {
        depth += "{[".includes(next) ? 1 : "}]".includes(next) ? -1 : 0;
        this.#at += 1;
      }
    } while (depth > 0);
    return this.#text.slice(begin, this.#at);
  }

  #space() {
    while (" \t\n\r".includes(this.#text[this.#at] ?? "x")) this.#at += 1;
  }

  #string() {
    for (this.#at += 1; this.#text[this.#at] !== '"'; this.#at += 1) {
      if (this.#text[this.#at] === "\\") this.#at += 1;
      if (this.#at >= this.#text.length) throw new Error("JSON text that ends early");
    }
    this.#at += 1;
  }

  #literal() {
    while (!",]} \t\n\r".includes(this.#text[this.#at] ?? ",")) this.#at += 1;
  }
}
