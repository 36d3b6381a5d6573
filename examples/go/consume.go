// Prints the version, table and keys of each change:
//
//	./generate && go run . tcp://127.0.0.1:5560 shop/all_tables/
package main

import (
	"bytes"
	"errors"
	"fmt"
	"log"
	"os"

	"capnproto.org/go/capnp/v3"
	"example/envelope"
	zmq "github.com/pebbe/zmq4"
)

func main() {
	socket := must(zmq.NewSocket(zmq.SUB))
	if err := errors.Join(socket.Connect(os.Args[1]), socket.SetSubscribe(os.Args[2])); err != nil {
		log.Fatal(err)
	}
	for {
		frames := must(socket.RecvMessageBytes(0)) // topic, header, columns, body
		header := must(envelope.ReadRootHeader(must(capnp.Unmarshal(frames[1]))))
		if header.FormatMajor() > 1 || header.RequiredFeatures() != 0 || header.BodyEncoding() != 0 {
			log.Fatal("this message needs a newer reader")
		}
		if header.Kind() != envelope.Header_Kind_changes {
			continue // a tick, a notice
		}
		columns := must(envelope.ReadRootColumns(must(capnp.Unmarshal(frames[2]))))
		body := bytes.NewReader(frames[3])
		decoder := capnp.NewDecoder(body)
		decoder.MaxMessageSize = uint64(body.Len())
		for body.Len() > 0 {
			show(columns, must(envelope.ReadRootDataChangeRecord(must(decoder.Decode()))))
		}
	}
}

func show(columns envelope.Columns, record envelope.DataChangeRecord) {
	committed, mods := record.CommitTimestamp(), must(record.Mods())
	for i := range mods.Len() {
		mod := mods.At(i)
		fmt.Printf("%d.%09d/%s/%s/%d %s", committed.Seconds(), committed.Nanos(), must(record.ServerTransactionId()),
			must(record.RecordSequence()), mod.Number(), must(columns.Table()))
		if mod.Which() == envelope.Mod_Which_json {
			fmt.Println("", must(mod.Json().Keys()))
			continue
		}
		keys, all, next := must(mod.Typed().Keys()), must(columns.Columns()), 0
		// A list may be shorter than its columns: what is not there is missing.
		for i := 0; i < all.Len() && next < keys.Len(); i++ {
			if column := all.At(i); column.IsPrimaryKey() {
				fmt.Printf(" %s=%v", must(column.Name()), keys.At(next))
				next++
			}
		}
		fmt.Println()
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}
