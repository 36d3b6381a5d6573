package main

import (
	"sync"

	"relay/envelope"
)

// A flow is the messages of one topic from one partition.
type flow struct {
	topic, partition []byte
	sequence         uint64 // of its next message
	open             *message
	shape            *shape // of the open message
	shapes           []*shape
}

// shapeOf is the shape of a record's columns; those that were met before are kept.
func (f *flow) shapeOf(r *record) (*shape, error) {
	for _, known := range f.shapes {
		if known.is(r.columns) {
			return known, nil
		}
	}
	made, err := newShape(r.table, r.columns)
	if err == nil {
		f.shapes = append(f.shapes, made)
	}
	return made, err
}

// A message is what is sent at once. It and its body are used again.
type message struct {
	flow        *flow
	shape       *shape
	values      envelope.Header_Values
	sequence    uint64
	count       int
	received    int64
	first, last version
	body        []byte
}

var messages = sync.Pool{New: func() any { return new(message) }}

// newMessage is an empty message with room for a body of so many bytes, and mostly for the record that closes it.
func newMessage(bytes int) *message {
	m := messages.Get().(*message)
	if m.body == nil {
		m.body = make([]byte, 0, 2*bytes)
	}
	return m
}

// release gives the message back when it was sent.
func (m *message) release() {
	clear(m.body)
	*m = message{first: m.first, last: m.last, body: m.body[:0]}
	messages.Put(m)
}

// A version names one change. It has its own copy of the texts.
type version struct {
	committed             instant
	mod                   uint32
	transaction, sequence []byte
}

func (v *version) set(r *record, mod int) {
	v.committed, v.mod = r.committed, uint32(mod)
	v.transaction = append(v.transaction[:0], r.transaction...)
	v.sequence = append(v.sequence[:0], r.sequence...)
}

func (v *version) write(into envelope.RecordVersion) error {
	into.CommitTimestamp().SetSeconds(v.committed.seconds)
	into.CommitTimestamp().SetNanos(v.committed.nanos)
	into.SetMod(v.mod)
	if err := into.SetTransaction(string(v.transaction)); err != nil {
		return err
	}
	return into.SetSequence(string(v.sequence))
}
