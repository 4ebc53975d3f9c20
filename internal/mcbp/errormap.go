package mcbp

import (
	"encoding/json"
	"slices"
	"strconv"
)

// ErrorMapRevision rises with each change of what ErrorMap answers: clients keep the map with the highest revision.
const ErrorMapRevision = 1

// ErrorMapVersion is the newest format that ErrorMap knows.
const ErrorMapVersion = 2

type mapEntry struct {
	Name  string   `json:"name"`
	Desc  string   `json:"desc"`
	Attrs []string `json:"attrs"`
}

// ErrorMap gives the document that tells clients what our statuses mean, in format 1 or 2 (wire.md 14.2). The document is
// built at each call; servers keep it.
func ErrorMap(version int) []byte {
	entries := make(map[string]mapEntry, len(statuses))
	for _, s := range statuses {
		attrs := s.Attrs
		if version < 2 {
			attrs = slices.DeleteFunc(slices.Clone(attrs), newInVersion2)
		}
		entries[strconv.FormatUint(uint64(s.Status), 16)] = mapEntry{s.Name, s.Desc, attrs}
	}
	doc, err := json.Marshal(struct {
		Version  int                 `json:"version"`
		Revision int                 `json:"revision"`
		Errors   map[string]mapEntry `json:"errors"`
	}{min(version, ErrorMapVersion), ErrorMapRevision, entries})
	if err != nil {
		panic(err) // strings and numbers of our own cannot fail to encode
	}
	return doc
}

func newInVersion2(attr string) bool {
	switch attr {
	case "rate-limit", "system-constraint", "item-locked", "item-deleted", "success":
		return true
	}
	return false
}
