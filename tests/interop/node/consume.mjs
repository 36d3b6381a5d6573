// Prints changes in canonical form (docs/canonical.md):
//
//     node consume.mjs TOPIC COUNT ENDPOINT...
//
// ends after COUNT changes. A line "joined" on stderr says that ticks came from every endpoint:
// nothing that is sent from then on is missed.

import "./whole_text.mjs";

import { Message } from "capnp-es";
import { Subscriber } from "zeromq";

import { Shape, line } from "./canonical.mjs";
import { Columns, DataChangeRecord, Header, Header_BodyEncoding, Header_Kind } from "./envelope.js";

const FORMAT_MAJOR = 1;
const FEATURES = 0n; // the bits of requiredFeatures that this reader knows

async function main(topic, count, ...endpoints) {
  let left = Number(count);
  const socket = new Subscriber({ receiveHighWaterMark: 0 });
  for (const endpoint of endpoints) socket.connect(endpoint);
  socket.subscribe(topic);
  const senders = new Set();
  for await (const [, head, columns, body] of socket) {
    const header = read(head, Header);
    accept(header);
    if (header.kind === Header_Kind.TICK) {
      const known = senders.size;
      senders.add(Buffer.from(header.partition.toUint8Array()).toString("hex"));
      if (senders.size > known && senders.size === endpoints.length) console.error("joined");
    }
    if (header.kind !== Header_Kind.CHANGES) continue;

    const shape = new Shape(read(columns, Columns));
    // Messages lie one after the other: 4 zero bytes, 4 bytes with the length in words, the words.
    for (let at = 0; at < body.length; at += 8 + body.readUInt32LE(at + 4) * 8) {
      const record = read(body.subarray(at), DataChangeRecord);
      for (const mod of record.mods.toArray().slice(0, left)) {
        process.stdout.write(line(record, mod, shape) + "\n");
        left -= 1;
      }
    }
    if (left === 0) break;
  }
  socket.close();
}

// Refuses a message that takes a newer reader.
function accept(header) {
  const unknown = header.requiredFeatures & ~FEATURES;
  if (header.formatMajor > FORMAT_MAJOR) {
    throw new Error(`refused: formatMajor ${header.formatMajor}, and this reader knows ${FORMAT_MAJOR}: get a newer one`);
  }
  if (unknown) {
    throw new Error(`refused: requiredFeatures 0x${unknown.toString(16)}, which this reader does not know: get a newer one`);
  }
  if (header.bodyEncoding !== Header_BodyEncoding.NONE) {
    throw new Error("refused: a bodyEncoding that this reader does not know: get a newer one");
  }
}

function read(bytes, Root) {
  return new Message(bytes, false).getRoot(Root);
}

try {
  await main(...process.argv.slice(2));
} catch (error) {
  console.error(`consume: ${error.message}`);
  process.exitCode = 1;
}
