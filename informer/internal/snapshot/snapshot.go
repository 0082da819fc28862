// Package snapshot stores all objects of an informer in a file:
//
//	a line "headless snapshot " and the version of the format, in decimal
//	fields, each a length as a uvarint, and as many bytes:
//	  the time, in RFC 3339
//	  the settings that determine which objects there are
//	  for each object, a byte for its kind and the object in protobuf, with only the
//	  fields of slim objects
//	the SHA-256 of all that
//
// The objects are encoded as an API server sends them, so one decoder reads both.
package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/headless-dns/headless/informer/internal/object"
)

const (
	magic         = "headless snapshot "
	formatVersion = 1
)

// Snapshot is the content of a file, verified but not decoded.
type Snapshot struct {
	Taken    time.Time
	Settings string
	objects  []byte
}

// temporary returns the pattern of the file names of unfinished snapshots.
func temporary(path string) string { return "." + filepath.Base(path) + ".*.tmp" }

// RemoveTemporary removes the temporary files of killed writers, which would fill the disk
// over time.
func RemoveTemporary(path string) error {
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), temporary(path)))
	for _, file := range left {
		err = errors.Join(err, os.Remove(file))
	}
	return err
}

// Write replaces a file by a snapshot, atomically: readers see the old file or the new one,
// even after a crash. It returns the size in bytes.
func Write(path string, taken time.Time, settings string, objects []object.Object) (size int64, err error) {
	file, err := os.CreateTemp(filepath.Dir(path), temporary(path))
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close(), os.Remove(file.Name()))
		}
	}()
	sum := sha256.New()
	out := &counted{to: io.MultiWriter(file, sum)}
	b := fmt.Appendf(nil, "%s%d\n", magic, formatVersion)
	b = appendField(b, []byte(taken.Format(time.RFC3339)))
	b = appendField(b, []byte(settings))
	for _, o := range objects {
		if b, err = appendObject(b, o); err != nil {
			return 0, err
		}
		if len(b) > 1<<20 {
			if _, err = out.Write(b); err != nil {
				return 0, err
			}
			b = b[:0]
		}
	}
	if _, err = out.Write(b); err != nil {
		return 0, err
	}
	if _, err = out.Write(sum.Sum(nil)); err != nil {
		return 0, err
	}
	if err = file.Sync(); err != nil {
		return 0, err
	}
	if err = os.Rename(file.Name(), path); err != nil {
		return 0, err
	}
	return out.n, errors.Join(file.Close(), syncFolder(filepath.Dir(path)))
}

// counted counts the bytes that are written.
type counted struct {
	to io.Writer
	n  int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.n += int64(n)
	return n, err
}

// syncFolder makes a rename durable.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

func appendField(to, field []byte) []byte {
	return append(binary.AppendUvarint(to, uint64(len(field))), field...)
}

func appendObject(to []byte, o object.Object) ([]byte, error) {
	kind := object.KindOf(o)
	b := append(make([]byte, 0, 512), byte(kind))
	b, err := object.Append(b, o)
	if err != nil {
		return nil, fmt.Errorf("encode %s %q: %w", kind, o.ID(), err)
	}
	return appendField(to, b), nil
}

// Check returns an error if a snapshot can't be written to a file: its folder does not
// exist, or the path is something other than a snapshot, which would be overwritten. An
// empty file may be overwritten.
func Check(path string) error {
	because := func(name string, err error) error {
		var cause *fs.PathError
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return fmt.Errorf("%q: %w", name, err)
	}
	folder := filepath.Dir(path)
	if info, err := os.Stat(folder); err != nil {
		return because(folder, err)
	} else if !info.IsDir() {
		return because(folder, errors.New("not a folder"))
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return because(path, err)
	case !info.Mode().IsRegular():
		return because(path, errors.New("not a regular file"))
	case info.Size() == 0:
		return nil
	}
	file, err := os.Open(path)
	if err != nil {
		return because(path, err)
	}
	defer file.Close()
	begin := make([]byte, len(magic))
	if n, err := io.ReadFull(file, begin); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return because(path, err)
	} else if string(begin[:n]) != magic {
		return because(path, errors.New("not a snapshot, and would be overwritten by one"))
	}
	return nil
}

// Read reads a file and verifies that it is complete.
func Read(path string) (*Snapshot, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parse(b)
}

func parse(b []byte) (*Snapshot, error) {
	rest, ok := bytes.CutPrefix(b, []byte(magic))
	if !ok {
		return nil, errors.New("not a snapshot")
	}
	line, rest, ok := bytes.Cut(rest, []byte("\n"))
	version, err := strconv.ParseUint(string(line), 10, 32)
	if !ok || err != nil {
		return nil, errors.New("the format has no version")
	}
	if version != formatVersion {
		return nil, fmt.Errorf("format version is %d, only %d can be read", version, formatVersion)
	}
	end := len(b) - sha256.Size
	if len(rest) < sha256.Size || sha256.Sum256(b[:end]) != [sha256.Size]byte(b[end:]) {
		return nil, errors.New("checksum is wrong: the file was truncated or changed")
	}
	s := new(Snapshot)
	rest = rest[:len(rest)-sha256.Size]
	taken, rest, err := nextField(rest)
	if err != nil {
		return nil, err
	}
	settings, rest, err := nextField(rest)
	if err != nil {
		return nil, err
	}
	s.Settings, s.objects = string(settings), rest
	if s.Taken, err = time.Parse(time.RFC3339, string(taken)); err != nil {
		return nil, fmt.Errorf("parse its time: %w", err)
	}
	return s, nil
}

var errField = errors.New("a field is cut short")

func nextField(b []byte) (field, rest []byte, err error) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil, errField
	}
	b = b[size:]
	return b[:n], b[n:], nil
}

// Objects decodes the objects of a snapshot, by kind.
func (s *Snapshot) Objects() ([object.Kinds][]object.Object, error) {
	var out [object.Kinds][]object.Object
	memory := object.NewScratch(true) // only files of zonal informers have nodes and zones
	for rest := s.objects; len(rest) > 0; {
		var field []byte
		var err error
		if field, rest, err = nextField(rest); err != nil {
			return out, err
		}
		if len(field) == 0 {
			return out, errField
		}
		var o object.Object
		kind, b := object.Kind(field[0]), field[1:]
		if kind >= object.Kinds {
			return out, fmt.Errorf("unknown kind %d", kind)
		}
		if o, err = object.Decode(kind, b, &memory); err != nil {
			return out, err
		}
		kind = object.KindOf(o) // the labels of a slice say whether it is imported
		out[kind] = append(out[kind], o)
	}
	return out, nil
}
