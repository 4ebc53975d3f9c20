package testcluster

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// JSONFlags are the flags that SDKs give to JSON: without them they would take a value for bytes.
const JSONFlags = 0x02000006

// maxSeedLine bounds a line of an .ndjson file, in bytes.
const maxSeedLine = 32 << 20

// ErrSeed says that a file cannot be loaded; what wraps it names it and says why.
var ErrSeed = errors.New("seed")

// Seed loads documents from the files of a file system and tells how many there were. Files at the top go into the bucket
// first; those in a directory into the bucket of that name. NAME.json is one document with the key NAME; in NAME.ndjson each
// line is a document as `charpoy export` writes it: {"key":…,"value":…,"flags":…,"expiry":…}, with base64 instead of value for
// what is not JSON and key_base64 for keys that are not text. Other files are passed over. ErrSeed.
func (c *Cluster) Seed(ctx context.Context, files fs.FS, first string) (loaded int, err error) {
	s := seeding{cluster: c, files: files, first: first}
	err = fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return s.file(ctx, name)
	})
	return s.loaded, err
}

type seeding struct {
	cluster *Cluster
	files   fs.FS
	first   string
	loaded  int
}

func (s *seeding) file(ctx context.Context, name string) error {
	fail := func(why string) error { return fmt.Errorf("%w: %s: %s", ErrSeed, name, why) }
	dir, base := path.Split(name)
	bucket := s.first
	if dir = strings.TrimSuffix(dir, "/"); dir != "" {
		bucket = dir
	}
	one, lines := strings.HasSuffix(base, ".json"), strings.HasSuffix(base, ".ndjson")
	switch {
	case strings.HasSuffix(base, ".design.json"):
		return fail("design documents need views, which this version does not have")
	case !one && !lines:
		return nil
	case strings.Contains(dir, "/"):
		return fail("a directory is a bucket, and scopes and collections cannot be made in this version")
	}
	f, err := s.files.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // it was only read
	if lines {
		return s.lines(ctx, bucket, name, f)
	}
	value, err := fs.ReadFile(s.files, name)
	if err != nil {
		return err
	}
	return s.put(ctx, bucket, name, seedLine{Key: strings.TrimSuffix(base, ".json"), Value: bytes.TrimSpace(value)})
}

// seedLine is one document of an .ndjson file.
type seedLine struct {
	Key       string          `json:"key"`
	KeyBase64 []byte          `json:"key_base64"`
	Value     json.RawMessage `json:"value"`
	Base64    *string         `json:"base64"`
	Flags     *uint32         `json:"flags"`
	Expiry    uint32          `json:"expiry"`
}

// SeedLines loads documents from lines as those of an .ndjson file, see Seed.
func (c *Cluster) SeedLines(ctx context.Context, lines io.Reader, bucket string) (loaded int, err error) {
	s := seeding{cluster: c}
	err = s.lines(ctx, bucket, "input", lines)
	return s.loaded, err
}

func (s *seeding) lines(ctx context.Context, bucket, name string, from io.Reader) error {
	scan := bufio.NewScanner(from)
	scan.Buffer(nil, maxSeedLine)
	for n := 1; scan.Scan(); n++ {
		text := bytes.TrimSpace(scan.Bytes())
		if len(text) == 0 {
			continue
		}
		at := fmt.Sprintf("%s, line %d", name, n)
		var line seedLine
		if err := json.Unmarshal(text, &line); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrSeed, at, err)
		}
		if err := s.put(ctx, bucket, at, line); err != nil {
			return err
		}
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrSeed, name, err)
	}
	return nil
}

// put writes one document. JSON without flags gets those of JSON: a test that is written by hand wants it to be read as such.
func (s *seeding) put(ctx context.Context, bucket, at string, line seedLine) error {
	d := Document{Value: line.Value, Expiry: line.Expiry}
	var err error
	switch {
	case line.Base64 != nil && line.Value != nil, line.Base64 == nil && line.Value == nil:
		err = errors.New("it needs either a value or base64")
	case line.Base64 != nil:
		d.Value, err = base64.StdEncoding.DecodeString(*line.Base64)
	case !json.Valid(line.Value):
		err = errors.New("it is not JSON")
	default:
		d.Flags = JSONFlags
	}
	if line.Flags != nil {
		d.Flags = *line.Flags
	}
	key := line.Key
	if len(line.KeyBase64) > 0 {
		key = string(line.KeyBase64)
	}
	if err == nil {
		err = s.cluster.Put(ctx, bucket, "", key, d)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrSeed, at, err)
	}
	s.loaded++
	return nil
}
