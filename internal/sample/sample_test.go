package sample

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"testing"
)

// TestWholeDataSet reads all cities and compares with the figures that come with the data: the number of rows and the five
// countries with most of them. Keys must be unique and values JSON.
func TestWholeDataSet(t *testing.T) {
	r, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	keys := make(map[string]bool, Cities)
	countries := map[string]int{}
	for {
		c, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		var city struct{ Country, Type string }
		if err := json.Unmarshal(c.Value, &city); err != nil || city.Type != "city" {
			t.Fatalf("%s: %s: type %q, %v", c.Key, c.Value, city.Type, err)
		}
		keys[c.Key] = true
		countries[city.Country]++
	}
	if len(keys) != Cities {
		t.Errorf("%d different keys, want %d", len(keys), Cities)
	}
	for country, want := range map[string]int{"US": 16677, "IT": 9940, "MX": 8984, "FR": 8836, "DE": 7244} {
		if countries[country] != want {
			t.Errorf("%s: %d cities, want %d", country, countries[country], want)
		}
	}
}

// TestDamage gives archives that are not the data set: each must end with ErrDamaged, never with io.EOF.
func TestDamage(t *testing.T) {
	flipped := bytes.Clone(compressed)
	flipped[len(flipped)/2] ^= 0x10
	for name, archive := range map[string][]byte{
		"no archive":       []byte("{}"),
		"cut":              compressed[:len(compressed)/3],
		"flipped bit":      flipped,
		"too few":          zip(t, `{"geonameid":1}`),
		"no id":            zip(t, `{"name":"nowhere"}`),
		"no JSON":          zip(t, `city`),
		"longer than line": zip(t, string(bytes.Repeat([]byte(" "), maxLine+1))),
	} {
		r, err := open(archive)
		for err == nil {
			_, err = r.Next()
		}
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v, want ErrDamaged", name, err)
		}
	}
}

func zip(t *testing.T, line string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(line + "\n"))
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
