package main

import (
	"crypto/sha256"
	"errors"
	"log"
	"math/rand/v2"
	"time"

	"capnproto.org/go/capnp/v3"
	zmq "github.com/pebbe/zmq4"

	"relay/envelope"
)

const (
	queued  = 64 // messages between readers and the sender
	tickGap = 100 * time.Millisecond
)

// A sender owns the PUB socket. Messages of a flow leave in the order in which they were handed over.
type sender struct {
	endpoint    string
	socket      *zmq.Socket
	queue       chan *message // who hands over waits while it is full
	incarnation uint64
	ticks       message // the next one
	encoded     capnp.Message
	header      []byte
}

func newSender(tickTopic string) (*sender, error) {
	socket, err := zmq.NewSocket(zmq.PUB)
	if err != nil {
		return nil, err
	}
	// No limit: a subscriber that is behind loses nothing.
	if err := errors.Join(socket.SetSndhwm(0), socket.SetLinger(0), socket.Bind("tcp://127.0.0.1:*")); err != nil {
		return nil, err
	}
	endpoint, err := socket.GetLastEndpoint()
	if err != nil {
		return nil, err
	}
	id := sha256.Sum256([]byte(tickTopic)) // of the sender, in place of a partition's
	return &sender{
		endpoint: endpoint, socket: socket, queue: make(chan *message, queued), incarnation: rand.Uint64(),
		ticks: message{flow: &flow{topic: []byte(tickTopic), partition: id[:16]}, shape: &shape{}},
	}, nil
}

func (s *sender) run() {
	ticker := time.NewTicker(tickGap)
	for {
		var err error
		select {
		case m := <-s.queue:
			err = s.publish(m, envelope.Header_Kind_changes)
			m.release()
		case <-ticker.C:
			err = s.tick()
		}
		if err != nil {
			log.Fatal(err)
		}
	}
}

// tick says no more than that the relay is there: nobody repairs from it.
func (s *sender) tick() error {
	m := &s.ticks
	clear(m.body)
	var err error
	m.body, err = appendMessage(m.body[:0], &s.encoded, func(segment *capnp.Segment) error {
		root, err := envelope.NewRootTick(segment)
		if err == nil {
			root.SetSenders(1)
			root.SetIntervalMs(uint32(tickGap / time.Millisecond))
		}
		return err
	})
	if err != nil {
		return err
	}
	err = s.publish(m, envelope.Header_Kind_tick)
	m.sequence++
	return err
}

func (s *sender) publish(m *message, kind envelope.Header_Kind) error {
	clear(s.header)
	header, err := appendMessage(s.header[:0], &s.encoded, func(segment *capnp.Segment) error {
		return s.write(segment, m, kind)
	})
	if err != nil {
		return err
	}
	s.header = header
	frames := [...][]byte{m.flow.topic, header, m.shape.frame, m.body}
	for i, frame := range frames {
		more := zmq.SNDMORE
		if i == len(frames)-1 {
			more = 0
		}
		if _, err := s.socket.SendBytes(frame, more); err != nil {
			return err
		}
	}
	return nil
}

func (s *sender) write(segment *capnp.Segment, m *message, kind envelope.Header_Kind) error {
	root, err := envelope.NewRootHeader(segment)
	if err != nil {
		return err
	}
	root.SetFormatMajor(1)
	root.SetKind(kind)
	root.SetValues(m.values)
	root.SetIncarnation(s.incarnation)
	root.SetEpoch(1)
	root.SetSequence(m.sequence)
	root.SetCount(uint32(m.count))
	root.SetReceivedAt(m.received)
	root.SetSentAt(time.Now().UnixNano())
	if err := errors.Join(root.SetPartition(m.flow.partition), root.SetColumnsHash(m.shape.hash)); err != nil {
		return err
	}
	if m.count == 0 {
		return nil
	}
	first, err := root.NewFirst()
	if err != nil {
		return err
	}
	last, err := root.NewLast()
	if err != nil {
		return err
	}
	return errors.Join(m.first.write(first), m.last.write(last))
}
