// Package sample carries the data set that `charpoy demo` loads: every city of the world with at least 1,000 inhabitants, one
// JSON object a line, compressed, inside the binary. The data are from the GeoNames gazetteer (CC BY 4.0, named in NOTICE).
//
// Open reads it as a stream, a city at a time, so that nobody holds 25 MB for it. A Reader checks what it read: its end is
// io.EOF only if the number of cities and of bytes was that of the data set, so that a damaged binary cannot pass for a whole
// one. A Reader is used by one goroutine.
package sample

import (
	"bufio"
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// What the data set holds. Bytes are those of the lines, uncompressed and without their ends.
const (
	Cities = 135_233
	Bytes  = 25_849_362 - Cities
)

// KeyPrefix and the member geonameid make the key of a city.
const KeyPrefix = "city::"

// maxLine bounds a line, in bytes; the longest has less than a tenth of it.
const maxLine = 64 << 10

//go:embed cities.ndjson.gz
var compressed []byte

// ErrDamaged says that the data set is not what was built in.
var ErrDamaged = errors.New("the embedded cities are damaged")

// City is one document of the data set.
type City struct {
	Key   string // KeyPrefix and the geonameid
	Value []byte // the JSON object, lent until the next call of Next
}

// Reader reads the data set once, from the first city to the last.
type Reader struct {
	lines  *bufio.Scanner
	unzip  *gzip.Reader
	cities int
	bytes  int
}

// Open begins at the first city.
func Open() (*Reader, error) { return open(compressed) }

func open(archive []byte) (*Reader, error) {
	unzip, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	r := &Reader{unzip: unzip, lines: bufio.NewScanner(unzip)}
	r.lines.Buffer(make([]byte, 4096), maxLine)
	return r, nil
}

// Next gives the next city. Errors: io.EOF after the last one; ErrDamaged.
func (r *Reader) Next() (City, error) {
	if !r.lines.Scan() {
		if err := errors.Join(r.lines.Err(), r.unzip.Close()); err != nil {
			return City{}, fmt.Errorf("%w: after %d cities: %w", ErrDamaged, r.cities, err)
		}
		if r.cities != Cities || r.bytes != Bytes {
			return City{}, fmt.Errorf("%w: %d cities in %d bytes, not %d in %d", ErrDamaged, r.cities, r.bytes, Cities, Bytes)
		}
		return City{}, io.EOF
	}
	line := r.lines.Bytes()
	id, err := geonameID(line)
	if err != nil {
		return City{}, fmt.Errorf("%w: line %d: %w", ErrDamaged, r.cities+1, err)
	}
	r.cities++
	r.bytes += len(line)
	return City{Key: KeyPrefix + strconv.FormatUint(id, 10), Value: line}, nil
}

// geonameID reads the member that the key is made of.
func geonameID(line []byte) (uint64, error) {
	var city struct {
		ID uint64 `json:"geonameid"`
	}
	if err := json.Unmarshal(line, &city); err != nil {
		return 0, err
	}
	if city.ID == 0 {
		return 0, errors.New("no geonameid")
	}
	return city.ID, nil
}
