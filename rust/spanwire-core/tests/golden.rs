//! Golden messages: what every build has written is read, and what this one writes is frozen, in
//! `tests/golden`.
//!
//! A generation is a folder with the `envelope.capnp` of its time and the messages written by it: a
//! folder each, with the four frames as they go over the wire and what they mean. `make golden`
//! writes what is missing, a whole generation where the schema has grown. None is ever overwritten,
//! since relays and consumers out there speak it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use spanwire_core::change::{
    Column, ColumnTypes, DataChangeRecord, Mod, ModType, Timestamp, Type, TypeAnnotation, TypeCode,
    ValueCaptureType,
};
use spanwire_core::envelope::read::{self, Value};
use spanwire_core::envelope::{
    Body, Columns, DeadLetter, FlowHead, Header, Kind, Move, PartitionState, Relay, Tick, TickPartition,
    Values, partition_hash,
};
use spanwire_core::{RecordVersion, Result};

const FRAMES: [&str; 4] = ["1-topic.bin", "2-header.bin", "3-columns.bin", "4-body.bin"];

// ---------------------------------------------------------------- what the messages say

fn columns() -> Columns {
    let of = |code| Type {
        code,
        annotation: TypeAnnotation::None,
        array_element: None,
        proto_type_fqn: String::new(),
        unknown: String::new(),
    };
    let named = |code, fqn: &str| Type { proto_type_fqn: fqn.into(), ..of(code) };
    let annotated = |code, annotation| Type { annotation, ..of(code) };
    let many = |element| Type { array_element: Some(Box::new(element)), ..of(TypeCode::Array) };
    let vector = Type { unknown: r#"{"code":"VECTOR"}"#.into(), ..of(TypeCode::Unspecified) };
    let columns = [
        ("Id", of(TypeCode::Int64)),
        ("Region", of(TypeCode::String)),
        ("Bool", of(TypeCode::Bool)),
        ("Int64", of(TypeCode::Int64)),
        ("Float64", of(TypeCode::Float64)),
        ("Float32", of(TypeCode::Float32)),
        ("Timestamp", of(TypeCode::Timestamp)),
        ("Date", of(TypeCode::Date)),
        ("String", of(TypeCode::String)),
        ("Bytes", of(TypeCode::Bytes)),
        ("Numeric", of(TypeCode::Numeric)),
        ("PgNumeric", annotated(TypeCode::Numeric, TypeAnnotation::PgNumeric)),
        ("Json", of(TypeCode::Json)),
        ("PgJsonb", annotated(TypeCode::Json, TypeAnnotation::PgJsonb)),
        ("PgOid", annotated(TypeCode::Int64, TypeAnnotation::PgOid)),
        ("Proto", named(TypeCode::Proto, "shop.Address")),
        ("Enum", named(TypeCode::Enum, "shop.State")),
        ("Interval", of(TypeCode::Interval)),
        ("Uuid", of(TypeCode::Uuid)),
        ("Bools", many(of(TypeCode::Bool))),
        ("Int64s", many(of(TypeCode::Int64))),
        ("Float64s", many(of(TypeCode::Float64))),
        ("Timestamps", many(of(TypeCode::Timestamp))),
        ("Strings", many(of(TypeCode::String))),
        ("ByteStrings", many(of(TypeCode::Bytes))),
        ("Vector", vector.clone()),
        ("Vectors", many(vector)),
        ("Misfit", of(TypeCode::Int64)),
        ("Null", of(TypeCode::String)),
        ("Missing", of(TypeCode::String)),
    ];
    let column = |(ordinal_position, (name, column_type)): (i64, (&str, Type))| Column {
        name: name.into(),
        column_type,
        is_primary_key: ordinal_position <= 2,
        ordinal_position,
    };
    Columns::new("sales.orders", (1..).zip(columns).map(column).collect())
}

const KEYS: &str = r#"{"Id":"-9223372036854775808","Region":"eu-west"}"#;
const NEW: &str = concat!(
    r#"{"Bool":true,"Int64":"9223372036854775807","Float64":-0.1,"Float32":"Infinity","#,
    r#""Timestamp":"9999-12-31T23:59:59.999999999Z","Date":"2026-11-23","String":"tab\t, quote \", \u00e9, 😀","#,
    r#""Bytes":"AAEC/f7/","Numeric":"-99999999999999999999999999999.999999999","PgNumeric":"NaN","#,
    r#""Json":"{\"a\":[1,\"\\n\",null]}","PgJsonb":"[]","PgOid":"4294967295","Proto":"CgR0ZXN0","Enum":"2","#,
    r#""Interval":"P1Y2M3DT4H5M6.5S","Uuid":"f81d4fae-7dec-11d0-a765-00a0c91e6bf6","Bools":[true,null,false],"#,
    r#""Int64s":["1",null,"NULL","-4"],"Float64s":[1.5,"NaN",null],"Timestamps":["0001-01-01T00:00:00Z",null],"#,
    r#""Strings":["",null,"x\ny"],"ByteStrings":["",null,"/w=="],"Vector":{"dims":[1,2]},"Vectors":[[1],null],"#,
    r#""Misfit":"twelve","Null":null,"Stranger":{"not":"described"}}"#
);
const OLD: &str = r#"{"Bool":null,"Strings":[],"String":""}"#;

fn write_body(values: Values) -> Vec<u8> {
    let record = DataChangeRecord {
        commit_timestamp: Timestamp { seconds: 1_795_456_232, nanos: 669_475_000 },
        record_sequence: "00000001".into(),
        server_transaction_id: "NzgxNDU2MDAyMjk5NjUzMTg1Nw==".into(),
        is_last_record_in_transaction_in_partition: true,
        table_name: "sales.orders".into(),
        column_types: ColumnTypes::GoogleSql(&[]),
        mods: &[
            Mod { keys: KEYS, new_values: NEW, old_values: OLD },
            Mod { keys: r#"{"Id":"2"}"#, new_values: "{}", old_values: "{}" },
        ],
        mod_type: ModType::Update,
        value_capture_type: ValueCaptureType::OldAndNewValues,
        number_of_records_in_transaction: 3,
        number_of_partitions_in_transaction: 2,
        transaction_tag: "checkout".into(),
        is_system_transaction: false,
    };
    let deleted = DataChangeRecord {
        commit_timestamp: Timestamp { seconds: 1_795_456_233, nanos: 0 },
        record_sequence: "00000000".into(),
        mods: &[Mod { keys: r#"{"Region":"us-east","Id":"3"}"#, new_values: "{}", old_values: "{}" }],
        mod_type: ModType::Delete,
        value_capture_type: ValueCaptureType::NewRow,
        is_last_record_in_transaction_in_partition: false,
        transaction_tag: "".into(),
        is_system_transaction: true,
        ..record.clone()
    };
    let mut body = Body::default();
    body.append(&record, &columns(), values).unwrap();
    body.append(&deleted, &columns(), values).unwrap();
    body.into_buffer()
}

fn version(seconds: i64, sequence: &str, number: u32) -> RecordVersion {
    RecordVersion {
        commit_timestamp: Timestamp { seconds, nanos: 669_475_000 },
        transaction: "NzgxNDU2MDAyMjk5NjUzMTg1Nw==".into(),
        sequence: sequence.into(),
        number,
    }
}

fn header(kind: Kind, values: Values) -> Header {
    Header {
        kind,
        values,
        incarnation: 0xFEDC_BA98_7654_3210,
        output: 5,
        epoch: 7,
        sequence: 42,
        stage: 2,
        routing_generation: 3,
        count: 3,
        received_at: 1_795_456_232_700_000_000,
        sent_at: 1_795_456_232_700_100_000,
        partition: partition_hash("token-1"),
        columns_hash: Some(columns().hash()),
        first: Some(version(1_795_456_232, "00000001", 0)),
        last: Some(version(1_795_456_233, "00000000", 0)),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into(),
    }
}

fn bare_header(kind: Kind) -> Header {
    let traceparent = String::new();
    Header {
        count: 0,
        columns_hash: None,
        first: None,
        last: None,
        traceparent,
        ..header(kind, Values::Typed)
    }
}

fn tick() -> Tick {
    let at = |seconds| Timestamp { seconds, nanos: 5 };
    Tick {
        sender: 1,
        senders: 2,
        interval_ms: 1_000,
        membership_generation: 9,
        partitions: vec![
            TickPartition {
                id: partition_hash("token-1"),
                epoch: 7,
                starts_at: Some(at(1_795_456_000)),
                position: Some(at(1_795_456_233)),
                parents: vec![partition_hash("parent-1"), partition_hash("parent-2")],
                state: PartitionState::Live,
                children: Vec::new(),
                moves: vec![Move {
                    at: at(1_795_456_100),
                    source: partition_hash("token-2"),
                    destination: partition_hash("token-1"),
                }],
                stage: 2,
            },
            TickPartition {
                id: partition_hash("token-2"),
                epoch: 1,
                starts_at: None,
                position: None,
                parents: Vec::new(),
                state: PartitionState::Ended,
                children: vec![partition_hash("child")],
                moves: Vec::new(),
                stage: 0,
            },
        ],
        flows: vec![FlowHead {
            topic: "shop/orders_stream/sales.orders/".into(),
            partition: partition_hash("token-1"),
            epoch: 7,
            since: 40,
            next: 43,
            last: Some(version(1_795_456_233, "00000000", 0)),
        }],
        relays: vec![Relay {
            incarnation: 0xFEDC_BA98_7654_3210,
            endpoints: vec!["tcp://10.0.0.1:5555".into(), "tcp://10.0.0.1:5556".into()],
            replay: vec!["tcp://10.0.0.1:5557".into()],
        }],
        complete: true,
        newest: Some(at(1_795_456_240)),
    }
}

fn dead_letter() -> DeadLetter {
    DeadLetter {
        version: version(1_795_456_232, "00000001", 0),
        table: "sales.orders".into(),
        reason: "new_values is not JSON: a comma or the end was expected at byte 17".into(),
        raw: vec![0x32, 0x03, 0x0a, 0x01, 0x00],
    }
}

/// Name and frames of each message, as today's code writes them.
fn messages() -> Vec<(&'static str, [Vec<u8>; 4])> {
    let topic = |last: &str| format!("shop/orders_stream/{last}/").into_bytes();
    let changes = |values| {
        let frames = [header(Kind::Changes, values).encode(), columns().frame().to_vec(), write_body(values)];
        let [header, columns, body] = frames;
        [topic("sales.orders"), header, columns, body]
    };
    let letter_header = Header {
        first: Some(dead_letter().version),
        last: Some(dead_letter().version),
        ..bare_header(Kind::DeadLetter)
    };
    vec![
        ("typed", changes(Values::Typed)),
        ("json", changes(Values::Json)),
        ("tick", [topic("_tick"), bare_header(Kind::Tick).encode(), Vec::new(), tick().encode()]),
        ("dead-letter", [topic("_dead"), letter_header.encode(), Vec::new(), dead_letter().encode()]),
    ]
}

// ---------------------------------------------------------------- what was read, as JSON

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn hexes(ids: &[[u8; 16]]) -> Vec<String> {
    ids.iter().map(|id| hex(id)).collect()
}

fn header_json(header: &Header) -> Json {
    let mut json = json!({
        "kind": format!("{:?}", header.kind), "values": format!("{:?}", header.values),
        "incarnation": format!("{:016x}", header.incarnation), "epoch": header.epoch, "sequence": header.sequence,
        "routing_generation": header.routing_generation, "count": header.count,
        "received_at": header.received_at.to_string(), "sent_at": header.sent_at.to_string(),
        "partition": hex(&header.partition), "columns_hash": header.columns_hash.map(|hash| hex(&hash)),
        "first": header.first.as_ref().map(ToString::to_string),
        "last": header.last.as_ref().map(ToString::to_string), "traceparent": header.traceparent,
    });
    // What older generations do not have.
    if header.output != 0 {
        json["output"] = header.output.into();
    }
    if header.stage != 0 {
        json["stage"] = header.stage.into();
    }
    json
}

fn type_json(of: &Type) -> Json {
    json!({
        "code": format!("{:?}", of.code), "annotation": format!("{:?}", of.annotation),
        "array_element": of.array_element.as_deref().map(type_json),
        "proto_type_fqn": of.proto_type_fqn, "unknown": of.unknown,
    })
}

fn columns_json(columns: &Columns) -> Json {
    let column = |column: &Column| {
        json!({
            "name": column.name, "type": type_json(&column.column_type),
            "is_primary_key": column.is_primary_key, "ordinal_position": column.ordinal_position,
        })
    };
    json!({ "table": columns.table(), "columns": columns.columns().iter().map(column).collect::<Vec<_>>() })
}

fn value_json(value: Value<'_>) -> Result<Json> {
    Ok(match value {
        Value::Missing => json!({ "missing": true }),
        Value::Null => json!({ "null": true }),
        Value::Bool(value) => json!({ "bool": value }),
        Value::Int64(value) => json!({ "int64": value.to_string() }),
        Value::Float64(value) => json!({ "float64": format!("{:016x}", value.to_bits()) }),
        Value::Text(text) => json!({ "text": text }),
        Value::Bytes(bytes) => json!({ "bytes": hex(bytes) }),
        Value::Timestamp(value) => json!({ "timestamp": value.to_string() }),
        Value::Array(array) => {
            json!({ "array": array.iter().map(|each| value_json(each?)).collect::<Result<Vec<_>>>()? })
        }
        Value::Json(text) => json!({ "json": text }),
    })
}

fn cells_json(cells: read::Cells<'_, '_>) -> Result<Json> {
    cells
        .map(|cell| {
            let (column, value) = cell?;
            Ok((column.name.clone(), value_json(value)?))
        })
        .collect::<Result<serde_json::Map<_, _>>>()
        .map(Json::Object)
}

fn mod_json(each: &read::Mod<'_>, columns: &Columns) -> Result<Json> {
    if each.values()? == Values::Json {
        let json = each.json()?;
        return Ok(json!({
            "number": each.number(), "keys": json.keys, "new_values": json.new_values, "old_values": json.old_values,
        }));
    }
    let others = each.others()?.map(|other| {
        let other = other?;
        Ok(json!({ "place": format!("{:?}", other.place), "name": other.name, "json": other.json }))
    });
    Ok(json!({
        "number": each.number(), "keys": cells_json(each.keys(columns)?)?,
        "new_values": cells_json(each.new_values(columns)?)?, "old_values": cells_json(each.old_values(columns)?)?,
        "others": others.collect::<Result<Vec<_>>>()?,
    }))
}

fn body_json(body: &[u8], columns: &Columns) -> Result<Json> {
    let record = |record: read::Record<'_>| {
        Ok(json!({
            "commit_timestamp": record.commit_timestamp()?.to_string(),
            "mod_type": format!("{:?}", record.mod_type()?),
            "value_capture_type": format!("{:?}", record.value_capture_type()?),
            "is_last_record_in_transaction_in_partition": record.is_last_record_in_transaction_in_partition(),
            "is_system_transaction": record.is_system_transaction(),
            "number_of_records_in_transaction": record.number_of_records_in_transaction(),
            "number_of_partitions_in_transaction": record.number_of_partitions_in_transaction(),
            "server_transaction_id": record.server_transaction_id()?, "record_sequence": record.record_sequence()?,
            "transaction_tag": record.transaction_tag()?,
            "mods": record.mods()?.map(|each| mod_json(&each, columns)).collect::<Result<Vec<_>>>()?,
        }))
    };
    Ok(Json::Array(read::records(body).map(|each| record(each?)).collect::<Result<_>>()?))
}

fn tick_json(tick: &Tick) -> Json {
    let at = |timestamp: &Timestamp| timestamp.to_string();
    let partition = |each: &TickPartition| {
        let moved = |each: &Move| json!([at(&each.at), hex(&each.source), hex(&each.destination)]);
        json!({
            "id": hex(&each.id), "epoch": each.epoch, "starts_at": each.starts_at.as_ref().map(at),
            "position": each.position.as_ref().map(at), "parents": hexes(&each.parents),
            "state": format!("{:?}", each.state), "children": hexes(&each.children),
            "moves": each.moves.iter().map(moved).collect::<Vec<_>>(),
        })
    };
    let flow = |each: &FlowHead| {
        json!({
            "topic": each.topic, "partition": hex(&each.partition), "epoch": each.epoch, "since": each.since,
            "next": each.next, "last": each.last.as_ref().map(ToString::to_string),
        })
    };
    let relay = |each: &Relay| json!([format!("{:016x}", each.incarnation), each.endpoints]);
    json!({
        "sender": tick.sender, "senders": tick.senders, "interval_ms": tick.interval_ms,
        "membership_generation": tick.membership_generation,
        "partitions": tick.partitions.iter().map(partition).collect::<Vec<_>>(),
        "flows": tick.flows.iter().map(flow).collect::<Vec<_>>(),
        "relays": tick.relays.iter().map(relay).collect::<Vec<_>>(),
    })
}

fn message_json([topic, header, columns, body]: &[Vec<u8>; 4]) -> Result<Json> {
    let header = Header::decode(header)?;
    let mut message = json!({ "topic": String::from_utf8_lossy(topic), "header": header_json(&header) });
    match header.kind {
        Kind::Tick => message["tick"] = tick_json(&Tick::decode(body)?),
        Kind::DeadLetter => {
            let letter = DeadLetter::decode(body)?;
            message["dead_letter"] = json!({
                "version": letter.version.to_string(), "table": letter.table, "reason": letter.reason,
                "raw": hex(&letter.raw),
            });
        }
        Kind::Changes | Kind::Snapshot | Kind::Notice => {
            let columns = Columns::decode(columns)?;
            assert_eq!(header.columns_hash, Some(columns.hash()), "the header names its columns frame");
            message["columns"] = columns_json(&columns);
            message["records"] = body_json(body, &columns)?;
        }
    }
    Ok(message)
}

// ---------------------------------------------------------------- the generations

const SCHEMA: &str = "envelope.capnp";

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden")
}

fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_dir()).collect()
}

fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap().to_string_lossy().into_owned()
}

/// From the oldest to the newest. What else is frozen beside them has no number: cursors.
fn generations() -> Vec<PathBuf> {
    let number = |folder: &PathBuf| name_of(folder).parse::<u32>().ok();
    let mut generations = folders_in(&golden());
    generations.retain(|folder| number(folder).is_some());
    generations.sort_by_key(number);
    assert!(!generations.is_empty());
    generations
}

fn frozen(folder: &Path) -> [Vec<u8>; 4] {
    FRAMES.map(|frame| {
        let path = folder.join(frame);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    })
}

fn todays_schema() -> PathBuf {
    golden().join("../../python/spanwire").join(SCHEMA)
}

/// A schema without its comments, which do not make another one.
fn declarations(schema: &Path) -> String {
    let text = fs::read_to_string(schema).unwrap();
    text.lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim_end())
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

fn has_todays_schema(generation: &Path) -> bool {
    declarations(&generation.join(SCHEMA)) == declarations(&todays_schema())
}

fn write_missing() {
    let mut generation = generations().pop().unwrap();
    if !has_todays_schema(&generation) {
        let number: u32 = name_of(&generation).parse().unwrap();
        generation = golden().join((number + 1).to_string());
        fs::create_dir(&generation).unwrap();
        fs::copy(todays_schema(), generation.join(SCHEMA)).unwrap();
    }
    for (name, frames) in messages() {
        let folder = generation.join(name);
        if folder.exists() {
            continue;
        }
        fs::create_dir(&folder).unwrap();
        for (frame, bytes) in FRAMES.iter().zip(&frames) {
            fs::write(folder.join(frame), bytes).unwrap();
        }
        let meaning = serde_json::to_string_pretty(&message_json(&frames).unwrap()).unwrap();
        fs::write(folder.join("expected.json"), meaning + "\n").unwrap();
    }
}

/// That all of `then` is in `now`, which may say more: fields that its writer did not know.
fn assert_still_means(now: &Json, then: &Json, at: &str) {
    match (now, then) {
        (Json::Object(now), Json::Object(then)) => {
            for (name, then) in then {
                let now = now.get(name).unwrap_or_else(|| panic!("{at}.{name}: is gone"));
                assert_still_means(now, then, &format!("{at}.{name}"));
            }
        }
        (Json::Array(now), Json::Array(then)) => {
            assert_eq!(now.len(), then.len(), "{at}");
            for (place, (now, then)) in now.iter().zip(then).enumerate() {
                assert_still_means(now, then, &format!("{at}[{place}]"));
            }
        }
        _ => assert_eq!(now, then, "{at}"),
    }
}

// ---------------------------------------------------------------- the tests

/// Messages of every generation are read to what they meant when they were written.
#[test]
fn what_earlier_builds_wrote_means_what_it_meant() {
    for generation in generations() {
        let messages = folders_in(&generation);
        assert!(messages.len() >= 4, "{}", generation.display());
        for folder in messages {
            let expected = fs::read(folder.join("expected.json")).unwrap();
            let expected: Json = serde_json::from_slice(&expected).unwrap();
            let name = format!("{}/{}", name_of(&generation), name_of(&folder));
            assert_still_means(&message_json(&frozen(&folder)).unwrap(), &expected, &name);
        }
    }
}

/// Byte for byte: a change of what goes over the wire is a new generation, made on purpose.
#[test]
fn what_this_build_writes_is_the_newest_generation() {
    if std::env::var_os("SPANWIRE_WRITE_GOLDEN").is_some() {
        write_missing();
    }
    let newest = generations().pop().unwrap();
    assert!(has_todays_schema(&newest), "{SCHEMA} has grown: run `make golden`");
    let messages = messages();
    assert_eq!(messages.len(), folders_in(&newest).len());
    for (name, frames) in messages {
        let folder = newest.join(name);
        assert!(folder.exists(), "{name} is not frozen yet: run `make golden`");
        for ((frame, now), then) in FRAMES.iter().zip(&frames).zip(&frozen(&folder)) {
            assert_eq!(now, then, "{name}: {frame} as it is written now");
        }
    }
}

/// A JSON body of any generation becomes the typed body that was written of the same changes.
#[test]
fn frozen_json_read_as_typed_is_the_frozen_typed_message() {
    for generation in generations() {
        let [_, _, columns, json] = frozen(&generation.join("json"));
        let [_, _, _, typed] = frozen(&generation.join("typed"));
        let columns = Columns::decode(&columns).unwrap();
        let converted = read::typed(&json, &columns).unwrap();
        assert_eq!(body_json(&converted, &columns).unwrap(), body_json(&typed, &columns).unwrap());
        assert!(converted == typed || generation != generations().pop().unwrap(), "the bytes of the newest");
    }
}
