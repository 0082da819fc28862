package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/text/encoding/unicode"
	"sigs.k8s.io/yaml"
)

// maxYAML is the size in bytes of the largest YAML text that is decoded as a whole: a
// document, or an item of a list. The YAML library takes about forty times the size of the
// text. No object in a cluster can be as large.
const maxYAML = 2 << 20

// byteOrderMark is the one of UTF-8. If files were concatenated, any line may begin with
// one.
const byteOrderMark = "\ufeff"

// decodeText returns the text of a file as UTF-8 without a byte order mark at the start.
// PowerShell's redirection writes UTF-16 with one.
func decodeText(data []byte) ([]byte, error) {
	if bytes.HasPrefix(data, []byte("\xfe\xff")) || bytes.HasPrefix(data, []byte("\xff\xfe")) {
		if len(data)%2 != 0 {
			return nil, errors.New("UTF-16 is cut off")
		}
		var err error
		if data, err = unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewDecoder().Bytes(data); err != nil {
			return nil, fmt.Errorf("decode UTF-16: %w", err)
		}
	}
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return nil, fmt.Errorf("byte %d is zero, so this is not text", i)
	}
	return data, nil
}

// skipBlank returns the length of the blank lines, comments and bare document markers at
// the start of a text.
func skipBlank(text []byte) int {
	n := 0
	for n < len(text) {
		rest := bytes.TrimPrefix(text[n:], []byte(byteOrderMark))
		end := lineEnd(rest)
		line := rest[:end]
		if marker := documentMarker(line); marker != "" {
			line = line[len(marker):]
		}
		if line = trim(line); len(line) > 0 && line[0] != '#' {
			return len(text) - len(rest)
		}
		n = len(text) - len(rest) + end
	}
	return n
}

// documentEnd returns the length of the YAML document at the start of a text: up to the
// next marker. No value of YAML can have a marker at the start of a line, so any marker
// ends the document. The length is not zero: content after an end marker at the start,
// which is an error in YAML, belongs to the document.
func documentEnd(text []byte) int {
	content := false
	for n := 0; n < len(text); {
		line := text[n:]
		line = line[:lineEnd(line)]
		switch trimmed := trim(line); {
		case documentMarker(line) == "..." && n > 0:
			return n
		case documentMarker(line) == "---" && content:
			return n
		case len(trimmed) > 0 && trimmed[0] != '#' && trimmed[0] != '%': // directives come before a marker
			content = true
		}
		n += len(line)
	}
	return len(text)
}

// documentMarker returns the YAML document marker at the start of a line, or "".
func documentMarker(line []byte) string {
	line = bytes.TrimPrefix(line, []byte(byteOrderMark))
	for _, marker := range []string{"---", "..."} {
		rest, ok := bytes.CutPrefix(line, []byte(marker))
		if ok && (len(bytes.TrimSpace(rest)) < len(rest) && bytes.IndexByte([]byte(" \t"), rest[0]) >= 0 || lineBreak(rest) == len(rest)) {
			return marker
		}
	}
	return ""
}

// lineEnd returns the length of the first line of a text, with its break.
func lineEnd(text []byte) int {
	for i, c := range text {
		if c <= '\r' || c >= 0xc2 {
			if n := lineBreak(text[i:]); n > 0 {
				return i + n
			}
		}
	}
	return len(text)
}

// lineBreak returns the length of the line break at the start of a text, or 0. The breaks
// are those of YAML 1.1, as the YAML library has them.
func lineBreak(text []byte) int {
	for _, b := range []string{"\n", "\r\n", "\r", "\u0085", "\u2028", "\u2029"} {
		if bytes.HasPrefix(text, []byte(b)) {
			return len(b)
		}
	}
	return 0
}

// lineNumber returns the number of the line in which a text ends, counted from 1.
func lineNumber(text []byte) int {
	line := 1
	for i := 0; i < len(text); {
		n := lineBreak(text[i:])
		if n > 0 {
			line++
		}
		i += max(n, 1)
	}
	return line
}

var (
	yamlLine      = regexp.MustCompile(`\bline (\d+)\b`)
	yamlDuplicate = regexp.MustCompile(`line (\d+): key (.+) already set in map`)
)

// yamlToJSON converts the YAML document file[start:end]. Errors have line numbers of the
// file.
func yamlToJSON(file []byte, start, end int) ([]byte, error) {
	text := file[start:end]
	if len(text) > maxYAML {
		return nil, fmt.Errorf("line %d: YAML of %d bytes is neither a list of smaller objects nor an object within the limit of %d bytes", lineNumber(file[:start]), len(text), maxYAML)
	}
	out, err := yaml.YAMLToJSONStrict(text)
	if err == nil {
		return out, nil
	}
	if bytes.Contains(text, []byte("{{")) {
		return nil, errors.New(`is not YAML, but has "{{" as a template, which must be rendered first`)
	}
	message := err.Error()
	if found := yamlDuplicate.FindStringSubmatch(message); found != nil {
		message = fmt.Sprintf("line %s: key %s is given twice", found[1], found[2])
	}
	// The library prints keys that are not strings in Go syntax.
	for _, prefix := range []string{"invalid map key", "unsupported map key"} {
		if strings.Contains(message, prefix) {
			message = "a key must be a string"
		}
	}
	before := lineNumber(file[:start]) - 1
	message = strings.TrimPrefix(strings.TrimPrefix(message, "yaml: "), "json: ")
	message = yamlLine.ReplaceAllStringFunc(message, func(s string) string {
		n, _ := strconv.Atoi(strings.TrimPrefix(s, "line "))
		return fmt.Sprint("line ", n+before)
	})
	return nil, fmt.Errorf("is not YAML: %s", strings.ReplaceAll(message, "\n", " "))
}

// splitList splits a YAML document that is a list as kubectl prints it: a mapping with a
// block sequence of items. It returns the offset of each item, then the end of the last,
// and the mapping with an empty sequence. It looks only at the indentation of lines. A list
// in another form, or with values that are indented less than their item, is not split, or
// is split into parts that are not YAML.
func splitList(text []byte) (rest []byte, items []int, ok bool) {
	const key = "items:"
	start := -1 // of the items
	for n := 0; n < len(text); {
		line := text[n:]
		line = line[:lineEnd(line)]
		n += len(line)
		// A comment needs a space before it: items:# is another key.
		if value, found := bytes.CutPrefix(line, []byte(key)); found && isBlank(value) && !bytes.HasPrefix(value, []byte("#")) {
			start = n
			break
		}
	}
	if start < 0 {
		return nil, nil, false
	}
	indent, end := -1, len(text)
	for n := start; n < end; {
		line := text[n:]
		line = line[:lineEnd(line)]
		depth := len(line) - len(bytes.TrimLeft(line, " "))
		dash, isItem := bytes.CutPrefix(line[depth:], []byte("-"))
		isItem = isItem && (len(dash) == 0 || dash[0] == ' ' || dash[0] == '\t' || lineBreak(dash) > 0)
		switch {
		case isBlank(line):
		case isItem && (indent < 0 || depth == indent):
			indent = depth
			items = append(items, n)
		case indent >= 0 && depth == 0:
			end = n
		case depth <= indent || indent < 0:
			return nil, nil, false
		}
		n += len(line)
	}
	if len(items) == 0 || !isPlain(text[:start]) || !isPlain(text[end:]) {
		return nil, nil, false
	}
	rest = append(rest, text[:items[0]]...) // with the comments before the first item
	rest = append(rest, "  []\n"...)
	items = append(items, end)
	return append(rest, text[end:]...), items, true
}

// isPlain reports whether each line that is not indented begins with a letter, as the keys
// of a list do, and each indented line follows such a line.
func isPlain(text []byte) bool {
	below := false
	for len(text) > 0 {
		line := text[:lineEnd(text)]
		text = text[len(line):]
		switch letter := line[0] | 0x20; { // in lower case
		case isBlank(line), !below && bytes.HasPrefix(line, []byte("---")):
		case 'a' <= letter && letter <= 'z':
			below = true
		case line[0] != ' ' || !below:
			return false
		}
	}
	return true
}

// trim removes the white space of YAML around a line: spaces, tabs and line breaks (YAML
// 1.1, sections 4.1.4 and 4.1.5). Other spaces of Unicode are content.
func trim(line []byte) []byte { return bytes.Trim(line, " \t\r\n\u0085\u2028\u2029") }

// isBlank reports whether a line, or the rest of one, has no content.
func isBlank(line []byte) bool {
	line = trim(line)
	return len(line) == 0 || line[0] == '#'
}

// cutJSON returns the JSON object at the start of a text.
func cutJSON(text []byte) ([]byte, error) {
	if end := jsonEnd(text); end > 0 {
		text = text[:end]
	}
	if err := json.Unmarshal(text, new(struct{})); err != nil {
		return nil, err
	}
	return text, nil
}

// The functions below walk through valid JSON. The package encoding/json would read each
// byte of a list several times, and copy it.

// jsonEnd returns the length of the JSON value at the start of a text, or 0 if the value is
// cut off.
func jsonEnd(text []byte) int {
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
			continue
		case c == '"':
			inString = !inString
		case inString:
			continue
		case c == '{' || c == '[':
			depth++
			continue
		case c == '}' || c == ']':
			if depth == 0 {
				return i // after a number or a word
			}
			depth--
		case depth == 0 && (c == ',' || c == ':' || isSpace(c)):
			return i
		default:
			continue
		}
		if depth == 0 && !inString {
			return i + 1
		}
	}
	if depth == 0 && !inString {
		return len(text)
	}
	return 0
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// next returns the first value in the rest of an object or array, and what follows the
// value and its comma or colon. The value is nil at the end.
func next(text []byte) (value, rest []byte) {
	text = bytes.TrimLeft(text, " \t\n\r")
	if text[0] == '}' || text[0] == ']' {
		return nil, nil
	}
	end := jsonEnd(text)
	value, rest = text[:end], bytes.TrimLeft(text[end:], " \t\n\r")
	if rest[0] == ',' || rest[0] == ':' {
		rest = rest[1:]
	}
	return value, rest
}

// eachMember calls a function for each member of an object.
func eachMember(object []byte, member func(name string, value []byte) error) error {
	for quoted, rest := next(object[1:]); quoted != nil; quoted, rest = next(rest) {
		var name string
		if err := json.Unmarshal(quoted, &name); err != nil {
			return err
		}
		var value []byte
		value, rest = next(rest)
		if err := member(name, value); err != nil {
			return err
		}
	}
	return nil
}

// eachElement calls a function for each element of an array.
func eachElement(array []byte, element func(i int, value []byte) error) error {
	i := 0
	for value, rest := next(array[1:]); value != nil; value, rest = next(rest) {
		if err := element(i, value); err != nil {
			return err
		}
		i++
	}
	return nil
}
