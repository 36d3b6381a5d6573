package main

import (
	"github.com/valyala/fastjson"

	"relay/envelope"
)

// array writes elements by their type; it does not fit where one of them does not.
func (w *values) array(into envelope.Array, of kind, elements []*fastjson.Value) (bool, error) {
	if err := w.setNulls(into, elements); err != nil {
		return false, err
	}
	n := int32(len(elements))
	switch of {
	case boolean:
		list, err := into.NewBool(n)
		return each(elements, err, func(i int, value *fastjson.Value) (bool, error) {
			got, err := value.Bool()
			list.Set(i, got)
			return err == nil, nil
		})
	case integer:
		list, err := into.NewInt64(n)
		return each(elements, err, func(i int, value *fastjson.Value) (bool, error) {
			got, fits := w.integer(value)
			list.Set(i, got)
			return fits, nil
		})
	case float:
		list, err := into.NewFloat64(n)
		return each(elements, err, func(i int, value *fastjson.Value) (bool, error) {
			got, fits := w.float(value)
			list.Set(i, got)
			return fits, nil
		})
	case text:
		list, err := into.NewText(n)
		return each(elements, err, func(i int, value *fastjson.Value) (bool, error) {
			got, fits := content(value)
			if !fits {
				return false, nil
			}
			return true, list.Set(i, got)
		})
	case document:
		list, err := into.NewText(n)
		return each(elements, err, func(i int, value *fastjson.Value) (bool, error) {
			return true, list.Set(i, w.document(value))
		})
	case bytes:
		list, err := into.NewBytes(n)
		return each(elements, err, func(i int, value *fastjson.Value) (bool, error) {
			got, fits := w.bytes(value)
			if !fits {
				return false, nil
			}
			return true, list.Set(i, got)
		})
	case timestamp:
		list, err := into.NewTimestamp(n)
		return each(elements, err, func(i int, value *fastjson.Value) (bool, error) {
			got, fits := w.timestamp(value)
			list.At(i).SetSeconds(got.seconds)
			list.At(i).SetNanos(got.nanos)
			return fits, nil
		})
	}
	list, err := into.NewJson(n)
	return each(elements, err, func(i int, value *fastjson.Value) (bool, error) {
		return true, list.Set(i, w.raw(value))
	})
}

// each writes all elements that are not null; err is that of the list's making.
func each(
	elements []*fastjson.Value, err error, write func(int, *fastjson.Value) (bool, error),
) (bool, error) {
	if err != nil {
		return false, err
	}
	for i, value := range elements {
		if value.Type() == fastjson.TypeNull {
			continue
		}
		if fits, err := write(i, value); !fits || err != nil {
			return false, err
		}
	}
	return true, nil
}

// setNulls sets bit i % 8 of byte i / 8 where element i is null; without nulls there are no bits.
func (w *values) setNulls(into envelope.Array, elements []*fastjson.Value) error {
	w.nulls = append(w.nulls[:0], make([]byte, (len(elements)+7)/8)...) // the compiler makes no slice of it
	found := false
	for i, value := range elements {
		if value.Type() == fastjson.TypeNull {
			w.nulls[i/8] |= 1 << (i % 8)
			found = true
		}
	}
	if !found {
		return nil
	}
	return into.SetNulls(w.nulls)
}
