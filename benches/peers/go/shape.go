package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"capnproto.org/go/capnp/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"relay/envelope"
)

// A shape is the columns of a table as records describe them, and their frame, encoded once.
type shape struct {
	described    []string // the text of each column's name, type and ordinal position
	keys, others columns
	frame, hash  []byte
}

type columns struct {
	list  []column
	place map[string]int
}

type column struct {
	name          string
	kind, element kind
}

type columnType struct {
	Code         string      `json:"code"`
	Annotation   string      `json:"type_annotation"`
	Element      *columnType `json:"array_element_type"`
	ProtoTypeFqn string      `json:"proto_type_fqn"`
}

// is tells whether these columns are of this shape, without parsing them.
func (s *shape) is(described []*structpb.Value) bool {
	if len(described)*3 != len(s.described) {
		return false
	}
	for i, value := range described {
		fields, known := list(value), s.described[i*3:]
		if len(fields) != 4 || fields[0].GetStringValue() != known[0] ||
			fields[1].GetStringValue() != known[1] || fields[3].GetStringValue() != known[2] {
			return false
		}
	}
	return true
}

func newShape(table string, described []*structpb.Value) (*shape, error) {
	s := &shape{}
	frame, err := appendMessage(nil, new(capnp.Message), func(segment *capnp.Segment) error {
		root, err := envelope.NewRootColumns(segment)
		if err != nil {
			return err
		}
		if err := root.SetTable(table); err != nil {
			return err
		}
		places, err := root.NewColumns(int32(len(described)))
		if err != nil {
			return err
		}
		*s = shape{keys: columns{place: map[string]int{}}, others: columns{place: map[string]int{}}}
		for i, value := range described {
			if err := s.add(places.At(i), value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("columns of %s: %w", table, err)
	}
	hash := sha256.Sum256(frame)
	s.frame, s.hash = frame, hash[:16]
	return s, nil
}

func (s *shape) add(place envelope.Column, value *structpb.Value) error {
	fields := list(value)
	if len(fields) != 4 {
		return errShape
	}
	name := strings.Clone(fields[0].GetStringValue())
	text := strings.Clone(fields[1].GetStringValue())
	position := strings.Clone(fields[3].GetStringValue())
	isKey := fields[2].GetBoolValue()
	s.described = append(s.described, name, text, position)
	var of columnType
	if err := json.Unmarshal([]byte(text), &of); err != nil {
		return err
	}
	ordinal, err := strconv.ParseInt(position, 10, 64)
	if err != nil {
		return err
	}
	place.SetIsPrimaryKey(isKey)
	place.SetOrdinalPosition(ordinal)
	if err := place.SetName(name); err != nil {
		return err
	}
	written, err := place.NewType()
	if err != nil {
		return err
	}
	if err := of.write(written, text); err != nil {
		return err
	}
	into := &s.others
	if isKey {
		into = &s.keys
	}
	into.place[name] = len(into.list)
	made := column{name: name, kind: of.kind()}
	if made.kind == array {
		made.element = of.Element.kind()
	}
	into.list = append(into.list, made)
	return nil
}

func (t *columnType) write(into envelope.Type, text string) error {
	code := envelope.TypeCodeFromString(strings.ToLower(t.Code))
	into.SetCode(code)
	if code == envelope.TypeCode_unspecified {
		return into.SetUnknown(text)
	}
	if t.Annotation == "PG_NUMERIC" {
		into.SetAnnotation(envelope.TypeAnnotation_pgNumeric)
	}
	if err := into.SetProtoTypeFqn(t.ProtoTypeFqn); err != nil {
		return err
	}
	if t.Element == nil {
		return nil
	}
	element, err := into.NewArrayElement()
	if err != nil {
		return err
	}
	return t.Element.write(element, text)
}
