// To be imported before capnp-es: its decoder takes a U+FEFF at the start of a text for a byte order
// mark and drops it. A text of Spanner's may well begin with one.

globalThis.TextDecoder = class extends TextDecoder {
  constructor(encoding = "utf-8", options = {}) {
    super(encoding, { ignoreBOM: true, ...options });
  }
};
