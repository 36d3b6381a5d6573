@0xd1c7a2f5b86e4093;
# The spanwire wire format. This file only ever grows: fields are added at the
# end, never renumbered, never reused. Golden messages in tests/golden pin it.
#
# A spanwire message is four ZeroMQ frames:
#
#   1. topic    bytes, ends in "/", e.g. "shop/orders_stream/orders/"
#   2. header   one Cap'n Proto message, root Header
#   3. columns  one Cap'n Proto message, root Columns (empty frame where none)
#   4. body     by Header.kind:
#                 changes     Cap'n Proto messages with root DataChangeRecord,
#                             one after the other, each single-segment in the
#                             standard stream framing (8 bytes, then the segment)
#                 tick        one Cap'n Proto message, root Tick
#                 snapshot    as changes
#                 notice      one Cap'n Proto message, root Notice
#                 deadLetter  one Cap'n Proto message, root DeadLetter
#
# Whoever wants something of a relay (repair, replay, a feed, a snapshot, work of a
# group) asks from a DEALER socket with one frame, root Request. The relay's ROUTER
# answers with one frame, root Reply, which in a Reply of kind message or work is
# followed by the four frames of a message. A request is 64 KiB at the most.
#
# Every message can be read on its own. Frames may arrive unaligned in memory:
# readers in C++ and Rust copy a frame to 8-byte alignment first, or use a
# reader that allows unaligned input.

struct Header {
  # Who only routes or audits reads this frame alone.
  formatMajor @0 :UInt16;          # 1; refuse a greater one
  bodyEncoding @1 :BodyEncoding;
  kind @2 :Kind;
  values @3 :Values;               # how the values of a changes body are written
  requiredFeatures @4 :UInt64;     # a reader that does not know a set bit refuses the message
  incarnation @5 :UInt64;          # random id of the relay process that sent this
  epoch @6 :UInt64;                # which ownership of the partition
  sequence @7 :UInt64;             # place in the flow: 0, 1, 2, ... without holes
  routingGeneration @8 :UInt32;
  count @9 :UInt32;                # number of changes (mods) in the body
  receivedAt @10 :Int64;           # nanoseconds since 1970 UTC: first byte of the oldest change left Spanner's channel
  sentAt @11 :Int64;               # nanoseconds since 1970 UTC: handed to the socket
  partition @12 :Data;             # first 16 bytes of SHA-256 of the partition token; a tick names its sender here
  columnsHash @13 :Data;           # first 16 bytes of SHA-256 of the columns frame
  first @14 :RecordVersion;        # the oldest change in the body
  last @15 :RecordVersion;         # the newest
  traceparent @16 :Text;           # W3C trace context, empty where none
  output @17 :UInt16;              # which output of the relay this went through, from 0: part of a flow's identity
  stage @18 :UInt32;               # how many moves of keys its partition had passed under this epoch: see Tick.Partition.stage

  enum Kind { changes @0; tick @1; snapshot @2; notice @3; deadLetter @4; }
  enum BodyEncoding { none @0; zstd @1; }
  enum Values { typed @0; json @1; }
}

struct Timestamp {
  seconds @0 :Int64;               # since 1970 UTC; years 0001 to 9999
  nanos @1 :UInt32;                # 0 to 999,999,999
}

struct RecordVersion {
  # Names one row change for ever. As text:
  # 2026-11-23T17:50:32.669475000Z/<transaction>/<sequence>/<mod>
  commitTimestamp :group {
    seconds @0 :Int64;
    nanos @1 :UInt32;
  }
  mod @2 :UInt32;
  transaction @3 :Text;            # Spanner's server_transaction_id
  sequence @4 :Text;               # Spanner's record_sequence; never a number
}

struct Columns {
  table @0 :Text;                  # with its schema where it has one: "sales.orders"
  columns @1 :List(Column);
}

struct Column {
  name @0 :Text;
  type @1 :Type;
  isPrimaryKey @2 :Bool;
  ordinalPosition @3 :Int64;       # from 1, as in the table definition
}

struct Type {
  code @0 :TypeCode;               # an ARRAY's is array
  annotation @1 :TypeAnnotation;
  arrayElement @2 :Type;           # of an ARRAY
  protoTypeFqn @3 :Text;           # of a PROTO or ENUM
  unknown @4 :Text;                # the type's JSON text, where this relay did not know its code
}

enum TypeCode {
  # Numbers as in google.spanner.v1.TypeCode.
  unspecified @0; bool @1; int64 @2; float64 @3; timestamp @4; date @5; string @6; bytes @7;
  array @8; struct @9; numeric @10; json @11; reserved12 @12; proto @13; enum @14;
  float32 @15; interval @16; uuid @17;
}

enum TypeAnnotation {
  # none, then as in google.spanner.v1.TypeAnnotationCode.
  none @0; reserved1 @1; pgNumeric @2; pgJsonb @3; pgOid @4;
}

struct DataChangeRecord {
  # Spanner's data change record. https://cloud.google.com/spanner/docs/change-streams/details
  commitTimestamp :group {
    seconds @0 :Int64;
    nanos @1 :UInt32;
  }
  modType @2 :ModType;
  valueCaptureType @3 :ValueCaptureType;
  isLastRecordInTransactionInPartition @4 :Bool;
  isSystemTransaction @5 :Bool;
  numberOfRecordsInTransaction @6 :Int64;
  numberOfPartitionsInTransaction @7 :Int64;
  serverTransactionId @8 :Text;
  recordSequence @9 :Text;
  transactionTag @10 :Text;
  mods @11 :List(Mod);

  enum ModType { unspecified @0; insert @1; update @2; delete @3; }
  enum ValueCaptureType {
    unspecified @0; oldAndNewValues @1; newRow @2; newValues @3; newRowAndOldValues @4;
  }
}

struct Mod {
  number @0 :UInt32;               # its place in Spanner's record, from 0: the last part of the record version
  union {
    typed :group {
      # keys[i] belongs to the i-th column that is part of the primary key, newValues[i] and
      # oldValues[i] to the i-th that is not, both in the order of the columns frame. A list
      # may be shorter than its columns: what is not there is missing.
      keys @1 :List(Value);
      newValues @2 :List(Value);
      oldValues @3 :List(Value);
      others @4 :List(Other);      # what has no such place
    }
    json :group {
      # The JSON text of each object as Spanner sent it.
      keys @5 :Text;
      newValues @6 :Text;
      oldValues @7 :Text;
    }
  }
}

struct Value {
  union {
    missing @0 :Void;              # not in this mod; not the same as null
    null @1 :Void;
    bool @2 :Bool;
    int64 @3 :Int64;               # INT64, ENUM, PG_OID
    float64 @4 :Float64;           # FLOAT64, and FLOAT32 widened
    text @5 :Text;                 # STRING, DATE, NUMERIC, JSON, INTERVAL, UUID
    bytes @6 :Data;                # BYTES, PROTO
    timestamp :group {
      seconds @7 :Int64;
      nanos @8 :UInt32;
    }
    array @9 :Array;
    json @10 :Text;                # JSON text as Spanner sent it: of a type not known, or that did not fit its column's type
  }
}

struct Array {
  nulls @0 :Data;                  # bit i % 8 of byte i / 8 is set where element i is null; empty where none is
  union {
    bool @1 :List(Bool);
    int64 @2 :List(Int64);
    float64 @3 :List(Float64);
    text @4 :List(Text);
    bytes @5 :List(Data);
    timestamp @6 :List(Timestamp);
    json @7 :List(Text);
  }
}

struct Other {
  # A value whose column the record does not describe, or describes with another role.
  place @0 :Place;
  name @1 :Text;
  json @2 :Text;                   # its JSON text as Spanner sent it

  enum Place { keys @0; newValues @1; oldValues @2; }
}

struct Tick {
  # Sent at least once a second on "{database}/{stream}/_tick/", behind the data of its sender; and at once
  # where a partition starts, ends, is released or passes a move of keys: before the next message of its sender.
  sender @0 :UInt16;               # which sender of this output, from 0
  senders @1 :UInt16;              # how many it has
  intervalMs @2 :UInt32;           # the next tick is due after this
  membershipGeneration @3 :UInt64;
  partitions @4 :List(Partition);  # every live one, and in 32 ticks those that ended
  flows @5 :List(FlowHead);        # those of this sender that changed since the last tick, and each once in 16 ticks
  relays @6 :List(Relay);
  complete @7 :Bool;               # it tells the head of every flow of its sender, of the partitions that it tells
  newest @8 :Timestamp;            # no change newer than this was sent before this tick; absent where none was

  struct Partition {
    id @0 :Data;                   # as Header.partition
    epoch @1 :UInt64;
    startsAt @2 :Timestamp;        # where this epoch started: changes after it are sent under it
    position @3 :Timestamp;        # all its changes up to here have been sent; absent where none is known yet
    parents @4 :List(Data);
    state @5 :State;
    children @6 :List(Data);       # of one that ended in children
    moves @7 :List(Move);
    stage @8 :UInt32;              # how many moves of keys it has passed under this epoch: its messages of this stage come behind

    enum State { live @0; ended @1; released @2; }
  }
  struct Move {
    at @0 :Timestamp;
    source @1 :Data;
    destination @2 :Data;
  }
  struct FlowHead {
    topic @0 :Text;
    partition @1 :Data;
    epoch @2 :UInt64;
    since @3 :UInt64;              # the flow's next sequence when the last tick was sent
    next @4 :UInt64;               # its next sequence now: since..next-1 were sent between the two ticks
    last @5 :RecordVersion;
  }
  struct Relay {
    incarnation @0 :UInt64;
    endpoints @1 :List(Text);
    replay @2 :List(Text);         # where it takes requests for repair, replay and snapshots
  }
}

struct Notice {
  # Something a consumer must be told apart from any change.
  union {
    unspecified @0 :Void;
    gap :group {
      # Changes of this topic and partition between the two cannot be had any more.
      topic @1 :Text;
      partition @2 :Data;
      after @3 :RecordVersion;
      before @4 :RecordVersion;
    }
  }
}

struct DeadLetter {
  # A change that could not be decoded, raw, on "{database}/{stream}/_dead/".
  version @0 :RecordVersion;       # as far as it could be read
  table @1 :Text;
  reason @2 :Text;
  raw @3 :Data;                    # the row as Spanner sent it: an encoded google.protobuf.Value
}

struct Request {
  # One frame, from a DEALER to a relay's ROUTER. What a kind does not name is left at its default.
  formatMajor @0 :UInt16;          # 1; refuse a greater one
  kind @1 :Kind;
  id @2 :UInt64;                   # names an exchange; the peer chooses it, and no other exchange of its has it
  credit @3 :UInt64;               # bytes of message frames that the peer takes in this exchange, from its beginning; only rises
  output @4 :UInt16;               # as Header.output
  topics @5 :List(Text);           # the beginnings of topics; of a repair, the flow's own
  stream @6 :Data;                 # first 16 bytes of SHA-256 of the stream's resource path; empty: whatever it is
  incarnation @7 :UInt64;
  partition @8 :Data;              # as Header.partition
  epoch @9 :UInt64;
  first @10 :UInt64;               # of a repair: the sequences first to last of one flow
  last @11 :UInt64;
  after @12 :Timestamp;            # of a replay: all changes later than this...
  until @13 :Timestamp;            # ...up to and including this
  rate @14 :UInt32;                # changes a second; 0: no limit
  limit @15 :UInt64;               # changes; 0: no limit
  tables @16 :List(Text);          # of a snapshot
  at @17 :Timestamp;               # of a snapshot: its timestamp; absent: one that the relay chooses
  group @18 :Text;
  member @19 :Text;
  delivery @20 :UInt64;            # as Reply.delivery
  handled @21 :UInt32;             # of an ack: how many of its changes are done with, from its first
  reason @22 :Text;                # of a reject: why the first change that is not handled cannot be

  enum Kind {
    unspecified @0; hello @1; credit @2; cancel @3; ping @4; heads @5; repair @6; feed @7; replay @8;
    snapshot @9; join @10; leave @11; ack @12; reject @13;
  }
}

struct Reply {
  # The first frame of a relay's answer.
  formatMajor @0 :UInt16;          # 1; refuse a greater one
  kind @1 :Kind;
  id @2 :UInt64;                   # of the exchange
  stream @3 :Data;                 # of a welcome: as Request.stream
  position @4 :Timestamp;          # of a progress or done: all up to here has been sent in this exchange
  oldest @5 :Timestamp;            # of a refused with reason gone: the oldest that can still be had
  reason @6 :Reason;               # of a refused
  text @7 :Text;                   # the same in words
  delivery @8 :UInt64;             # of a work: its number
  handled @9 :UInt32;              # of a work: how many of its changes were handled before, from its first
  deliveries @10 :UInt32;          # of a work: how often the first that was not has been delivered
  rowsDone @11 :UInt64;            # of a snapshot's progress
  rowsTotal @12 :UInt64;           # 0 where it is not known
  until @13 :UInt32;               # of a work: where it ends, before this one of its changes; 0: with the last

  enum Kind { unspecified @0; welcome @1; message @2; progress @3; done @4; refused @5; pong @6; work @7; }
  enum Reason {
    unspecified @0; malformed @1; unknownKind @2; unknownOutput @3; unknownTopic @4; gone @5; future @6;
    otherStream @7; tooMany @8; busy @9; neverSent @10; outOfOrder @11; tooLarge @12; failed @13; stopping @14;
    notMember @15;
  }
}
