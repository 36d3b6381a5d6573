package main

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"example/envelope"
)

const (
	moment  = "2006-01-02T15:04:05.000000000Z"
	nan     = 0x7ff8000000000000
	unknown = `"unknown"`
)

// A shape is the columns of a message by role, with how their JSON text is read.
type shape struct {
	table      string
	keys, rest role
}

type role struct {
	names   []string
	readers map[string]reader
}

// An object is the JSON of values, by name.
type object map[string]string

func newShape(columns envelope.Columns) shape {
	found := shape{
		table: must(columns.Table()),
		keys:  role{readers: map[string]reader{}},
		rest:  role{readers: map[string]reader{}},
	}
	all := must(columns.Columns())
	for i := range all.Len() {
		column, of := all.At(i), &found.rest
		if column.IsPrimaryKey() {
			of = &found.keys
		}
		name := must(column.Name())
		of.names = append(of.names, name)
		of.readers[name] = readerOf(must(column.Type()))
	}
	return found
}

// line is one change, with the end of its line.
func line(record envelope.DataChangeRecord, mod envelope.Mod, shape shape) []byte {
	keys, new, old := unknown, unknown, unknown
	switch mod.Which() {
	case envelope.Mod_Which_typed:
		typed := mod.Typed()
		objects := map[envelope.Other_Place]object{
			envelope.Other_Place_keys:      cells(must(typed.Keys()), shape.keys),
			envelope.Other_Place_newValues: cells(must(typed.NewValues()), shape.rest),
			envelope.Other_Place_oldValues: cells(must(typed.OldValues()), shape.rest),
		}
		others := must(typed.Others())
		for i := range others.Len() {
			other := others.At(i)
			name, in := must(other.Name()), objects[other.Place()]
			if _, taken := in[name]; !taken && in != nil {
				in[name] = standIn(must(other.Json()))
			}
		}
		keys = objects[envelope.Other_Place_keys].String()
		new = objects[envelope.Other_Place_newValues].String()
		old = objects[envelope.Other_Place_oldValues].String()
	case envelope.Mod_Which_json:
		text := mod.Json()
		keys = shape.keys.typed(must(text.Keys())).String()
		new = shape.rest.typed(must(text.NewValues())).String()
		old = shape.rest.typed(must(text.OldValues())).String()
	}
	committed := record.CommitTimestamp()
	version := fmt.Sprintf("%s/%s/%s/%d", timestamp(committed.Seconds(), committed.Nanos()),
		must(record.ServerTransactionId()), must(record.RecordSequence()), mod.Number())
	return fmt.Appendf(nil, `{"keys":%s,"mod_type":%s,"new":%s,"old":%s,"table":%s,"version":%s}`+"\n",
		keys, modType(record.ModType()), new, old, quote(shape.table), quote(version))
}

func modType(of envelope.DataChangeRecord_ModType) string {
	switch of {
	case envelope.DataChangeRecord_ModType_insert:
		return `"INSERT"`
	case envelope.DataChangeRecord_ModType_update:
		return `"UPDATE"`
	case envelope.DataChangeRecord_ModType_delete:
		return `"DELETE"`
	}
	return `"UNKNOWN"`
}

// cells of a list, which may be shorter than its columns: what is not there is missing.
func cells(list envelope.Value_List, of role) object {
	found := object{}
	for i := range min(list.Len(), len(of.names)) {
		if cell := list.At(i); cell.Which() != envelope.Value_Which_missing {
			found[of.names[i]] = value(cell)
		}
	}
	return found
}

func value(cell envelope.Value) string {
	switch cell.Which() {
	case envelope.Value_Which_null:
		return "null"
	case envelope.Value_Which_bool:
		return strconv.FormatBool(cell.Bool())
	case envelope.Value_Which_int64:
		return integer(cell.Int64())
	case envelope.Value_Which_float64:
		return float(cell.Float64())
	case envelope.Value_Which_text:
		return quote(must(cell.Text()))
	case envelope.Value_Which_bytes:
		return encoded(must(cell.Bytes()))
	case envelope.Value_Which_timestamp:
		return quote(timestamp(cell.Timestamp().Seconds(), cell.Timestamp().Nanos()))
	case envelope.Value_Which_array:
		return array(must(cell.Array()))
	case envelope.Value_Which_json:
		return standIn(must(cell.Json()))
	}
	return unknown
}

func array(array envelope.Array) string {
	nulls := must(array.Nulls())
	switch array.Which() {
	case envelope.Array_Which_bool:
		list := must(array.Bool())
		return elements(nulls, list.Len(), func(i int) string { return strconv.FormatBool(list.At(i)) })
	case envelope.Array_Which_int64:
		list := must(array.Int64())
		return elements(nulls, list.Len(), func(i int) string { return integer(list.At(i)) })
	case envelope.Array_Which_float64:
		list := must(array.Float64())
		return elements(nulls, list.Len(), func(i int) string { return float(list.At(i)) })
	case envelope.Array_Which_text:
		list := must(array.Text())
		return elements(nulls, list.Len(), func(i int) string { return quote(must(list.At(i))) })
	case envelope.Array_Which_bytes:
		list := must(array.Bytes())
		return elements(nulls, list.Len(), func(i int) string { return encoded(must(list.At(i))) })
	case envelope.Array_Which_timestamp:
		list := must(array.Timestamp())
		return elements(nulls, list.Len(), func(i int) string {
			return quote(timestamp(list.At(i).Seconds(), list.At(i).Nanos()))
		})
	case envelope.Array_Which_json:
		list := must(array.Json())
		return elements(nulls, list.Len(), func(i int) string { return standIn(must(list.At(i))) })
	}
	return unknown
}

func elements(nulls []byte, length int, at func(int) string) string {
	text := []byte{'['}
	for i := range length {
		if i > 0 {
			text = append(text, ',')
		}
		if i/8 < len(nulls) && nulls[i/8]>>(i%8)&1 == 1 {
			text = append(text, "null"...)
		} else {
			text = append(text, at(i)...)
		}
	}
	return string(append(text, ']'))
}

func integer(number int64) string {
	return quote(strconv.FormatInt(number, 10))
}

func float(number float64) string {
	bits := math.Float64bits(number)
	if math.IsNaN(number) {
		bits = nan
	}
	return fmt.Sprintf(`"%016x"`, bits)
}

func encoded(bytes []byte) string {
	return quote(base64.StdEncoding.EncodeToString(bytes))
}

func timestamp(seconds int64, nanos uint32) string {
	return time.Unix(seconds, int64(nanos)).UTC().Format(moment)
}

// String is the object's JSON. Go compares strings by their bytes, as the form wants it.
func (o object) String() string {
	text := []byte{'{'}
	for i, name := range slices.Sorted(maps.Keys(o)) {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(append(append(text, quote(name)...), ':'), o[name]...)
	}
	return string(append(text, '}'))
}

// standIn is JSON text in place of a value: no typed value is an object.
func standIn(text string) string {
	return `{"json":` + quote(text) + `}`
}

// quote escapes what JSON demands and nothing else; encoding/json escapes more.
func quote(text string) string {
	out := make([]byte, 0, len(text)+2)
	out = append(out, '"')
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c >= ' ':
			out = append(out, c)
		case c == '\b':
			out = append(out, `\b`...)
		case c == '\t':
			out = append(out, `\t`...)
		case c == '\n':
			out = append(out, `\n`...)
		case c == '\f':
			out = append(out, `\f`...)
		case c == '\r':
			out = append(out, `\r`...)
		default:
			out = fmt.Appendf(out, `\u%04x`, c)
		}
	}
	return string(append(out, '"'))
}
