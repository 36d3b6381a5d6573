package main

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"example/envelope"
)

// A reader takes the JSON text of a value that is not null; false where it does not fit.
type reader func(raw string) (string, bool)

var (
	quotedInteger = regexp.MustCompile(`^"-?[0-9]{1,19}"$`)
	bareInteger   = regexp.MustCompile(`^-?[0-9]+$`)
	instant       = regexp.MustCompile(
		`^"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,9})?(Z|\+00:00)"$`)
	decimal  = regexp.MustCompile(`^"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?"$`)
	date     = regexp.MustCompile(`^"([0-9]{1,4})-([0-9]{2}-[0-9]{2})"$`)
	uuid     = regexp.MustCompile(`^"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"$`)
	interval = regexp.MustCompile(`^"P(-?[0-9]+Y)?(-?[0-9]+M)?(-?[0-9]+W)?(-?[0-9]+D)?` +
		`(T(-?[0-9]+H)?(-?[0-9]+M)?(-?[0-9]+(\.[0-9]+)?S)?)?"$`)
	halfPair = regexp.MustCompile(`^\\u[dD][89a-fA-F]`)
	special  = map[string]float64{`"NaN"`: math.NaN(), `"Infinity"`: math.Inf(1), `"-Infinity"`: math.Inf(-1)}
)

// typed writes the values of an object's JSON text by their columns' types.
func (r role) typed(text string) object {
	found := object{}
	decoder := json.NewDecoder(strings.NewReader(text))
	must(decoder.Token())
	for decoder.More() {
		name := must(decoder.Token()).(string)
		var raw json.RawMessage
		check(decoder.Decode(&raw))
		if _, taken := found[name]; taken {
			continue
		}
		read, known := r.readers[name]
		if !known {
			read = misfit
		} else if string(raw) == "null" {
			found[name] = "null"
			continue
		}
		value, fits := read(string(raw))
		if !fits {
			value = standIn(string(raw))
		}
		found[name] = value
	}
	return found
}

func readerOf(of envelope.Type) reader {
	if of.Code() == envelope.TypeCode_array && of.HasArrayElement() {
		return arrayOf(must(of.ArrayElement()))
	}
	if read := scalar(of); read != nil {
		return read
	}
	return misfit
}

func scalar(of envelope.Type) reader {
	if of.Annotation() == envelope.TypeAnnotation_pgOid {
		return readInteger
	}
	switch of.Code() {
	case envelope.TypeCode_bool:
		return func(raw string) (string, bool) { return raw, raw == "true" || raw == "false" }
	case envelope.TypeCode_int64, envelope.TypeCode_enum:
		return readInteger
	case envelope.TypeCode_float64:
		return readFloat
	case envelope.TypeCode_float32:
		return func(raw string) (string, bool) {
			value, fits := readFloat(raw)
			number, _ := strconv.ParseFloat(raw, 64)
			return value, fits && !math.IsInf(float64(float32(number)), 0)
		}
	case envelope.TypeCode_string:
		return readText
	case envelope.TypeCode_date:
		return readDate
	case envelope.TypeCode_interval:
		return func(raw string) (string, bool) {
			// What ends so has no part where it needs one.
			isOpen := strings.HasSuffix(raw, `P"`) || strings.HasSuffix(raw, `T"`)
			return raw, interval.MatchString(raw) && !isOpen
		}
	case envelope.TypeCode_uuid:
		return func(raw string) (string, bool) { return raw, uuid.MatchString(raw) }
	case envelope.TypeCode_numeric:
		isPg := of.Annotation() == envelope.TypeAnnotation_pgNumeric
		return func(raw string) (string, bool) {
			if isNumber(raw) {
				return quote(raw), true
			}
			return raw, decimal.MatchString(raw) || isPg && raw == `"NaN"`
		}
	case envelope.TypeCode_json:
		return func(raw string) (string, bool) {
			if raw[0] != '"' {
				return quote(raw), true
			}
			return readText(raw)
		}
	case envelope.TypeCode_bytes, envelope.TypeCode_proto:
		return func(raw string) (string, bool) {
			text, fits := unquoted(raw)
			bytes, err := base64.StdEncoding.Strict().DecodeString(text)
			// The decoder skips ends of lines.
			return encoded(bytes), fits && err == nil && encoded(bytes) == quote(text)
		}
	case envelope.TypeCode_timestamp:
		return readTimestamp
	}
	return nil
}

func arrayOf(element envelope.Type) reader {
	read := scalar(element)
	knowsNull := knowsNull(element)
	return func(raw string) (string, bool) {
		var raws []json.RawMessage
		if raw[0] != '[' || json.Unmarshal([]byte(raw), &raws) != nil {
			return "", false
		}
		values := make([]string, len(raws))
		for i, raw := range raws {
			text, fits := string(raw), true
			switch {
			case text == "null" || knowsNull && text == `"NULL"`:
				values[i] = "null"
			case read == nil:
				values[i] = standIn(text)
			default:
				if values[i], fits = read(text); !fits {
					return "", false
				}
			}
		}
		return "[" + strings.Join(values, ",") + "]", true
	}
}

// knowsNull is whether the string "NULL" in an array is null: nothing of these types reads so.
func knowsNull(element envelope.Type) bool {
	switch element.Code() {
	case envelope.TypeCode_int64, envelope.TypeCode_enum, envelope.TypeCode_numeric, envelope.TypeCode_date,
		envelope.TypeCode_interval, envelope.TypeCode_uuid:
		return true
	}
	return element.Annotation() == envelope.TypeAnnotation_pgOid
}

func misfit(string) (string, bool) { return "", false }

func readInteger(raw string) (string, bool) {
	if !quotedInteger.MatchString(raw) && !bareInteger.MatchString(raw) {
		return "", false
	}
	number, err := strconv.ParseInt(strings.Trim(raw, `"`), 10, 64)
	return integer(number), err == nil
}

func readFloat(raw string) (string, bool) {
	if number, found := special[raw]; found {
		return float(number), true
	}
	number, err := strconv.ParseFloat(raw, 64)
	return float(number), err == nil && isNumber(raw)
}

func readText(raw string) (string, bool) {
	text, fits := unquoted(raw)
	return quote(text), fits
}

func readDate(raw string) (string, bool) {
	parts := date.FindStringSubmatch(raw)
	if parts == nil {
		return "", false
	}
	year := strings.Repeat("0", 4-len(parts[1])) + parts[1]
	_, err := time.Parse(time.DateOnly, year+"-"+parts[2])
	return raw, err == nil && year != "0000"
}

func readTimestamp(raw string) (string, bool) {
	parts := instant.FindStringSubmatch(raw)
	if parts == nil || strings.HasPrefix(parts[1], "0000") {
		return "", false
	}
	at, err := time.Parse("2006-01-02T15:04:05.999999999", parts[1]+parts[2])
	return quote(at.Format(moment)), err == nil
}

func isNumber(raw string) bool {
	return raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9'
}

// unquoted is a string's content; false where it is no string, or has half a surrogate pair, which
// encoding/json replaces.
func unquoted(raw string) (string, bool) {
	var text string
	if raw[0] != '"' || json.Unmarshal([]byte(raw), &text) != nil {
		return "", false
	}
	for at := 0; at < len(raw); at++ {
		if raw[at] != '\\' {
			continue
		}
		if halfPair.MatchString(raw[at:]) {
			first := must(strconv.ParseUint(raw[at+2:at+6], 16, 16))
			rest := raw[at+6:]
			if first >= 0xdc00 || !halfPair.MatchString(rest) || must(strconv.ParseUint(rest[2:6], 16, 16)) < 0xdc00 {
				return "", false
			}
			at += 6
		}
		at++
	}
	return text, true
}
