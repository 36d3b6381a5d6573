// Prints the version, table and keys of each change:
//
//	./generate && go run . tcp://127.0.0.1:5560 shop/all_tables/
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"capnproto.org/go/capnp/v3"
	"example/envelope"
	zmq "github.com/pebbe/zmq4"
)

func main() {
	socket := must(zmq.NewSocket(zmq.SUB))
	check(socket.Connect(os.Args[1]))
	check(socket.SetSubscribe(os.Args[2]))
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
		body := capnp.NewDecoder(bytes.NewReader(frames[3]))
		body.MaxMessageSize = uint64(len(frames[3]))
		for message, err := body.Decode(); !errors.Is(err, io.EOF); message, err = body.Decode() {
			check(err)
			print(columns, must(envelope.ReadRootDataChangeRecord(message)))
		}
	}
}

func print(columns envelope.Columns, record envelope.DataChangeRecord) {
	committed := time.Unix(record.CommitTimestamp().Seconds(), int64(record.CommitTimestamp().Nanos())).UTC()
	mods := must(record.Mods())
	for i := range mods.Len() {
		mod := mods.At(i)
		fmt.Printf("%s/%s/%s/%d %s %s", committed.Format("2006-01-02T15:04:05.000000000Z"),
			must(record.ServerTransactionId()), must(record.RecordSequence()), mod.Number(),
			must(columns.Table()), record.ModType())
		if mod.Which() == envelope.Mod_Which_json {
			fmt.Println(must(mod.Json().Keys()), must(mod.Json().NewValues()))
			continue
		}
		keys, all, next := must(mod.Typed().Keys()), must(columns.Columns()), 0
		for i := range all.Len() {
			// A list may be shorter than its columns: what is not there is missing.
			if column := all.At(i); column.IsPrimaryKey() && next < keys.Len() {
				fmt.Printf(" %s=%v", must(column.Name()), show(keys.At(next)))
				next++
			}
		}
		fmt.Println()
	}
}

func show(cell envelope.Value) any {
	switch cell.Which() {
	case envelope.Value_Which_null:
		return "NULL"
	case envelope.Value_Which_int64:
		return cell.Int64()
	case envelope.Value_Which_text:
		return must(cell.Text())
	}
	return cell.Which()
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}
