package main

import (
	"encoding/base64"
	"math"
	"strconv"
	"unsafe"

	"github.com/valyala/fastjson"

	"relay/envelope"
)

// A kind is how values of a type are written.
type kind int

const (
	unknown kind = iota // its JSON text
	boolean
	integer
	float
	text
	bytes
	timestamp
	document // JSON within a string
	array
)

func (t *columnType) kind() kind {
	switch t.Code {
	case "BOOL":
		return boolean
	case "INT64", "ENUM":
		return integer
	case "FLOAT32", "FLOAT64":
		return float
	case "STRING", "DATE", "NUMERIC", "INTERVAL", "UUID":
		return text
	case "JSON":
		return document
	case "BYTES", "PROTO":
		return bytes
	case "TIMESTAMP":
		return timestamp
	case "ARRAY":
		if t.Element != nil {
			return array
		}
	}
	return unknown
}

// values writes the JSON objects of a mod by the types of its columns.
type values struct {
	parser  fastjson.Parser
	clock   clock
	scratch []byte
	nulls   []byte
	others  []other
}

// An other is a value without a column.
type other struct {
	place envelope.Other_Place
	name  string
	json  string
}

func (w *values) write(mod envelope.Mod, s *shape, keys, new, old string) error {
	mod.SetTyped()
	typed := mod.Typed()
	w.others = w.others[:0]
	for _, part := range [...]struct {
		place   envelope.Other_Place
		text    string
		columns *columns
		list    func(envelope.Mod_typed, int32) (envelope.Value_List, error)
	}{
		{envelope.Other_Place_keys, keys, &s.keys, envelope.Mod_typed.NewKeys},
		{envelope.Other_Place_newValues, new, &s.others, envelope.Mod_typed.NewNewValues},
		{envelope.Other_Place_oldValues, old, &s.others, envelope.Mod_typed.NewOldValues},
	} {
		if part.text == "{}" || part.text == "" {
			continue // all is missing
		}
		list, err := part.list(typed, int32(len(part.columns.list)))
		if err != nil {
			return err
		}
		if err := w.object(list, part.columns, part.text, part.place); err != nil {
			return err
		}
	}
	return w.writeOthers(typed)
}

func (w *values) object(list envelope.Value_List, columns *columns, text string, place envelope.Other_Place) error {
	parsed, err := w.parser.Parse(text)
	if err != nil {
		return err
	}
	object, err := parsed.Object()
	if err != nil {
		return err
	}
	next := 0
	object.Visit(func(name []byte, value *fastjson.Value) {
		at := next // they mostly come in the order of the columns
		if at >= len(columns.list) || columns.list[at].name != string(name) {
			var known bool
			if at, known = columns.place[string(name)]; !known {
				w.others = append(w.others, other{place, string(name), value.String()})
				return
			}
		}
		next = at + 1
		if e := w.value(list.At(at), &columns.list[at], value); e != nil {
			err = e
		}
	})
	return err
}

func (w *values) writeOthers(typed envelope.Mod_typed) error {
	if len(w.others) == 0 {
		return nil
	}
	places, err := typed.NewOthers(int32(len(w.others)))
	if err != nil {
		return err
	}
	for i, one := range w.others {
		place := places.At(i)
		place.SetPlace(one.place)
		if err := place.SetName(one.name); err != nil {
			return err
		}
		if err := place.SetJson(one.json); err != nil {
			return err
		}
	}
	return nil
}

// value writes one value, as its JSON text where it does not fit its column's type.
func (w *values) value(into envelope.Value, column *column, value *fastjson.Value) error {
	if value.Type() == fastjson.TypeNull {
		into.SetNull()
		return nil
	}
	switch column.kind {
	case boolean:
		if got, err := value.Bool(); err == nil {
			into.SetBool(got)
			return nil
		}
	case integer:
		if got, ok := w.integer(value); ok {
			into.SetInt64(got)
			return nil
		}
	case float:
		if got, ok := w.float(value); ok {
			into.SetFloat64(got)
			return nil
		}
	case text:
		if got, ok := content(value); ok {
			return into.SetText(got)
		}
	case document:
		return into.SetText(w.document(value))
	case bytes:
		if got, ok := w.bytes(value); ok {
			return into.SetBytes(got)
		}
	case timestamp:
		if got, ok := w.timestamp(value); ok {
			into.SetTimestamp()
			into.Timestamp().SetSeconds(got.seconds)
			into.Timestamp().SetNanos(got.nanos)
			return nil
		}
	case array:
		if elements, err := value.Array(); err == nil {
			written, err := into.NewArray()
			if err != nil {
				return err
			}
			if fits, err := w.array(written, column.element, elements); fits || err != nil {
				return err
			}
		}
	}
	return into.SetJson(w.raw(value))
}

func (w *values) integer(value *fastjson.Value) (int64, bool) {
	digits, ok := content(value)
	if !ok {
		digits = w.raw(value)
	}
	got, err := strconv.ParseInt(digits, 10, 64)
	return got, err == nil
}

func (w *values) float(value *fastjson.Value) (float64, bool) {
	if name, ok := content(value); ok {
		switch name {
		case "NaN":
			return math.Float64frombits(0x7ff8000000000000), true
		case "Infinity":
			return math.Inf(1), true
		case "-Infinity":
			return math.Inf(-1), true
		}
		return 0, false
	}
	// Not the parser's own: its floats are not always the nearest.
	got, err := strconv.ParseFloat(w.raw(value), 64)
	return got, err == nil
}

func (w *values) bytes(value *fastjson.Value) ([]byte, bool) {
	encoded, ok := content(value)
	if !ok {
		return nil, false
	}
	var err error
	w.scratch, err = base64.StdEncoding.AppendDecode(w.scratch[:0], unsafe.Slice(unsafe.StringData(encoded), len(encoded)))
	return w.scratch, err == nil
}

func (w *values) timestamp(value *fastjson.Value) (instant, bool) {
	got, ok := content(value)
	if !ok {
		return instant{}, false
	}
	return w.clock.parse(got)
}

// document is the JSON text within a string, or what stands there if it is no string; until the next call.
func (w *values) document(value *fastjson.Value) string {
	if got, ok := content(value); ok {
		return got
	}
	return w.raw(value)
}

// raw is a value's JSON text; until the next call.
func (w *values) raw(value *fastjson.Value) string {
	w.scratch = value.MarshalTo(w.scratch[:0])
	return lent(w.scratch)
}

// content is a string's, until the next parse. The type first: the library's error is dear.
func content(value *fastjson.Value) (string, bool) {
	if value.Type() != fastjson.TypeString {
		return "", false
	}
	got, err := value.StringBytes()
	return lent(got), err == nil
}

// lent is a view of bytes as text, for as long as they stay as they are.
func lent(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
