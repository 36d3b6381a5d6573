//! A query's messages as Spanner would send them, in each of the three shapes: the records that
//! `python/spanwire/bench/workload.py` makes, an insert of an order of about 400 bytes of JSON each.

use spanwire_core::wire::Shape;

use crate::change_streams::{column, mod_value, number, row, timestamp};
use crate::values::{Tree, field, list, text};

/// Messages of one query of one partition, and how much is in them.
pub struct Workload {
    /// Encoded `PartialResultSet`s.
    pub messages: Vec<Vec<u8>>,
    /// Mods in them.
    pub changes: u64,
}

/// What a workload is made of.
#[derive(Clone, Copy)]
pub struct Plan {
    /// How records arrive.
    pub shape: Shape,
    /// How many there are.
    pub records: u64,
    /// Mods in each of them.
    pub changes_per_record: u64,
    /// A message is as many records as reach this size.
    pub message_bytes: usize,
}

/// Name, type as Spanner writes it and as a number, and whether it is part of the key.
const COLUMNS: [(&str, &str, u64, bool); 10] = [
    ("OrderId", "INT64", 2, true),
    ("Region", "STRING", 6, true),
    ("Amount", "NUMERIC", 10, false),
    ("Customer", "STRING", 6, false),
    ("Details", "JSON", 11, false),
    ("Note", "STRING", 6, false),
    ("Paid", "BOOL", 1, false),
    ("Placed", "TIMESTAMP", 4, false),
    ("Quantity", "INT64", 2, false),
    ("Weight", "FLOAT64", 3, false),
];
const NOTE: &str = "left at the door of the neighbour, who was told by telephone; \
                    call again before the next delivery, please";

impl Plan {
    /// The records from `first` on. Each has a commit timestamp and a transaction of its own.
    pub fn build(&self, first: u64) -> Workload {
        let mut messages = Vec::new();
        let mut message = Vec::new();
        for record in first..first + self.records {
            let row = match self.shape {
                Shape::PostgreSql => self.postgresql(record),
                Shape::ChangeStreamRecord => self.change_stream_record(record),
                _ => self.googlesql(record),
            };
            message.extend(field(2, &row.encode()));
            if message.len() >= self.message_bytes {
                messages.push(closed(std::mem::take(&mut message)));
            }
        }
        if !message.is_empty() {
            messages.push(closed(message));
        }
        Workload { messages, changes: self.records * self.changes_per_record }
    }

    fn orders(&self, record: u64) -> impl Iterator<Item = Order> + use<> {
        let first = record % 50 * self.changes_per_record;
        (first..first + self.changes_per_record).map(Order)
    }

    fn googlesql(&self, record: u64) -> Tree {
        let columns: Vec<Tree> = (1..)
            .zip(COLUMNS)
            .map(|(place, (name, code, _, is_key)): (u64, _)| {
                let of_type = text(&format!(r#"{{"code":"{code}"}}"#));
                list([text(name), of_type, Tree::Bool(is_key), text(&place.to_string())])
            })
            .collect();
        let mods: Vec<Tree> = self
            .orders(record)
            .map(|order| list([text(&order.keys()), text(&order.new_values()), text("{}")]))
            .collect();
        let data = list([
            text(&commit_timestamp(record)),
            text("00000000"),
            text(&transaction(record)),
            Tree::Bool(true),
            text("orders"),
            list(columns),
            list(mods),
            text("INSERT"),
            text("NEW_ROW"),
            text("1"),
            text("1"),
            text(""),
            Tree::Bool(false),
        ]);
        list([list([list([data]), list([]), list([])])])
    }

    fn postgresql(&self, record: u64) -> Tree {
        let columns: Vec<String> = (1..)
            .zip(COLUMNS)
            .map(|(place, (name, code, _, is_key)): (u64, _)| {
                format!(
                    r#"{{"name":"{name}","type":{{"code":"{code}"}},"is_primary_key":{is_key},"ordinal_position":{place}}}"#
                )
            })
            .collect();
        let mods: Vec<String> = self
            .orders(record)
            .map(|order| {
                format!(
                    r#"{{"keys":{},"new_values":{},"old_values":{{}}}}"#,
                    order.keys(),
                    order.new_values()
                )
            })
            .collect();
        text(&format!(
            concat!(
                r#"{{"data_change_record":{{"commit_timestamp":"{}","record_sequence":"00000000","#,
                r#""server_transaction_id":"{}","is_last_record_in_transaction_in_partition":true,"#,
                r#""table_name":"orders","column_types":[{}],"mods":[{}],"mod_type":"INSERT","#,
                r#""value_capture_type":"NEW_ROW","number_of_records_in_transaction":1,"#,
                r#""number_of_partitions_in_transaction":1,"transaction_tag":"","#,
                r#""is_system_transaction":false}}}}"#
            ),
            commit_timestamp(record),
            transaction(record),
            columns.join(","),
            mods.join(",")
        ))
    }

    fn change_stream_record(&self, record: u64) -> Tree {
        let columns = (1..)
            .zip(COLUMNS)
            .map(|(place, (name, _, code, is_key)): (u64, _)| column(name, &number(1, code), is_key, place));
        let mods = self.orders(record).map(|order| field(7, &order.mod_values()));
        let fields = [
            timestamp(1, 1_795_456_232, record * 1_000),
            field(2, b"83365be2414b3aae-00000000"),
            field(3, transaction(record).as_bytes()),
            number(4, 1),
            field(5, b"orders"),
            columns.collect::<Vec<_>>().concat(),
            mods.collect::<Vec<_>>().concat(),
            number(8, 10),
            number(9, 30),
            number(10, 1),
            number(11, 1),
        ];
        row(&field(1, &fields.concat()))
    }
}

fn closed(mut message: Vec<u8>) -> Vec<u8> {
    message.extend(field(4, b"resume"));
    message
}

fn commit_timestamp(record: u64) -> String {
    format!("2026-11-23T17:50:32.{record:06}Z")
}

fn transaction(record: u64) -> String {
    format!("{record:019}=")
}

/// One row that was inserted.
#[derive(Clone, Copy)]
struct Order(u64);

impl Order {
    fn id(self) -> u64 {
        7_000_000_000 + self.0
    }

    fn amount(self) -> String {
        format!("{}.25", 100 + self.0 % 900)
    }

    fn customer(self) -> String {
        format!("customer-{:08}", self.0)
    }

    fn details(self) -> String {
        format!(r#"{{"items":[{{"sku":"A-{:05}","count":3}}]}}"#, self.0)
    }

    fn placed(self) -> String {
        format!("2026-11-23T17:50:32.6694{:02}Z", self.0 % 100)
    }

    fn keys(self) -> String {
        format!(r#"{{"OrderId":"{}","Region":"eu-west"}}"#, self.id())
    }

    fn new_values(self) -> String {
        format!(
            concat!(
                r#"{{"Amount":"{}","Customer":"{}","Details":"{}","Note":"{}","Paid":true,"#,
                r#""Placed":"{}","Quantity":"{}","Weight":12.5}}"#
            ),
            self.amount(),
            self.customer(),
            self.details().replace('"', r#"\""#),
            NOTE,
            self.placed(),
            self.0
        )
    }

    /// The fields of a `ChangeStreamRecord`'s `Mod`.
    fn mod_values(self) -> Vec<u8> {
        let values = [
            text(&self.id().to_string()),
            text("eu-west"),
            text(&self.amount()),
            text(&self.customer()),
            text(&self.details()),
            text(NOTE),
            Tree::Bool(true),
            text(&self.placed()),
            text(&self.0.to_string()),
            Tree::Number(12.5),
        ];
        (0..)
            .zip(values)
            .flat_map(|(place, value)| mod_value(if place < 2 { 1 } else { 3 }, place, &value))
            .collect()
    }
}
