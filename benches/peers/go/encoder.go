package main

import (
	"encoding/binary"
	"errors"
	"strings"

	"capnproto.org/go/capnp/v3"

	"relay/envelope"
)

const (
	frameBytes = 8        // of Cap'n Proto's stream framing, before a message of one segment
	mostBytes  = 64 << 20 // a record that does not fit into so much is not encoded
)

// An encoder writes records as spanwire's DataChangeRecord. Its parts are used again.
type encoder struct {
	values  envelope.Header_Values
	message capnp.Message
	typed   values
}

// append writes a record behind what is in the buffer.
func (e *encoder) append(b []byte, r *record, s *shape) ([]byte, error) {
	return appendMessage(b, &e.message, func(segment *capnp.Segment) error {
		return e.write(segment, r, s)
	})
}

func (e *encoder) write(segment *capnp.Segment, r *record, s *shape) error {
	root, err := envelope.NewRootDataChangeRecord(segment)
	if err != nil {
		return err
	}
	root.CommitTimestamp().SetSeconds(r.committed.seconds)
	root.CommitTimestamp().SetNanos(r.committed.nanos)
	root.SetModType(modType(r.modType))
	root.SetValueCaptureType(captureType(r.captureType))
	root.SetIsLastRecordInTransactionInPartition(r.isLast)
	root.SetIsSystemTransaction(r.isSystem)
	root.SetNumberOfRecordsInTransaction(r.records)
	root.SetNumberOfPartitionsInTransaction(r.partitions)
	mods, err := root.NewMods(int32(len(r.mods)))
	if err != nil {
		return err
	}
	for i, value := range r.mods {
		fields := list(value)
		if len(fields) != 3 {
			return errShape
		}
		mod := mods.At(i)
		mod.SetNumber(uint32(i))
		keys, new, old := fields[0].GetStringValue(), fields[1].GetStringValue(), fields[2].GetStringValue()
		if e.values == envelope.Header_Values_typed {
			err = e.typed.write(mod, s, keys, new, old)
		} else {
			mod.SetJson()
			json := mod.Json()
			err = errors.Join(json.SetKeys(keys), json.SetNewValues(new), json.SetOldValues(old))
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(
		root.SetServerTransactionId(r.transaction),
		root.SetRecordSequence(r.sequence),
		root.SetTransactionTag(r.tag),
	)
}

func modType(text string) envelope.DataChangeRecord_ModType {
	switch text {
	case "INSERT":
		return envelope.DataChangeRecord_ModType_insert
	case "UPDATE":
		return envelope.DataChangeRecord_ModType_update
	case "DELETE":
		return envelope.DataChangeRecord_ModType_delete
	}
	return envelope.DataChangeRecord_ModType_unspecified
}

func captureType(text string) envelope.DataChangeRecord_ValueCaptureType {
	switch text {
	case "OLD_AND_NEW_VALUES":
		return envelope.DataChangeRecord_ValueCaptureType_oldAndNewValues
	case "NEW_ROW":
		return envelope.DataChangeRecord_ValueCaptureType_newRow
	case "NEW_VALUES":
		return envelope.DataChangeRecord_ValueCaptureType_newValues
	case "NEW_ROW_AND_OLD_VALUES":
		return envelope.DataChangeRecord_ValueCaptureType_newRowAndOldValues
	}
	return envelope.DataChangeRecord_ValueCaptureType_unspecified
}

// appendMessage writes a message of one segment, in the standard framing, behind what is in the buffer and into
// its own memory: no copy from a buffer of the message's. What lies behind a buffer's length is zero, always.
//
// The library says that there is no room only in words, so the write is made again with more until that is
// more than any record takes.
func appendMessage(b []byte, m *capnp.Message, write func(*capnp.Segment) error) ([]byte, error) {
	for {
		start := len(b) + frameBytes
		if start < cap(b) {
			segment, err := m.Reset(capnp.SingleSegment(b[start:start:cap(b)]))
			if err == nil {
				err = write(segment)
			}
			if err == nil {
				size := len(segment.Data())
				b = b[:start+size]
				binary.LittleEndian.PutUint32(b[start-4:], uint32(size/8))
				return b, nil
			}
			clear(b[len(b):cap(b)])
			if cap(b) > mostBytes || !noRoom(err) {
				return b, err
			}
		}
		larger := make([]byte, len(b), max(2*cap(b), 1<<10))
		copy(larger, b)
		b = larger
	}
}

func noRoom(err error) bool { return strings.Contains(err.Error(), "read-only SingleSegmentArena") }
