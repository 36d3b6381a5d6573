package main

import (
	"context"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/spanner"
	"golang.org/x/sync/errgroup"
)

// linger is how long an open message waits for more at the most.
const linger = 10 * time.Millisecond

// A stream is read by one goroutine per partition. A partition starts when all its parents have ended.
type stream struct {
	client  *spanner.Client
	out     *sender
	options options
	readers *errgroup.Group

	mu      sync.Mutex
	waiting map[string]child
	known   map[string]bool // waiting, running or ended
	ended   map[string]bool
	running map[*partition]bool
}

type child struct {
	start   time.Time
	token   string
	parents []string
}

func newStream(client *spanner.Client, out *sender, options options) *stream {
	return &stream{
		client: client, out: out, options: options,
		waiting: map[string]child{}, known: map[string]bool{}, ended: map[string]bool{},
		running: map[*partition]bool{},
	}
}

// follow reads all partitions, from start on, until one fails or all have ended.
func (s *stream) follow(ctx context.Context, start time.Time) error {
	s.readers, ctx = errgroup.WithContext(ctx)
	s.read(ctx, child{start: start})
	flush := time.NewTicker(linger)
	defer flush.Stop()
	done := make(chan error, 1)
	go func() { done <- s.readers.Wait() }()
	for {
		select {
		case err := <-done:
			return err
		case <-flush.C:
			s.flush()
		}
	}
}

// read starts a partition's reader; without a token, the initial query's.
func (s *stream) read(ctx context.Context, c child) {
	p := newPartition(s, c.token)
	s.running[p] = true
	s.readers.Go(func() error {
		if err := p.read(ctx, c.start); err != nil {
			return err
		}
		s.end(ctx, p)
		return nil
	})
}

// announce takes note of a child partition; each of its parents names it.
func (s *stream) announce(c child) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[c.token] {
		return
	}
	// The client lends strings until the next row.
	c.token = strings.Clone(c.token)
	for i, parent := range c.parents {
		c.parents[i] = strings.Clone(parent)
	}
	s.known[c.token] = true
	s.waiting[c.token] = c
}

// end starts the children that waited for this partition alone.
func (s *stream) end(ctx context.Context, p *partition) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, p)
	s.ended[p.token] = true
	for token, c := range s.waiting {
		if s.allEnded(c.parents) {
			delete(s.waiting, token)
			s.read(ctx, c)
		}
	}
}

func (s *stream) allEnded(parents []string) bool {
	for _, parent := range parents {
		if !s.ended[parent] {
			return false
		}
	}
	return true
}

// flush sends what is open, but of readers that are just writing: they are filling it.
func (s *stream) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for p := range s.running {
		if p.mu.TryLock() {
			p.flush()
			p.mu.Unlock()
		}
	}
}
