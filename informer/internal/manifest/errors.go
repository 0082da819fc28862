package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// plainError rewrites an error of a decoder for the author of a manifest, without Go types.
func plainError(err error) error {
	var wrong *json.UnmarshalTypeError
	var when *time.ParseError
	switch {
	case errors.As(err, &wrong):
		field := "a field"
		if wrong.Field != "" {
			field = fmt.Sprintf("field %q", wrong.Field)
		}
		value, ok := map[string]string{"array": "a list", "object": "an object", "string": "a string", "bool": "true or false", "number": "a number"}[wrong.Value]
		if !ok {
			value = strings.TrimPrefix(wrong.Value, "number ")
		}
		return fmt.Errorf("%s must be %s, not %s", field, typeName(wrong.Type), value)
	case errors.As(err, &when):
		return fmt.Errorf("%q is not a time such as %q", when.Value, "2006-01-02T15:04:05Z")
	case isCutOff(err):
		return errors.New("JSON is cut off")
	case strings.HasPrefix(err.Error(), "json: "):
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	return err
}

// isCutOff reports whether an error is that JSON ends too early.
func isCutOff(err error) bool {
	e := (*json.SyntaxError)(nil)
	return errors.As(err, &e) && e.Error() == "unexpected end of JSON input"
}

func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return fmt.Sprintf("a whole number of at most %d bits", t.Bits())
	}
	return "an object"
}

// typeOf names the type of a JSON value.
func typeOf(raw []byte) string {
	switch raw[0] {
	case '[':
		return "a list"
	case '"':
		return "a string"
	case 't', 'f':
		return "true or false"
	}
	return "a number"
}
