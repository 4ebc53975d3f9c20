// Package cart is a small piece of an application that keeps shopping carts in a bucket. It is here to be tested: cart_test.go
// shows what tests with charpoytest look like.
package cart

import (
	"errors"
	"time"

	"github.com/couchbase/gocb/v2"
)

// Life is how long a cart is kept after its last change.
const Life = 24 * time.Hour

// ErrBusy says that others changed the cart again and again.
var ErrBusy = errors.New("the cart is changed by too many at once")

// Cart is what a customer has put into a cart: numbers of pieces by article.
type Cart map[string]int

// Store keeps carts.
type Store struct{ Docs *gocb.Collection }

// Get reads a cart; one that does not exist is empty.
func (s *Store) Get(customer string) (Cart, error) {
	c := Cart{}
	doc, err := s.Docs.Get(key(customer), nil)
	if errors.Is(err, gocb.ErrDocumentNotFound) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	return c, doc.Content(&c)
}

// Add puts pieces of an article into a cart. Others may do so at the same time: nothing gets lost.
func (s *Store) Add(customer, article string, pieces int) error {
	for range 10 {
		c := Cart{}
		doc, err := s.Docs.Get(key(customer), nil)
		switch {
		case errors.Is(err, gocb.ErrDocumentNotFound):
			c[article] = pieces
			_, err = s.Docs.Insert(key(customer), c, &gocb.InsertOptions{Expiry: Life})
		case err != nil:
			return err
		default:
			if err := doc.Content(&c); err != nil {
				return err
			}
			c[article] += pieces
			_, err = s.Docs.Replace(key(customer), c, &gocb.ReplaceOptions{Cas: doc.Cas(), Expiry: Life})
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, gocb.ErrCasMismatch), errors.Is(err, gocb.ErrDocumentExists), errors.Is(err, gocb.ErrDocumentNotFound):
			continue // somebody was faster
		}
		return err
	}
	return ErrBusy
}

func key(customer string) string { return "cart::" + customer }
