package testcluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/charpoy/charpoy/internal/fault"
	"github.com/charpoy/charpoy/internal/node"
)

// ErrRule says that a rule cannot be used; what wraps it says why.
var ErrRule = errors.New("rule cannot be used")

// MaxRules bounds the rules of a cluster.
const MaxRules = 1000

// Rule says which operations fail, and how. Fields of the first part that are empty match everything; but a rule without Op
// concerns operations on documents only, so that it does not keep clients from logging in.
type Rule struct {
	Op         string `json:"op,omitempty"`         // get, set, …; also the names of SDKs: upsert, insert, remove; * = every one
	Key        string `json:"key,omitempty"`        // * stands for any text, ? for any one byte
	Bucket     string `json:"bucket,omitempty"`     // likewise
	Collection string `json:"collection,omitempty"` // likewise, of the collection's name or scope.collection
	Agent      string `json:"agent,omitempty"`      // likewise, of how the client introduced itself

	Skip        int     `json:"skip,omitempty"`        // matching operations that are left alone first
	Times       int     `json:"times,omitempty"`       // operations that the rule acts on after those; 0 = all
	Probability float64 `json:"probability,omitempty"` // that it acts on one that it could; 0 = always
	Seed        uint64  `json:"seed,omitempty"`        // of the draws

	Delay  time.Duration `json:"-"`                // the operation waits so long first
	Status uint16        `json:"status,omitempty"` // it is answered with this status of the binary protocol and not run
	Drop   bool          `json:"drop,omitempty"`   // its reply is not sent
	Close  bool          `json:"close,omitempty"`  // the connection is closed instead of the reply; it is run only with Drop
}

// everyOp as Rule.Op stands for every operation, those that connect a client included.
const everyOp = "*"

// RuleState is a rule and what it has done so far.
type RuleState struct {
	Rule
	ID      int `json:"id"`
	Matched int `json:"matched"` // operations that it fits
	Acted   int `json:"acted"`   // operations that it changed
}

// rules are the rules of a cluster, in the order in which they were given: the first that acts decides.
type rules struct {
	sync.Mutex
	list   []*activeRule
	nextID int
	delays atomic.Bool // a rule has a delay
}

type activeRule struct {
	RuleState
	op   string // as the protocol calls it
	draw *rand.Rand
}

// sdkNames gives the protocol's names of what SDKs call otherwise.
func sdkNames() map[string]string {
	return map[string]string{
		"upsert": "set", "insert": "add", "remove": "delete", "exists": "get_meta", "getandlock": "get_and_lock",
		"getandtouch": "get_and_touch", "incr": "increment", "decr": "decrement", "gat": "get_and_touch",
	}
}

// check finds what is wrong with a rule and gives the protocol's name of its operation.
func (r *Rule) check() (op string, err error) {
	op = strings.ToLower(r.Op)
	if other, ok := sdkNames()[op]; ok {
		op = other
	}
	known := node.Operations()
	switch {
	case op != "" && op != everyOp && !slices.Contains(known, op):
		return "", fmt.Errorf("%w: there is no operation %q; there are %s", ErrRule, r.Op, strings.Join(known, ", "))
	case r.Skip < 0 || r.Times < 0 || r.Delay < 0:
		return "", fmt.Errorf("%w: Skip, Times and Delay cannot be negative", ErrRule)
	case r.Probability < 0 || r.Probability > 1:
		return "", fmt.Errorf("%w: Probability is from 0 to 1, not %v", ErrRule, r.Probability)
	case r.Delay == 0 && r.Status == 0 && !r.Drop && !r.Close:
		return "", fmt.Errorf("%w: it does nothing; set Delay, Status, Drop or Close", ErrRule)
	}
	return op, nil
}

// add adds a rule behind the others.
func (r *rules) add(rule Rule) (id int, err error) {
	op, err := rule.check()
	if err != nil {
		return 0, err
	}
	r.Lock()
	defer r.Unlock()
	if len(r.list) >= MaxRules {
		return 0, fmt.Errorf("%w: there are %d already; clear them", ErrRule, MaxRules)
	}
	r.nextID++
	a := &activeRule{RuleState: RuleState{Rule: rule, ID: r.nextID}, op: op}
	if rule.Probability > 0 {
		a.draw = rand.New(rand.NewPCG(rule.Seed, uint64(len(rule.Key))))
	}
	r.list = append(r.list, a)
	r.lookLocked()
	return a.ID, nil
}

// remove takes one rule away and reports whether it was there.
func (r *rules) remove(id int) bool {
	r.Lock()
	defer r.Unlock()
	before := len(r.list)
	r.list = slices.DeleteFunc(r.list, func(a *activeRule) bool { return a.ID == id })
	r.lookLocked()
	return len(r.list) < before
}

// lookLocked notes whether a rule has a delay.
func (r *rules) lookLocked() {
	r.delays.Store(slices.ContainsFunc(r.list, func(a *activeRule) bool { return a.Delay > 0 }))
}

func (r *rules) clear() {
	r.Lock()
	defer r.Unlock()
	r.list = nil
	r.lookLocked()
}

func (r *rules) states() []RuleState {
	r.Lock()
	defer r.Unlock()
	out := make([]RuleState, len(r.list))
	for i, a := range r.list {
		out[i] = a.RuleState
	}
	return out
}

// judge says what is to happen to an operation.
func (r *rules) judge(o *fault.Operation) fault.Injection {
	r.Lock()
	defer r.Unlock()
	for _, a := range r.list {
		if a.fits(o) && a.acts() {
			return fault.Injection{Delay: a.Delay, Status: a.Status, Drop: a.Drop, Close: a.Close}
		}
	}
	return fault.Injection{}
}

func (a *activeRule) fits(o *fault.Operation) bool {
	if a.op == "" && !o.Document || a.op != "" && a.op != everyOp && a.op != o.Op {
		return false
	}
	if a.Collection != "" && !glob(a.Collection, o.Collection) && !glob(a.Collection, o.Scope+"."+o.Collection) {
		return false
	}
	return fitsText(a.Key, o.Key) && fitsText(a.Bucket, o.Bucket) && fitsText(a.Agent, o.Agent)
}

func fitsText(pattern, text string) bool { return pattern == "" || glob(pattern, text) }

// acts counts an operation that fits and says whether the rule acts on it.
func (a *activeRule) acts() bool {
	a.Matched++
	switch {
	case a.Matched <= a.Skip, a.Times > 0 && a.Acted >= a.Times:
		return false
	case a.draw != nil && a.draw.Float64() >= a.Probability:
		return false
	}
	a.Acted++
	return true
}

// glob reports whether text is as pattern says: * stands for any text, ? for any one byte, everything else for itself.
func glob(pattern, text string) bool {
	star, mark := -1, 0 // of the last star: its place, and up to where it reaches in text
	p, t := 0, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0: // the star takes one byte more
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// StatusName is the name of the number of a status.
func StatusName(number uint16) string { return node.StatusName(number) }

// ParseStatus finds the number of a status by its name; ok is false if there is none.
func ParseStatus(name string) (number uint16, ok bool) { return node.ParseStatus(name) }
