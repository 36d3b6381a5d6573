package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/spanner"
	"google.golang.org/api/iterator"
	"google.golang.org/protobuf/types/known/structpb"
)

const heartbeatMs = 1000

// A partition is read and its changes are encoded by one goroutine.
type partition struct {
	stream *stream
	token  string
	id     []byte
	clock  clock
	record record // the one at hand

	mu      sync.Mutex // of what follows: flush comes from another goroutine
	encoder encoder
	flows   map[string]*flow // by table
	seen    seen
}

func newPartition(stream *stream, token string) *partition {
	id := sha256.Sum256([]byte(token))
	return &partition{
		stream: stream, token: token, id: id[:16],
		encoder: encoder{values: stream.options.values},
		flows:   map[string]*flow{},
		seen:    seen{taken: map[string]struct{}{}},
	}
}

// read reads the partition to its end. The client takes up again by itself what broke off.
func (p *partition) read(ctx context.Context, start time.Time) error {
	rows := p.stream.client.Single().QueryWithOptions(ctx, p.query(start), spanner.QueryOptions{
		RequestTag: "go-peer",
		// Strings stay in the buffer that gRPC received, until the next row: see README.md.
		ExperimentalBorrowRows: true,
	})
	defer rows.Stop()
	for {
		row, err := rows.Next()
		if errors.Is(err, iterator.Done) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.flush()
			return nil
		}
		if err != nil {
			return fmt.Errorf("partition %x: %w", p.id, err)
		}
		if err := p.take(row.ColumnValue(0)); err != nil {
			return fmt.Errorf("partition %x: %w", p.id, err)
		}
	}
}

func (p *partition) query(start time.Time) spanner.Statement {
	return spanner.Statement{
		SQL: "SELECT ChangeRecord FROM `READ_" + p.stream.options.stream + "`" +
			"(start_timestamp => @start, end_timestamp => NULL, partition_token => @token," +
			" heartbeat_milliseconds => @heartbeat)",
		Params: map[string]any{
			"start":     start,
			"token":     spanner.NullString{StringVal: p.token, Valid: p.token != ""},
			"heartbeat": int64(heartbeatMs),
		},
	}
}

// take goes through a row: ARRAY<STRUCT<data ARRAY, heartbeat ARRAY, children ARRAY>>, as the lists that the
// client received. To have it decoded into Go structs would cost a JSON parse of all values, and reflection.
func (p *partition) take(row *structpb.Value) error {
	received := time.Now().UnixNano()
	for _, item := range list(row) {
		kinds := list(item)
		if len(kinds) != 3 {
			return errShape
		}
		for _, data := range list(kinds[0]) {
			if err := p.record.read(data, &p.clock); err != nil {
				return err
			}
			if err := p.add(received); err != nil {
				return err
			}
		}
		for _, children := range list(kinds[2]) {
			if err := p.announce(children); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *partition) announce(value *structpb.Value) error {
	fields := list(value)
	if len(fields) != 3 {
		return errShape
	}
	start, err := time.Parse(time.RFC3339Nano, fields[0].GetStringValue())
	if err != nil {
		return err
	}
	for _, named := range list(fields[2]) {
		fields := list(named)
		if len(fields) != 2 {
			return errShape
		}
		c := child{start: start, token: fields[0].GetStringValue()}
		for _, parent := range list(fields[1]) {
			c.parents = append(c.parents, parent.GetStringValue())
		}
		p.stream.announce(c)
	}
	return nil
}

// add encodes the record at hand into its table's open message.
func (p *partition) add(received int64) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	record := &p.record
	if p.seen.before(record) || len(record.mods) == 0 {
		return nil
	}
	f := p.flows[record.table]
	if f == nil {
		table := strings.Clone(record.table)
		f = &flow{topic: []byte(p.stream.options.topics + table + "/"), partition: p.id}
		p.flows[table] = f
	}
	if f.shape == nil || !f.shape.is(record.columns) {
		p.send(f)
		shape, err := f.shapeOf(record)
		if err != nil {
			return err
		}
		f.shape = shape
	}
	m := f.open
	if m == nil {
		m = newMessage(p.stream.options.batchBytes)
		m.received = received
		m.first.set(record, 0)
		f.open = m
	}
	var err error
	if m.body, err = p.encoder.append(m.body, record, f.shape); err != nil {
		return err
	}
	m.last.set(record, len(record.mods)-1)
	m.count += len(record.mods)
	if len(m.body) >= p.stream.options.batchBytes {
		p.send(f)
	}
	return nil
}

func (p *partition) flush() {
	for _, f := range p.flows {
		p.send(f)
	}
}

// send hands a flow's open message over, if there is one.
func (p *partition) send(f *flow) {
	if f.open == nil {
		return
	}
	m := f.open
	f.open = nil
	m.flow, m.shape, m.sequence, m.values = f, f.shape, f.sequence, p.stream.options.values
	f.sequence++
	p.stream.out.queue <- m
}

// seen knows the records of the commit timestamp at hand that were taken: a read that was taken up again
// may bring them again.
type seen struct {
	at    instant
	taken map[string]struct{}
	key   []byte
}

func (s *seen) before(record *record) bool {
	if record.committed != s.at {
		s.at = record.committed
		clear(s.taken)
	}
	s.key = append(append(append(s.key[:0], record.transaction...), '/'), record.sequence...)
	if _, found := s.taken[string(s.key)]; found {
		return true
	}
	s.taken[string(s.key)] = struct{}{}
	return false
}
