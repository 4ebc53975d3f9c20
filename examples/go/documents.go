package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/couchbase/gocb/v2"
)

type object = map[string]any

// insert makes documents that must not exist yet.
func insert(s *session) error {
	result, err := s.docs.Insert(s.key("insert"), object{"n": 1}, nil)
	if err != nil {
		return err
	}
	if token := result.MutationToken(); token == nil || token.PartitionUUID() == 0 || token.SequenceNumber() == 0 {
		return fmt.Errorf("no mutation token: %v", token)
	}
	cas, err := s.holds("insert", object{"n": 1})
	if err != nil {
		return err
	}
	if cas != result.Cas() {
		return fmt.Errorf("insert gave CAS %d, get gives %d", result.Cas(), cas)
	}
	_, again := s.docs.Insert(s.key("insert"), object{"n": 2}, nil)
	_, large := s.docs.Insert(s.key("large"), bytes.Repeat([]byte("x"), 20<<20+1), &gocb.InsertOptions{
		Transcoder: gocb.NewRawBinaryTranscoder(), Timeout: 20 * time.Second,
	})
	_, long := s.docs.Insert(strings.Repeat("k", 251), object{}, nil)
	if err := first(want(gocb.ErrDocumentExists, again), want(gocb.ErrValueTooLarge, large), want(gocb.ErrInvalidArgument, long)); err != nil {
		return err
	}
	if err := s.drop("insert"); err != nil {
		return err
	}
	// A key can be used again after its document was removed.
	if _, err := s.docs.Insert(s.key("insert"), object{"n": 3}, nil); err != nil {
		return fmt.Errorf("insert after remove: %w", err)
	}
	return s.drop("insert")
}

// upsert makes documents or replaces them.
func upsert(s *session) error {
	one, err := s.docs.Upsert(s.key("upsert"), object{"n": 1}, nil)
	if err != nil {
		return err
	}
	two, err := s.docs.Upsert(s.key("upsert"), object{"n": 2}, nil)
	if err != nil {
		return err
	}
	if two.Cas() == one.Cas() || two.MutationToken().SequenceNumber() <= one.MutationToken().SequenceNumber() {
		return fmt.Errorf("CAS %d then %d, seqno %d then %d", one.Cas(), two.Cas(),
			one.MutationToken().SequenceNumber(), two.MutationToken().SequenceNumber())
	}
	if _, err := s.holds("upsert", object{"n": 2}); err != nil {
		return err
	}
	_, large := s.docs.Upsert(s.key("upsert"), bytes.Repeat([]byte("x"), 20<<20+1), &gocb.UpsertOptions{
		Transcoder: gocb.NewRawBinaryTranscoder(), Timeout: 20 * time.Second,
	})
	if err := want(gocb.ErrValueTooLarge, large); err != nil {
		return err
	}
	if _, err := s.holds("upsert", object{"n": 2}); err != nil {
		return fmt.Errorf("after a refused write: %w", err)
	}
	return s.drop("upsert")
}

// get reads what is there, and nothing else.
func get(s *session) error {
	if err := s.missing("never"); err != nil {
		return err
	}
	if _, err := s.docs.Upsert(s.key("get"), object{"a": "ü", "b": 1.5}, nil); err != nil {
		return err
	}
	if _, err := s.holds("get", object{"a": "ü", "b": 1.5}); err != nil {
		return err
	}
	result, err := s.docs.Get(s.key("get"), nil)
	if err != nil {
		return err
	}
	var number int
	if result.Content(&number) == nil {
		return errors.New("an object was read as a number")
	}
	return s.drop("get")
}

// replace changes documents only if they are what the program believes.
func replace(s *session) error {
	_, err := s.docs.Replace(s.key("replace"), object{}, nil)
	if err := want(gocb.ErrDocumentNotFound, err); err != nil {
		return err
	}
	made, err := s.docs.Insert(s.key("replace"), object{"v": 1}, nil)
	if err != nil {
		return err
	}
	changed, err := s.docs.Replace(s.key("replace"), object{"v": 2}, &gocb.ReplaceOptions{Cas: made.Cas()})
	if err != nil {
		return fmt.Errorf("with the right CAS: %w", err)
	}
	_, stale := s.docs.Replace(s.key("replace"), object{"v": 3}, &gocb.ReplaceOptions{Cas: made.Cas()})
	if err := want(gocb.ErrCasMismatch, stale); err != nil {
		return err
	}
	cas, err := s.holds("replace", object{"v": 2})
	if err != nil {
		return err
	}
	if cas != changed.Cas() {
		return fmt.Errorf("a refused replace changed the CAS from %d to %d", changed.Cas(), cas)
	}
	if _, err := s.docs.Replace(s.key("replace"), object{"v": 4}, nil); err != nil {
		return fmt.Errorf("without a CAS: %w", err)
	}
	if err := s.drop("replace"); err != nil {
		return err
	}
	_, gone := s.docs.Replace(s.key("replace"), object{"v": 5}, &gocb.ReplaceOptions{Cas: cas})
	return want(gocb.ErrDocumentNotFound, gone)
}

// remove deletes documents.
func remove(s *session) error {
	_, never := s.docs.Remove(s.key("remove"), nil)
	made, err := s.docs.Insert(s.key("remove"), object{"v": 1}, nil)
	if err != nil {
		return err
	}
	changed, err := s.docs.Upsert(s.key("remove"), object{"v": 2}, nil)
	if err != nil {
		return err
	}
	_, stale := s.docs.Remove(s.key("remove"), &gocb.RemoveOptions{Cas: made.Cas()})
	result, err := s.docs.Remove(s.key("remove"), &gocb.RemoveOptions{Cas: changed.Cas()})
	if err != nil {
		return fmt.Errorf("with the right CAS: %w", err)
	}
	if result.Cas() == 0 || result.Cas() == changed.Cas() {
		return fmt.Errorf("the removal has CAS %d", result.Cas())
	}
	_, twice := s.docs.Remove(s.key("remove"), nil)
	return first(
		want(gocb.ErrDocumentNotFound, never), want(gocb.ErrCasMismatch, stale), want(gocb.ErrDocumentNotFound, twice), s.missing("remove"),
	)
}

// values writes and reads back values of all kinds and sizes: JSON, text, bytes, empty, easy and hard to compress.
func values(s *session) error {
	hard := make([]byte, 300_000)
	for i, x := 0, uint64(88172645463325252); i < len(hard); i++ {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		hard[i] = byte(x)
	}
	for name, value := range map[string][]byte{
		"empty": {}, "zero byte": {0}, "text": []byte("no JSON"), "JSON": []byte(`{"a":[1,null,"x"]}`),
		"1 MiB of one letter": bytes.Repeat([]byte("a"), 1<<20), "random": hard,
		"20 MiB, the most": bytes.Repeat([]byte("0123456789abcdef"), 20<<16),
	} {
		raw := gocb.NewRawBinaryTranscoder()
		if _, err := s.docs.Upsert(s.key("value"), value, &gocb.UpsertOptions{Transcoder: raw, Timeout: 30 * time.Second}); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		result, err := s.docs.Get(s.key("value"), &gocb.GetOptions{Transcoder: raw, Timeout: 30 * time.Second})
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		var got []byte
		if err := result.Content(&got); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if !bytes.Equal(got, value) {
			return fmt.Errorf("%s: %d bytes written, other %d bytes read", name, len(value), len(got))
		}
	}
	return s.drop("value")
}

// exists asks without reading.
func exists(s *session) error {
	before, err := s.docs.Exists(s.key("exists"), nil)
	if err != nil {
		return err
	}
	made, err := s.docs.Insert(s.key("exists"), object{}, nil)
	if err != nil {
		return err
	}
	there, err := s.docs.Exists(s.key("exists"), nil)
	if err != nil {
		return err
	}
	if err := s.drop("exists"); err != nil {
		return err
	}
	after, err := s.docs.Exists(s.key("exists"), nil)
	if err != nil {
		return err
	}
	if before.Exists() || !there.Exists() || after.Exists() || there.Cas() != made.Cas() {
		return fmt.Errorf("before %v, there %v with CAS %d of %d, after %v",
			before.Exists(), there.Exists(), there.Cas(), made.Cas(), after.Exists())
	}
	return nil
}
