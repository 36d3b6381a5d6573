// Prints changes in canonical form (docs/canonical.md):
//
//	consume TOPIC COUNT ENDPOINT...
//
// ends after COUNT changes. A line "joined" on stderr says that ticks came from every endpoint:
// nothing that is sent from then on is missed.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"capnproto.org/go/capnp/v3"
	"example/envelope"
	zmq "github.com/pebbe/zmq4"
)

const (
	formatMajor = 1
	features    = 0 // the bits of requiredFeatures that this reader knows
)

func main() {
	left := must(strconv.Atoi(os.Args[2]))
	endpoints := os.Args[3:]
	socket := must(zmq.NewSocket(zmq.SUB))
	check(socket.SetRcvhwm(0))
	for _, endpoint := range endpoints {
		check(socket.Connect(endpoint))
	}
	check(socket.SetSubscribe(os.Args[1]))
	out := bufio.NewWriter(os.Stdout)
	senders := map[string]bool{}
	for left > 0 {
		frames := must(socket.RecvMessageBytes(0))
		header := must(envelope.ReadRootHeader(message(frames[1])))
		check(accept(header))
		switch header.Kind() {
		case envelope.Header_Kind_tick:
			if sender := string(must(header.Partition())); !senders[sender] {
				senders[sender] = true
				if len(senders) == len(endpoints) {
					fmt.Fprintln(os.Stderr, "joined")
				}
			}
		case envelope.Header_Kind_changes:
			shape := newShape(must(envelope.ReadRootColumns(message(frames[2]))))
			records(frames[3], func(record envelope.DataChangeRecord) {
				mods := must(record.Mods())
				for i := 0; i < mods.Len() && left > 0; i++ {
					must(out.Write(line(record, mods.At(i), shape)))
					left--
				}
			})
		}
	}
	check(out.Flush())
}

// accept refuses a message that takes a newer reader.
func accept(header envelope.Header) error {
	if major := header.FormatMajor(); major > formatMajor {
		return fmt.Errorf("refused: formatMajor %d, and this reader knows %d: get a newer one", major, formatMajor)
	}
	if unknown := header.RequiredFeatures() &^ features; unknown != 0 {
		return fmt.Errorf("refused: requiredFeatures %#x, which this reader does not know: get a newer one", unknown)
	}
	if header.BodyEncoding() != envelope.Header_BodyEncoding_none {
		return errors.New("refused: a bodyEncoding that this reader does not know: get a newer one")
	}
	return nil
}

func message(frame []byte) *capnp.Message {
	message := must(capnp.Unmarshal(frame))
	message.ResetReadLimit(8 * uint64(len(frame)))
	return message
}

// records visits the messages of a body, which lie one after the other.
func records(body []byte, visit func(envelope.DataChangeRecord)) {
	decoder := capnp.NewDecoder(bytes.NewReader(body))
	decoder.MaxMessageSize = uint64(len(body))
	for {
		message, err := decoder.Decode()
		if errors.Is(err, io.EOF) {
			return
		}
		check(err)
		message.ResetReadLimit(8 * uint64(len(body)))
		visit(must(envelope.ReadRootDataChangeRecord(message)))
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "consume: %v\n", err)
		os.Exit(1)
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}
