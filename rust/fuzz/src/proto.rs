//! The messages of Spanner's streams, declared for `prost`.
//!
//! Sources: `google/protobuf/struct.proto`, `google/spanner/v1/result_set.proto`, `change_stream.proto`,
//! `type.proto`.

use std::collections::BTreeMap;

use prost::{Message, Oneof};

/// `google.protobuf.Value`.
#[derive(Clone, PartialEq, Message)]
pub struct Value {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6")]
    pub kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Kind {
    #[prost(int32, tag = "1")]
    Null(i32),
    #[prost(double, tag = "2")]
    Number(f64),
    #[prost(string, tag = "3")]
    Text(String),
    #[prost(bool, tag = "4")]
    Bool(bool),
    #[prost(message, tag = "5")]
    Struct(Struct),
    #[prost(message, tag = "6")]
    List(ListValue),
}

#[derive(Clone, PartialEq, Message)]
pub struct Struct {
    #[prost(btree_map = "string, message", tag = "1")]
    pub fields: BTreeMap<String, Value>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ListValue {
    #[prost(message, repeated, tag = "1")]
    pub values: Vec<Value>,
}

/// `google.spanner.v1.PartialResultSet`, its values left encoded.
#[derive(Clone, PartialEq, Message)]
pub struct PartialResultSet {
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub values: Vec<Vec<u8>>,
    #[prost(bool, tag = "3")]
    pub chunked_value: bool,
    #[prost(bytes = "vec", tag = "4")]
    pub resume_token: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct ChangeStreamRecord {
    #[prost(oneof = "Record", tags = "1, 2, 3, 4, 5")]
    pub record: Option<Record>,
}

#[derive(Clone, PartialEq, Oneof)]
pub enum Record {
    #[prost(message, tag = "1")]
    Data(DataChangeRecord),
    #[prost(message, tag = "2")]
    Heartbeat(Heartbeat),
    #[prost(message, tag = "3")]
    Start(PartitionStart),
    #[prost(message, tag = "4")]
    End(PartitionEnd),
    #[prost(message, tag = "5")]
    Event(PartitionEvent),
}

#[derive(Clone, PartialEq, Message)]
pub struct DataChangeRecord {
    #[prost(message, tag = "1")]
    pub commit_timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    pub record_sequence: String,
    #[prost(string, tag = "3")]
    pub server_transaction_id: String,
    #[prost(bool, tag = "4")]
    pub is_last_record: bool,
    #[prost(string, tag = "5")]
    pub table: String,
    #[prost(message, repeated, tag = "6")]
    pub column_metadata: Vec<ColumnMetadata>,
    #[prost(message, repeated, tag = "7")]
    pub mods: Vec<Mod>,
    #[prost(int32, tag = "8")]
    pub mod_type: i32,
    #[prost(int32, tag = "9")]
    pub value_capture_type: i32,
    #[prost(int32, tag = "10")]
    pub number_of_records: i32,
    #[prost(int32, tag = "11")]
    pub number_of_partitions: i32,
    #[prost(string, tag = "12")]
    pub transaction_tag: String,
    #[prost(bool, tag = "13")]
    pub is_system_transaction: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct ColumnMetadata {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, tag = "2")]
    pub column_type: Option<Type>,
    #[prost(bool, tag = "3")]
    pub is_primary_key: bool,
    #[prost(int64, tag = "4")]
    pub ordinal_position: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Type {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(message, optional, boxed, tag = "2")]
    pub array_element: Option<Box<Type>>,
    #[prost(int32, tag = "4")]
    pub annotation: i32,
    #[prost(string, tag = "5")]
    pub proto_type_fqn: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Mod {
    #[prost(message, repeated, tag = "1")]
    pub keys: Vec<ModValue>,
    #[prost(message, repeated, tag = "2")]
    pub old_values: Vec<ModValue>,
    #[prost(message, repeated, tag = "3")]
    pub new_values: Vec<ModValue>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ModValue {
    #[prost(int32, tag = "1")]
    pub index: i32,
    #[prost(message, tag = "2")]
    pub value: Option<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Heartbeat {
    #[prost(message, tag = "1")]
    pub timestamp: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PartitionStart {
    #[prost(message, tag = "1")]
    pub start: Option<Timestamp>,
    #[prost(string, tag = "2")]
    pub record_sequence: String,
    #[prost(string, repeated, tag = "3")]
    pub tokens: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PartitionEnd {
    #[prost(message, tag = "1")]
    pub end: Option<Timestamp>,
    #[prost(string, tag = "2")]
    pub record_sequence: String,
    #[prost(string, tag = "3")]
    pub token: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct PartitionEvent {
    #[prost(message, tag = "1")]
    pub commit_timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    pub record_sequence: String,
    #[prost(string, tag = "3")]
    pub token: String,
    #[prost(message, repeated, tag = "4")]
    pub move_ins: Vec<Move>,
    #[prost(message, repeated, tag = "5")]
    pub move_outs: Vec<Move>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Move {
    #[prost(string, tag = "1")]
    pub token: String,
}
