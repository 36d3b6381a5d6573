package main

import (
	"errors"
	"strconv"

	"google.golang.org/protobuf/types/known/structpb"
)

var errShape = errors.New("a record is not of the shape of a GoogleSQL change stream's")

// A record is a data change record. Its strings are the client's, until the next row.
type record struct {
	committed             instant
	sequence, transaction string
	isLast, isSystem      bool
	table, tag            string
	columns, mods         []*structpb.Value
	modType, captureType  string
	records, partitions   int64
}

// read reads a record's positional fields:
// https://cloud.google.com/spanner/docs/change-streams/details#data-change-records
func (r *record) read(value *structpb.Value, clock *clock) error {
	fields := list(value)
	if len(fields) < 13 {
		return errShape
	}
	var ok bool
	if r.committed, ok = clock.parse(fields[0].GetStringValue()); !ok {
		return errShape
	}
	r.sequence = fields[1].GetStringValue()
	r.transaction = fields[2].GetStringValue()
	r.isLast = fields[3].GetBoolValue()
	r.table = fields[4].GetStringValue()
	r.columns = list(fields[5])
	r.mods = list(fields[6])
	r.modType = fields[7].GetStringValue()
	r.captureType = fields[8].GetStringValue()
	var err [2]error
	r.records, err[0] = strconv.ParseInt(fields[9].GetStringValue(), 10, 64)
	r.partitions, err[1] = strconv.ParseInt(fields[10].GetStringValue(), 10, 64)
	r.tag = fields[11].GetStringValue()
	r.isSystem = fields[12].GetBoolValue()
	return errors.Join(err[:]...)
}

func list(value *structpb.Value) []*structpb.Value { return value.GetListValue().GetValues() }
