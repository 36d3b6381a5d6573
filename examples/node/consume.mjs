// Prints the version, table and keys of each change:
//
//     npm ci && npm run generate && node consume.mjs tcp://127.0.0.1:5560 shop/all_tables/

import { Message } from "capnp-es";
import { Subscriber } from "zeromq";

import { Columns, DataChangeRecord, Header, Header_Kind, Mod, Value } from "./envelope.js";

const [endpoint, topic] = process.argv.slice(2);
const socket = new Subscriber();
socket.connect(endpoint);
socket.subscribe(topic);

for await (const [, head, shape, body] of socket) {
  const header = read(head, Header);
  if (header.formatMajor > 1 || header.requiredFeatures || header.bodyEncoding) {
    throw new Error("this message needs a newer reader");
  }
  if (header.kind !== Header_Kind.CHANGES) continue; // a tick, a notice
  const columns = read(shape, Columns);
  // Messages lie one after the other: 4 zero bytes, 4 bytes with the length in words, the words.
  for (let at = 0; at < body.length; at += 8 + body.readUInt32LE(at + 4) * 8) {
    print(columns, read(body.subarray(at), DataChangeRecord));
  }
}

function read(bytes, Root) {
  return new Message(bytes, false).getRoot(Root);
}

function print(columns, record) {
  const { seconds, nanos } = record.commitTimestamp;
  const second = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  const committed = `${second}.${String(nanos).padStart(9, "0")}Z`;
  const names = columns.columns.filter((column) => column.isPrimaryKey).map((column) => column.name);
  for (const mod of record.mods) {
    const version = `${committed}/${record.serverTransactionId}/${record.recordSequence}/${mod.number}`;
    // A list may be shorter than its columns: what is not there is missing.
    const keys = mod.which() === Mod.JSON
      ? mod.json.keys
      : mod.typed.keys.map((cell, place) => `${names[place]}=${show(cell)}`).join(" ");
    console.log(`${version} ${columns.table} ${keys}`);
  }
}

function show(cell) {
  switch (cell.which()) {
    case Value.NULL: return "NULL";
    case Value.INT64: return cell.int64;
    case Value.TEXT: return cell.text;
    default: return "...";
  }
}
