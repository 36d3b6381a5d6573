//! What the fuzz targets compare the decoders with: other parsers of the same bytes.
//!
//! `prost` stands for protobuf, `serde_json` for JSON, the generated readers of the `capnp` crate for
//! Cap'n Proto. What is read with them is put together by the plainest code that does it, so that
//! decoder and oracle share no mistake. The same comparison with Google's own protobuf and client
//! is made in Python, over fewer cases (`tests/property/test_malformed.py`).

pub mod change_stream_record;
pub mod chunks;
pub mod envelope;
pub mod googlesql;
pub mod json;
pub mod postgresql;
pub mod proto;
pub mod result_set;
pub mod seen;
