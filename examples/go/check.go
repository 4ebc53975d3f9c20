package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/couchbase/gocb/v2"
)

// want compares an error with the one that an operation must give; nil stands for success.
func want(expected, got error) error {
	if errors.Is(got, expected) {
		return nil
	}
	return fmt.Errorf("got error %v, want %v", got, expected)
}

// first gives the first error of several checks, with the position of the check.
func first(checks ...error) error {
	for i, err := range checks {
		if err != nil {
			return fmt.Errorf("check %d: %w", i+1, err)
		}
	}
	return nil
}

// holds reads a JSON document and compares it.
func (s *session) holds(name string, expected map[string]any) (gocb.Cas, error) {
	result, err := s.docs.Get(s.key(name), nil)
	if err != nil {
		return 0, fmt.Errorf("get %s: %w", name, err)
	}
	var got map[string]any
	if err := result.Content(&got); err != nil {
		return 0, fmt.Errorf("content of %s: %w", name, err)
	}
	if fmt.Sprint(got) != fmt.Sprint(expected) {
		return 0, fmt.Errorf("%s holds %v, want %v", name, got, expected)
	}
	return result.Cas(), nil
}

// missing checks that a document does not exist.
func (s *session) missing(name string) error {
	_, err := s.docs.Get(s.key(name), nil)
	if err := want(gocb.ErrDocumentNotFound, err); err != nil {
		return fmt.Errorf("get %s: %w", name, err)
	}
	return nil
}

// vanishes waits until a document has expired.
func (s *session) vanishes(name string, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		_, err := s.docs.Get(s.key(name), nil)
		if errors.Is(err, gocb.ErrDocumentNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is still there after %s", name, limit)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// drop removes documents of a check.
func (s *session) drop(names ...string) error {
	for _, name := range names {
		if _, err := s.docs.Remove(s.key(name), nil); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil
}

// impatient gives up at once where the SDK would try again until its time is up.
type impatient struct{}

func (impatient) RetryAfter(gocb.RetryRequest, gocb.RetryReason) gocb.RetryAction {
	return &gocb.NoRetryRetryAction{}
}
